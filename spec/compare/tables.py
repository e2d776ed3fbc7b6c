"""Two CSV tables: header, rows, order, width, then cell by cell."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ..runs import columns
from ..runs.csv_dialect import Table
from ..runs.places import FilePart, Place, TableRow
from ..runs.values import is_float, table_rows
from .kinds import Kind
from .recorder import Recorder, topk_faults

Cell = tuple[str, str]  # decoded text, as written
Name = TypeVar("Name", str, TableRow)


class Naming(NamedTuple):
    """What the compared names are, and the kinds of mismatch that they can have."""

    what: str
    missing: Kind
    extra: Kind
    order: Kind


COLUMN = Naming("column", Kind.MISSING_COLUMN, Kind.EXTRA_COLUMN, Kind.COLUMN_ORDER)
ROW = Naming("row", Kind.MISSING_ROW, Kind.EXTRA_ROW, Kind.ROW_ORDER)
KEY = Naming("key", Kind.MISSING_KEY, Kind.EXTRA_KEY, Kind.KEY_ORDER)


def compare_tables(recorder: Recorder, expected: Table, obtained: Table) -> None:
    """Record every difference of two tables."""
    file = recorder.file
    compare_names(
        recorder,
        COLUMN,
        (expected.names, obtained.names),
        lambda name: Place(file, FilePart.HEADER, name),
    )
    expected_rows, obtained_rows = table_rows(expected), table_rows(obtained)
    compare_names(
        recorder,
        ROW,
        (list(expected_rows), list(obtained_rows)),
        lambda row: Place(file, row),
    )
    compare_writing(recorder, expected, obtained)
    for key, index in expected_rows.items():
        if key in obtained_rows:
            pair = cells(expected, index), cells(obtained, obtained_rows[key])
            compare_rows(recorder, key, *pair)


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
    if expected.header != obtained.header:
        return
    # strict=False: a table that was built without its header as written has an empty head
    for name, a, b in zip(expected.header, expected.head, obtained.head, strict=False):
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
    recorder: Recorder, row: TableRow, expected: Mapping[str, Cell], obtained: Mapping[str, Cell]
) -> None:
    file = recorder.file
    if len(expected) != len(obtained):
        widths = f"{len(expected)} cells", f"{len(obtained)} cells"
        recorder.mismatch(Place(file, row), *widths, Kind.ROW_WIDTH)
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
    recorder: Recorder, row: TableRow, expected: Mapping[str, Cell], obtained: Mapping[str, Cell]
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
