"""The cells of the rows that two tables have in common; those that are written alike are only counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

from ..runs import columns
from ..runs.csv_dialect import Table
from ..runs.places import Place, Row
from ..runs.values import is_float
from .kinds import Kind
from .recorder import Recorder, topk_faults

Cell = tuple[str, str]  # decoded text, as written
TOKENS = frozenset(f"top{i}" for i in range(1, columns.TOP_PAIRS + 1))


def compare_cells(
    recorder: Recorder, expected: Table, obtained: Table, common: Mapping[Row, tuple[int, int]]
) -> None:
    """Compare the rows that both tables have, by their indices; cells that are written alike are only counted."""
    differing = {key: differing_cells(expected, obtained, *pair) for key, pair in common.items()}
    alike = {key: names for key, names in differing.items() if names is not None}
    widths = Counter(len(expected.rows[common[key][0]]) for key in alike)
    count_cells(recorder, expected, widths, Counter(chain.from_iterable(alike.values())))
    for key, (index, other) in common.items():
        if key in alike:
            for name, (cell, other_cell) in alike[key].items():
                compare_cell(recorder, key, name, cell, other_cell)
        else:
            compare_width(recorder, key, surplus(expected, index), surplus(obtained, other))
            compare_rows(recorder, key, cells(expected, index), cells(obtained, other))


def count_cells(
    recorder: Recorder, table: Table, widths: Mapping[int, int], differing: Mapping[str, int]
) -> None:
    """Count the cells of rows, whose number is given by their width, but for the `differing` ones of a column."""
    names = cell_names(table, max(widths, default=0))
    for index, name in enumerate(names):
        count = sum(rows for width, rows in widths.items() if width > index)
        if equal := count - differing.get(name, 0):
            recorder.equal(name, equal)


def differing_cells(
    expected: Table, obtained: Table, index: int, other: int
) -> dict[str, tuple[Cell, Cell]] | None:
    """The cells of two rows that are not written alike.

    None where the rows are not of the same columns, or where a token of a top-k list differs: a tie may explain it.
    """
    a, b = expected.rows[index], obtained.rows[other]
    sources = expected.sources[index], obtained.sources[other]
    if expected.header != obtained.header or len(a) != len(b):
        return None
    if a == b and sources[0] == sources[1]:
        return {}
    pairs = zip(
        cell_names(expected, len(a)),
        zip(a, sources[0], strict=True),
        zip(b, sources[1], strict=True),
        strict=True,
    )
    differing = {name: (cell, other_cell) for name, cell, other_cell in pairs if cell != other_cell}
    return differing if TOKENS.isdisjoint(differing) else None


def compare_width(recorder: Recorder, row: Row, expected: int, obtained: int) -> None:
    """Record a row that is longer or shorter than its header by another number of cells than the expected row."""
    if expected != obtained:
        a, b = (
            f"{n:+d} cells to the header" if n else "a cell a column" for n in (expected, obtained)
        )
        recorder.mismatch(Place(recorder.file, row), a, b, Kind.ROW_WIDTH)


def surplus(table: Table, row: int) -> int:
    """How many cells a row has more than the header."""
    return len(table.rows[row]) - len(table.header)


def cells(table: Table, row: int) -> dict[str, Cell]:
    """A row's cells by column; those beyond the header are named by their number, from 1."""
    names = cell_names(table, len(table.rows[row]))
    return dict(zip(names, zip(table.rows[row], table.sources[row], strict=True), strict=True))


def cell_names(table: Table, width: int) -> Sequence[str]:
    """The names of a row's first `width` cells; those beyond the header are named by their number, from 1."""
    names = table.names
    return (
        names[:width]
        if width <= len(names)
        else [*names, *map("#{}".format, range(len(names) + 1, width + 1))]
    )


def compare_rows(
    recorder: Recorder, row: Row, expected: Mapping[str, Cell], obtained: Mapping[str, Cell]
) -> None:
    compared = compare_pairs(recorder, row, expected, obtained)
    for name in expected:
        if name in obtained and name not in compared:
            compare_cell(recorder, row, name, expected[name], obtained[name])


def compare_cell(recorder: Recorder, row: Row, name: str, expected: Cell, obtained: Cell) -> None:
    """Two cells by their quantity; the same text that is written otherwise is a mismatch too."""
    place = Place(recorder.file, row, name)
    recorder.value(place, name, expected[0], obtained[0], kind_of(name, expected[0]))
    if expected[0] == obtained[0] and expected[1] != obtained[1]:
        recorder.mismatch(place, expected[1], obtained[1], Kind.QUOTING)


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
