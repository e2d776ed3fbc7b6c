"""Which rows a table must have, and in which order."""

from collections.abc import Collection, Sequence

from .reading import PURE, PURE_PRISM, RECORDS, RECORDS_PRISM
from .schema_csv import Row
from .schema_rules import Violation

PASSES = (("pos", "orig"), ("pos", "no_filler"), ("ctl", "orig"))
Key = tuple[str, str, int, int]


def key(row: Row) -> Key:
    return row["prompt_id"], row["prompt_variant"], row["layer"], row["pos"]


def expected_keys(kind: str, rows: Sequence[Row], n: int, last: int, corrected: bool = False) -> list[Key]:
    """The keys of a table of a model with n blocks; `last` is the last position of pos/orig; corrected: R4."""
    ends_of_blocks = [("pos", "orig", layer, last) for layer in range(1, n + 1)]
    if corrected and kind.startswith(RECORDS):
        return [("pos", "orig", layer, pos) for layer in range(n + 1) for pos in range(last + 1)]
    if kind == RECORDS_PRISM:
        return ends_of_blocks
    if kind.startswith(RECORDS):
        return [*(("pos", "orig", 0, pos) for pos in range(last + 1)), *ends_of_blocks]
    ends = {row.where: row["pos"] for row in reversed(rows)} | {("pos", "orig"): last}
    return [(*where, layer, ends.get(where, last)) for where in PASSES for layer in range(n + 1)]


def last_position(tables: dict[str, list[Row]]) -> int | None:
    """The last position of pos/orig, as any pure table says, else as the records do."""
    for kind in (PURE, PURE_PRISM):
        for row in tables.get(kind, []):
            if row.where == ("pos", "orig"):
                return int(row["pos"])
    return max((int(row["pos"]) for row in tables.get(RECORDS, [])), default=None)


def check_order(
    file: str, kind: str, rows: Sequence[Row], names: Collection[str], n: int, last: int, corrected: bool = False
) -> list[Violation]:
    """Missing, extra and misplaced rows. `names` are those of all rows: what could not be typed is not missing."""
    wanted, found = expected_keys(kind, rows, n, last, corrected), [key(row) for row in rows]
    demanded_names = ["{}/{} layer {} pos {}".format(*k) for k in wanted]
    missing = [name for name in demanded_names if name not in names]
    violations = [Violation(file, name, "", "rows.missing", "no such row") for name in missing]
    extra = [row for i, row in enumerate(rows) if found[i] not in wanted or found[i] in found[:i]]
    violations += [Violation(file, row.name, "", "rows.extra", "a row too many") for row in extra]
    kept = [row for row in rows if row not in extra]
    order = [k for k in wanted if k in found]
    for row, demanded in zip(kept, order):
        if key(row) != demanded:
            told = "{}/{} layer {} pos {} belongs here".format(*demanded)
            return [*violations, Violation(file, row.name, "", "rows.order", told)]
    return violations
