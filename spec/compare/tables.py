"""Two CSV tables: header, rows, order, width, then cell by cell."""

from collections.abc import Mapping, Sequence

from ..runs import columns
from ..runs.csv_dialect import Table
from ..runs.values import is_float, row_names
from .recorder import Recorder, topk_faults

Cell = tuple[str, str]  # decoded text, as written


def compare_tables(recorder: Recorder, expected: Table, obtained: Table) -> None:
    """Write every difference of two tables to the ledger."""
    compare_names(recorder, "header", expected.names, obtained.names, "column")
    wanted, got = row_names(expected), row_names(obtained)
    compare_names(recorder, "", list(wanted), list(got), "row")
    compare_writing(recorder, expected, obtained)
    for name, row in wanted.items():
        if name in got:
            compare_rows(recorder, name, cells(expected, row), cells(obtained, got[name]))


def compare_writing(recorder: Recorder, expected: Table, obtained: Table) -> None:
    """How the files are written where no cell shows it: the header's quotes, line ends, the last line."""
    told = {True: "line feed", False: "no line feed"}
    if expected.complete != obtained.complete:
        ends = told[expected.complete], told[obtained.complete]
        recorder.mismatch("last line", "end", *ends, "format")
    told = {True: "as csv writes it", False: "other quotes or line ends"}
    if expected.regular != obtained.regular:
        recorder.mismatch("", "layout", told[expected.regular], told[obtained.regular], "format")
    for name, a, b in zip(expected.header, expected.head, obtained.head, strict=False):
        if expected.header == obtained.header and a != b:
            recorder.mismatch("header", name, a, b, "quoting")


def compare_names(
    recorder: Recorder, row: str, expected: Sequence[str], obtained: Sequence[str], what: str
) -> None:
    """Missing, extra and reordered names, each unique; `what` is column, row or key."""
    left, right = dict.fromkeys(expected), dict.fromkeys(obtained)
    for name in (name for name in expected if name not in right):
        recorder.mismatch(*((row, name) if row else (name, "")), what, "", f"missing {what}")
    for name in (name for name in obtained if name not in left):
        recorder.mismatch(*((row, name) if row else (name, "")), "", what, f"extra {what}")
    recorder.tally(row, f"{what} order", same=list(left) == list(right))
    wanted, got = (n for n in expected if n in right), (n for n in obtained if n in left)
    if found := next(((a, b) for a, b in zip(wanted, got, strict=True) if a != b), None):
        recorder.mismatch(
            *((row, found[0]) if row else (found[0], "")), found[0], found[1], f"{what} order"
        )


def cells(table: Table, row: int) -> dict[str, Cell]:
    """A row's cells by column; those beyond the header are named by their number, from 1."""
    names: Sequence[str] = table.names
    if len(table.rows[row]) > len(names):
        names = [*names, *(f"#{i + 1}" for i in range(len(names), len(table.rows[row])))]
    return dict(zip(names, zip(table.rows[row], table.sources[row], strict=True), strict=False))


def compare_rows(
    recorder: Recorder, row: str, expected: Mapping[str, Cell], obtained: Mapping[str, Cell]
) -> None:
    if len(expected) != len(obtained):
        recorder.mismatch(row, "", f"{len(expected)} cells", f"{len(obtained)} cells", "row width")
    tokens = compare_pairs(recorder, row, expected, obtained)
    for name in expected:
        if name in obtained and name not in tokens:
            (text, source), (other, other_source) = expected[name], obtained[name]
            recorder.value(row, name, text, other, kind_of(name, text))
            if text == other and source != other_source:
                recorder.mismatch(row, name, source, other_source, "quoting")


def kind_of(name: str, text: str) -> str:
    """The quantity of a column; a column that the contract does not know is a float where it looks like one."""
    known = columns.quantity(name)
    unknown = known == columns.TEXT and name not in columns.PURE_COLUMNS
    return "float" if unknown and is_float(text) else known


def pairs(row: Mapping[str, Cell]) -> list[tuple[str, str]]:
    """The listed topI, probI texts, without padding."""
    found = [
        (row.get(f"top{i}", ("", ""))[0], row.get(f"prob{i}", ("", ""))[0])
        for i in range(1, columns.TOP_PAIRS + 1)
    ]
    while found and found[-1] == ("", ""):
        found.pop()
    return found


def compare_pairs(
    recorder: Recorder, row: str, expected: Mapping[str, Cell], obtained: Mapping[str, Cell]
) -> set[str]:
    """Compare the tokens of a top-k list with regard to ties; returns the columns that are settled by it.

    Probabilities are left to the cell-by-cell comparison, and so is everything where the lists differ in length.
    """
    wanted, got = pairs(expected), pairs(obtained)
    if not wanted or len(wanted) != len(got) or not all(is_float(p) for _, p in wanted):
        return set()
    probabilities = [float(p) for _, p in wanted]
    tokens, others = [token for token, _ in wanted], [token for token, _ in got]
    faults = topk_faults(recorder, tokens, probabilities, others)
    for i, (token, other) in enumerate(zip(tokens, others)):
        name = f"top{i + 1}"
        if token != other or i in faults:
            recorder.tally(row, name, same=token == other)
        if i in faults:
            recorder.mismatch(
                row, name, token, other, "top-k order" if other in tokens else "top-k token"
            )
    return {f"top{i + 1}" for i, (a, b) in enumerate(zip(tokens, others)) if a != b}
