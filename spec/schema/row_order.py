"""Which rows a table must have, and in which order."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

from ..runs.places import Place, TableRow
from ..runs.run import PURE, PURE_PRISM, RECORDS, RECORDS_PRISM
from .cells import PassKey, Row
from .rows import DocumentContext
from .rules import Rule, Violation

Key = tuple[str, str, int, int]
# Of a table, each a violation; more are one. A damaged position asks for more than memory holds.
MOST_MISSING = 100_000


def key(row: Row) -> Key:
    return row["prompt_id"], row["prompt_variant"], row["layer"], row["pos"]


def expected_keys(
    kind: str, facts: DocumentContext, n: int, ends: Mapping[PassKey, int]
) -> Iterator[Key]:
    """The keys of a table of a model with n blocks; `ends` are the passes' last positions; corrected: R4."""
    for pass_key, known in facts.passes.items():
        last = ends.get(pass_key, 0)
        if not kind.startswith(RECORDS):
            yield from ((*pass_key, layer, last) for layer in range(n + 1))
        elif known.has_records:
            full = range(n + 1) if facts.corrected else range(0 if kind == RECORDS_PRISM else 1)
            yield from ((*pass_key, layer, pos) for layer in full for pos in range(last + 1))
            yield from ((*pass_key, layer, last) for layer in range(1, n + 1) if layer not in full)


def last_positions(tables: Mapping[str, Sequence[Row]]) -> dict[PassKey, int]:
    """The last position of each pass, from the first pure table that has it; of pos/orig else from the records."""
    ends: dict[PassKey, int] = {}
    for kind in (PURE, PURE_PRISM):
        for row in tables.get(kind, []):
            ends.setdefault(row.where, int(row["pos"]))
    records = [int(row["pos"]) for row in tables.get(RECORDS, []) if row.where == ("pos", "orig")]
    return (
        ends if ("pos", "orig") in ends or not records else {**ends, ("pos", "orig"): max(records)}
    )


def check_order(
    table: tuple[str, str],
    rows: Sequence[Row],
    written: Collection[TableRow],
    n: int,
    facts: DocumentContext,
    ends: Mapping[PassKey, int],
) -> list[Violation]:
    """Missing, extra and misplaced rows of a table, which is given by its file and kind.

    `written` are the keys of all rows: a row that could not be typed is not missing.
    """
    file, kind = table
    most = len(written) + MOST_MISSING
    keys = expected_keys(kind, facts, n, ends_of(kind, rows, facts, ends))
    demanded = list(islice(keys, most + 1))
    if len(demanded) > most:
        text = f"over {MOST_MISSING} rows, which its layers and positions ask for"
        return [Violation(Place(file), Rule.ROWS_MISSING, text)]
    violations = [
        Violation(Place(file, row), Rule.ROWS_MISSING, "no such row")
        for row in map(table_row, demanded)
        if row not in written
    ]
    remaining = set(demanded)
    expected_rows: list[Row] = []
    for row in rows:
        if key(row) in remaining:
            remaining.remove(key(row))  # a second row of that key is one too many
            expected_rows.append(row)
        else:
            violations.append(Violation(Place(file, row.key), Rule.ROWS_EXTRA, "a row too many"))
    present = {key(row) for row in rows}
    order = [known for known in demanded if known in present]
    for row, other in zip(expected_rows, order, strict=True):
        if key(row) != other:
            text = f"{table_row(other)} belongs here"
            return [*violations, Violation(Place(file, row.key), Rule.ROWS_ORDER, text)]
    return violations


def table_row(known: Key) -> TableRow:
    """The key of a row as a table has it."""
    prompt_id, prompt_variant, layer, pos = known
    return TableRow(prompt_id, prompt_variant, str(layer), str(pos))


def ends_of(
    kind: str, rows: Sequence[Row], facts: DocumentContext, ends: Mapping[PassKey, int]
) -> Mapping[PassKey, int]:
    """The last position of each pass in a table of this kind.

    run.py's other passes may end elsewhere in a sidecar's rows; the first is the same everywhere.
    """
    if facts.own:
        return ends
    own = {row.where: int(row["pos"]) for row in reversed(rows)} if kind.startswith(PURE) else {}
    first = {pass_key: end for pass_key, end in ends.items() if pass_key == ("pos", "orig")}
    return {**ends, **own, **first}
