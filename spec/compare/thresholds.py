"""Decisions that one number makes against a fixed threshold, where the class leaves them open near it.

The flag of a row, or the first layer whose row satisfies a condition. Two correct runs may decide otherwise where the
captured number stands within its tolerance of the threshold; the numbers themselves are compared like all others.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import gt, le

from ..runs import columns
from ..runs.places import Path, Place
from ..runs.run import PURE, Run
from ..runs.values import is_float, lookup, table_rows
from .recorder import Mismatch
from .tolerance import Tolerance

POS, CTL = ("pos", "orig"), ("ctl", "orig")


@dataclass(frozen=True)
class Threshold:
    """`column` of the pure-next-token rows of a pass, at most `limit`; over it where `above`."""

    pass_key: tuple[str, str]
    column: str
    limit: float
    above: bool = False

    def holds(self, value: float) -> bool:
        return gt(value, self.limit) if self.above else le(value, self.limit)

    def near(self, value: float, tolerance: Tolerance) -> bool:
        """Whether a captured value is within its tolerance of the threshold."""
        return tolerance.fraction(columns.quantity(self.column), value, self.limit) <= 1


ENTROPY = Threshold(POS, "entropy", 1.0)
FLAGS = {"entropy_collapse": ENTROPY}  # of any row of a pure-next-token table
LAYERS: Mapping[Path, Threshold] = {  # of a document, by path
    ("diagnostics", "L_copy_H"): ENTROPY,
    ("diagnostics", "first_kl_below_0.5"): Threshold(POS, "kl_to_final_bits", 0.5),
    ("diagnostics", "first_kl_below_1.0"): Threshold(POS, "kl_to_final_bits", 1.0),
    ("control_summary", "first_control_margin_pos"): Threshold(
        CTL, "control_margin", 0.0, above=True
    ),
}
DECISIONS = frozenset({*FLAGS, *(path[-1] for path in LAYERS)})  # their names alone


def without_open(
    mismatches: Iterable[Mismatch], expected: Run, obtained: Run, tolerance: Tolerance
) -> list[Mismatch]:
    """The mismatches without the decisions that may fall either way, by the numbers of the expected run."""
    if not tolerance.open_thresholds:
        return list(mismatches)
    flags = flags_near(expected, tolerance)
    return [
        mismatch
        for mismatch in mismatches
        if not flag_is_open(mismatch, flags)
        and not layer_is_open(mismatch, expected, obtained, tolerance)
    ]


def flag_is_open(mismatch: Mismatch, flags: Collection[Place]) -> bool:
    """Whether a flag has the opposite value and may have it."""
    opposite = {mismatch.expected, mismatch.obtained} == {"True", "False"}
    return opposite and mismatch.place in flags


def flags_near(run: Run, tolerance: Tolerance) -> set[Place]:
    """The place of every flag whose number is near its threshold."""
    return {
        Place(run.table_name(kind), key, flag)
        for kind, table in run.tables.items()
        for flag, rule in FLAGS.items()
        if kind.startswith(PURE)
        for key, row in table_rows(table).items()
        if is_float(text := table.column(rule.column, row)) and rule.near(float(text), tolerance)
    }


def layer_is_open(mismatch: Mismatch, expected: Run, obtained: Run, tolerance: Tolerance) -> bool:
    """Whether every row whose decision must be another one, for the obtained layer to come first, is near."""
    place = mismatch.place
    rule = LAYERS.get(place.key)
    if rule is None or place.spot is not None or place.file != expected.document_name:
        return False
    values = by_layer(expected, rule)
    layer = lookup(obtained.document, *place.key)
    if layer is not None and (type(layer) is not int or layer not in values):
        return False
    decided_otherwise = [
        value
        for row_layer, value in values.items()
        if rule.holds(value) != (row_layer == layer) and (layer is None or row_layer <= layer)
    ]
    return bool(decided_otherwise) and all(
        rule.near(value, tolerance) for value in decided_otherwise
    )


def by_layer(run: Run, rule: Threshold) -> Mapping[int, float]:
    """The numbers of the rule's pass by layer; none where the table lacks one."""
    table = run.tables.get(PURE)
    if table is None or not {*columns.KEY_COLUMNS, rule.column} <= set(table.header):
        return {}
    cells: dict[str, str] = {}
    for row in range(len(table.rows)):
        if (table.column("prompt_id", row), table.column("prompt_variant", row)) == rule.pass_key:
            cells[table.column("layer", row)] = table.column(rule.column, row)
    if not all(layer.isdigit() and is_float(text) for layer, text in cells.items()):
        return {}
    return {int(layer): float(text) for layer, text in cells.items()}
