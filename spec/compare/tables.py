"""Two CSV tables: header, rows, order and writing; their cells are left to cells.py."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from ..runs.csv_dialect import Table
from ..runs.places import FilePart, PassRows, Place, Row
from ..runs.values import (
    FURTHER_KEYS,
    key_columns,
    named_rows,
    row_of_each_layer,
    table_rows,
    whole_pass,
)
from .cells import compare_cells, count_cells
from .kinds import Kind
from .recorder import Recorder

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
    if expected is obtained:
        count_values(recorder, expected)
        recorder.compared_rows(row_of_each_layer(expected))
        return
    without = [n for n in FURTHER_KEYS if (n in expected.places) != (n in obtained.places)]
    rows = table_rows(expected, without), table_rows(obtained, without)
    compare_tables(recorder, expected, obtained, rows)


def compare_unknown(recorder: Recorder, expected: Table, obtained: Table) -> None:
    """Two tables that the contract does not know: rows by the key columns that both have, equal keys by order."""
    if expected is obtained:
        count_values(recorder, expected)
        return
    names = [name for name in key_columns(expected) if name in key_columns(obtained)]
    compare_tables(
        recorder, expected, obtained, (named_rows(expected, names), named_rows(obtained, names))
    )


def count_values(recorder: Recorder, table: Table) -> None:
    """Count the values of a table that is the same on both sides."""
    for naming in (COLUMN, ROW):
        recorder.equal(f"{naming.what} order")
    count_cells(recorder, table, Counter(map(len, table.rows)), {})


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
    common = {
        key: (i, obtained_rows[key]) for key, i in expected_rows.items() if key in obtained_rows
    }
    recorder.compared_rows(common)
    compare_cells(recorder, expected, obtained, common)


def further_passes(expected: Rows, table: Table, rows: Rows) -> dict[tuple[str, ...], int]:
    """The passes of the obtained table without a row that the expected table has, and how many rows each has."""
    counts = Counter(whole_pass(table, index) for index in rows.values())
    known = {whole_pass(table, index) for row, index in rows.items() if row in expected}
    return {
        name: count for name, count in counts.items() if name and all(name) and name not in known
    }


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
