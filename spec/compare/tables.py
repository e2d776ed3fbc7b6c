"""Two CSV tables: header, rows, order, width, then cell by cell."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ..runs import columns
from ..runs.csv_dialect import Table
from ..runs.places import FilePart, PassRows, Place, Row
from ..runs.values import FURTHER_KEYS, is_float, key_columns, named_rows, table_rows, whole_pass
from .kinds import Kind
from .recorder import Recorder, topk_faults

Cell = tuple[str, str]  # decoded text, as written
Name = TypeVar("Name", str, Row)
Rows = Mapping[Any, int]  # the index of each Row: a mapping is invariant in its keys


class Naming(NamedTuple):
    """What the compared names are, and the kinds of mismatch that they can have."""

    what: str
    missing: Kind
    extra: Kind
    order: Kind


COLUMN = Naming("column", Kind.MISSING_COLUMN, Kind.EXTRA_COLUMN, Kind.COLUMN_ORDER)
ROW = Naming("row", Kind.MISSING_ROW, Kind.EXTRA_ROW, Kind.ROW_ORDER)
KEY = Naming("key", Kind.MISSING_KEY, Kind.EXTRA_KEY, Kind.KEY_ORDER)


def compare_known(recorder: Recorder, expected: Table, obtained: Table) -> None:
    """Two tables of the contract: rows by pass, layer, position and the further keys that both tables have."""
    without = [n for n in FURTHER_KEYS if (n in expected.places) != (n in obtained.places)]
    rows = table_rows(expected, without), table_rows(obtained, without)
    compare_tables(recorder, expected, obtained, rows)


def compare_unknown(recorder: Recorder, expected: Table, obtained: Table) -> None:
    """Two tables that the contract does not know: rows by the key columns that both have, equal keys by order."""
    names = [name for name in key_columns(expected) if name in key_columns(obtained)]
    compare_tables(
        recorder, expected, obtained, (named_rows(expected, names), named_rows(obtained, names))
    )


def compare_tables(
    recorder: Recorder, expected: Table, obtained: Table, rows: tuple[Rows, Rows]
) -> None:
    """Record every difference of two tables, whose `rows` are aligned by key and whose cells by column."""
    file = recorder.file
    repeated = {*obtained.names} - {*obtained.header} - {*expected.names}
    for column in sorted(repeated):
        recorder.mismatch(Place(file, FilePart.HEADER, column), "", "column", Kind.REPEATED_COLUMN)
    compare_names(
        recorder,
        COLUMN,
        (expected.names, [name for name in obtained.names if name not in repeated]),
        lambda name: Place(file, FilePart.HEADER, name),
    )
    expected_rows, obtained_rows = rows
    further = further_passes(expected_rows, obtained, obtained_rows)
    for name, count in further.items():
        place = Place(file, PassRows("/".join(name)))
        recorder.mismatch(place, "", f"{count} rows", Kind.FURTHER_PASS)
    compare_names(
        recorder,
        ROW,
        (
            list(expected_rows),
            [row for row, i in obtained_rows.items() if whole_pass(obtained, i) not in further],
        ),
        lambda row: Place(file, row),
    )
    compare_writing(recorder, expected, obtained)
    for key, index in expected_rows.items():
        if key in obtained_rows:
            other = obtained_rows[key]
            compare_width(recorder, key, surplus(expected, index), surplus(obtained, other))
            compare_rows(recorder, key, cells(expected, index), cells(obtained, other))


def further_passes(expected: Rows, table: Table, rows: Rows) -> dict[tuple[str, ...], int]:
    """The passes of the obtained table without a row that the expected table has, and how many rows each has."""
    counts = Counter(whole_pass(table, index) for index in rows.values())
    known = {whole_pass(table, index) for row, index in rows.items() if row in expected}
    return {
        name: count for name, count in counts.items() if name and all(name) and name not in known
    }


def surplus(table: Table, row: int) -> int:
    """How many cells a row has more than the header."""
    return len(table.rows[row]) - len(table.header)


def compare_width(recorder: Recorder, row: Row, expected: int, obtained: int) -> None:
    """Record a row that is longer or shorter than its header by another number of cells than the expected row."""
    if expected != obtained:
        a, b = (
            f"{n:+d} cells to the header" if n else "a cell a column" for n in (expected, obtained)
        )
        recorder.mismatch(Place(recorder.file, row), a, b, Kind.ROW_WIDTH)


def compare_writing(recorder: Recorder, expected: Table, obtained: Table) -> None:
    """Record how the files are written where no cell shows it: the header's quotes, line ends, the last line."""
    file = recorder.file
    if expected.complete != obtained.complete:
        ends = {True: "line feed", False: "no line feed"}
        recorder.mismatch(
            Place(file, FilePart.LAST_LINE, "end"),
            ends[expected.complete],
            ends[obtained.complete],
            Kind.FORMAT,
        )
    if expected.regular != obtained.regular:
        layouts = {True: "as csv writes it", False: "other quotes or line ends"}
        recorder.mismatch(
            Place(file, column="layout"),
            layouts[expected.regular],
            layouts[obtained.regular],
            Kind.FORMAT,
        )
    # strict=False: a table that was built without its header as written has an empty head
    heads = [dict(zip(table.names, table.head, strict=False)) for table in (expected, obtained)]
    for name, a in heads[0].items():
        b = heads[1].get(name, a)
        if a != b:
            recorder.mismatch(Place(file, FilePart.HEADER, name), a, b, Kind.QUOTING)


