"""Which rows a table must have, and in which order."""

from collections.abc import Collection, Mapping, Sequence

from ..runs.run import PURE, PURE_PRISM, RECORDS, RECORDS_PRISM
from .cells import Row
from .rows import DocumentContext
from .rules import Violation

Where = tuple[str, str]
Key = tuple[str, str, int, int]


def key(row: Row) -> Key:
    return row["prompt_id"], row["prompt_variant"], row["layer"], row["pos"]


def expected_keys(
    kind: str, facts: DocumentContext, n: int, ends: Mapping[Where, int]
) -> list[Key]:
    """The keys of a table of a model with n blocks; `ends` are the passes' last positions; corrected: R4."""
    if not kind.startswith(RECORDS):
        return [
            (*where, layer, ends.get(where, 0)) for where in facts.passes for layer in range(n + 1)
        ]
    keys: list[Key] = []
    for where in (where for where, told in facts.passes.items() if told.detailed):
        last = ends.get(where, 0)
        full = range(n + 1) if facts.corrected else range(0 if kind == RECORDS_PRISM else 1)
        keys += [(*where, layer, pos) for layer in full for pos in range(last + 1)]
        keys += [(*where, layer, last) for layer in range(1, n + 1) if layer not in full]
    return keys


def last_positions(tables: Mapping[str, Sequence[Row]]) -> dict[Where, int]:
    """The last position of each pass, as any pure table says first; of pos/orig else as the records do."""
    ends: dict[Where, int] = {}
    for kind in (PURE, PURE_PRISM):
        for row in tables.get(kind, []):
            ends.setdefault(row.where, int(row["pos"]))
    records = [int(row["pos"]) for row in tables.get(RECORDS, []) if row.where == ("pos", "orig")]
    return (
        ends if ("pos", "orig") in ends or not records else {**ends, ("pos", "orig"): max(records)}
    )


def check_order(
    file: str,
    kind: str,
    rows: Sequence[Row],
    names: Collection[str],
    n: int,
    facts: DocumentContext,
    ends: Mapping[Where, int],
) -> list[Violation]:
    """Missing, extra and misplaced rows. `names` are those of all rows: what could not be typed is not missing."""
    own = {row.where: int(row["pos"]) for row in reversed(rows)} if kind.startswith(PURE) else {}
    # run.py's other passes may end elsewhere in a sidecar's rows; the first is the same everywhere
    places = (
        ends
        if facts.own
        else {**ends, **own, **{w: ends[w] for w in [("pos", "orig")] if w in ends}}
    )
    wanted, found = expected_keys(kind, facts, n, places), [key(row) for row in rows]
    demanded_names = ["{}/{} layer {} pos {}".format(*k) for k in wanted]
    missing = [name for name in demanded_names if name not in names]
    violations = [Violation(file, name, "", "rows.missing", "no such row") for name in missing]
    known, present = set(wanted), set(found)
    kept: list[Row] = []
    for row, place in zip(rows, found, strict=True):
        if place in known:
            known.remove(place)  # a second row of that key is one too many
            kept.append(row)
        else:
            violations.append(Violation(file, row.name, "", "rows.extra", "a row too many"))
    order = [k for k in wanted if k in present]
    for row, demanded in zip(kept, order, strict=True):
        if key(row) != demanded:
            told = "{}/{} layer {} pos {} belongs here".format(*demanded)
            return [*violations, Violation(file, row.name, "", "rows.order", told)]
    return violations