def compare_names(
    recorder: Recorder,
    naming: Naming,
    names: tuple[Sequence[Name], Sequence[Name]],
    place: Callable[[Name], Place],
) -> None:
    """Record missing, extra and reordered names; expected and obtained `names` are unique on each side."""
    expected, obtained = (dict.fromkeys(side) for side in names)
    for name in expected:
        if name not in obtained:
            recorder.mismatch(place(name), naming.what, "", naming.missing)
    for name in obtained:
        if name not in expected:
            recorder.mismatch(place(name), "", naming.what, naming.extra)
    same = list(expected) == list(obtained)
    recorder.tally(Place(recorder.file), f"{naming.what} order", same=same)
    common = (
        [name for name in expected if name in obtained],
        [name for name in obtained if name in expected],
    )
    pairs = ((a, b) for a, b in zip(*common, strict=True) if a != b)
    for a, b in list(pairs)[:1]:
        recorder.mismatch(place(a), str(a), str(b), naming.order)


def cells(table: Table, row: int) -> dict[str, Cell]:
    """A row's cells by column; those beyond the header are named by their number, from 1."""
    names: Sequence[str] = table.names
    if len(table.rows[row]) > len(names):
        names = [*names, *(f"#{i + 1}" for i in range(len(names), len(table.rows[row])))]
    return dict(zip(names, zip(table.rows[row], table.sources[row], strict=True), strict=False))


def compare_rows(
    recorder: Recorder, row: Row, expected: Mapping[str, Cell], obtained: Mapping[str, Cell]
) -> None:
    file = recorder.file
    compared = compare_pairs(recorder, row, expected, obtained)
    for name in expected:
        if name in obtained and name not in compared:
            (text, source), (other, other_source) = expected[name], obtained[name]
            place = Place(file, row, name)
            recorder.value(place, name, text, other, kind_of(name, text))
            if text == other and source != other_source:
                recorder.mismatch(place, source, other_source, Kind.QUOTING)


def kind_of(name: str, text: str) -> str:
    """The quantity of a column; a column that the contract does not know is a float where it looks like one."""
    known = columns.quantity(name)
    unknown = known == columns.TEXT and name not in columns.PURE_COLUMNS
    return "float" if unknown and is_float(text) else known


def listed_pairs(row: Mapping[str, Cell]) -> list[tuple[str, str]]:
    """The listed topI, probI texts, without padding."""
    empty = "", ""
    pairs = [
        (row.get(f"top{i}", empty)[0], row.get(f"prob{i}", empty)[0])
        for i in range(1, columns.TOP_PAIRS + 1)
    ]
    while pairs and pairs[-1] == empty:
        pairs.pop()
    return pairs


def compare_pairs(
    recorder: Recorder, row: Row, expected: Mapping[str, Cell], obtained: Mapping[str, Cell]
) -> set[str]:
    """Compare the tokens of a top-k list, in which ties may swap; return the columns that need no other comparison.

    Probabilities are left to the cell-by-cell comparison, and so is everything where the lists differ in length.
    """
    expected_pairs, obtained_pairs = listed_pairs(expected), listed_pairs(obtained)
    if not expected_pairs or len(expected_pairs) != len(obtained_pairs):
        return set()
    if not all(is_float(p) for _, p in expected_pairs):
        return set()
    probabilities = [float(p) for _, p in expected_pairs]
    tokens = [token for token, _ in expected_pairs]
    others = [token for token, _ in obtained_pairs]
    faults = topk_faults(recorder, tokens, probabilities, others)
    for i, (token, other) in enumerate(zip(tokens, others, strict=True)):
        name = f"top{i + 1}"
        place = Place(recorder.file, row, name)
        if token != other or i in faults:
            recorder.tally(place, name, same=token == other)
        if i in faults:
            kind = Kind.TOPK_ORDER if other in tokens else Kind.TOPK_TOKEN
            recorder.mismatch(place, token, other, kind)
    return {f"top{i + 1}" for i, (a, b) in enumerate(zip(tokens, others, strict=True)) if a != b}
