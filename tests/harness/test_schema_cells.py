"""The cells of a table: which rows are typed, which cells are refused, and at which place."""

from collections.abc import Iterable

import pytest

from spec.runs import columns, csv_dialect
from spec.runs.places import TableRow
from spec.schema.cells import NEXT, Row, check_table
from spec.schema.rules import Violation

PURE, RECORDS = "pure-next-token", "records"
NAMED = {"prompt_id": "a", "prompt_variant": "b", "token": NEXT}
OF_KIND = {columns.TEXT: "t", columns.INTEGER: "3", columns.RANK: "1", columns.FLAG: "False"}


def line(names: Iterable[str], layer: int, **written: str) -> str:
    """A line of a table, each cell of the type of its column."""
    usual = {name: OF_KIND.get(columns.quantity(name), "0.5") for name in names}
    return ",".join((usual | NAMED | {"layer": str(layer)} | written)[name] for name in names)


def table(names: tuple[str, ...], *lines: str) -> csv_dialect.Table:
    return csv_dialect.parse("\n".join((",".join(names), *lines, "")))


def texts(violations: Iterable[Violation]) -> list[str]:
    return [f"{v.place} {v.rule}: {v.value}" for v in violations]


def test_a_cell_is_refused_at_its_place() -> None:
    """A row with a cell of another type is not typed; one with another token is."""
    names = columns.PURE_COLUMNS
    lines = line(names, 0), line(names, 1, token="x"), line(names, 2, entropy="2")
    violations, rows = check_table("x.csv", PURE, table(names, *lines))
    assert texts(violations) == [
        "x.csv, a/b layer 2 pos 3, entropy cell.type: '2'",
        "x.csv, a/b layer 1 pos 3, token cell.fixed: 'x'",
    ]
    assert [(row.file, row.key, row["token"], row["entropy"]) for row in rows] == [
        ("x.csv", TableRow("a", "b", "0", "3"), NEXT, 0.5),
        ("x.csv", TableRow("a", "b", "1", "3"), "x", 0.5),
    ]


def test_the_token_of_a_record_is_free() -> None:
    names = columns.RECORD_COLUMNS
    violations, rows = check_table("x.csv", RECORDS, table(names, line(names, 0, token="x")))
    assert violations == []
    assert [row["token"] for row in rows] == ["x"]


@pytest.mark.parametrize(
    ("written", "value", "refused"),
    [
        ("\r", "\r", False),
        ('"\r"', "\r", False),
        ('"a\rb"', "a\rb", False),
        ('"a,b"', "a,b", False),
        ('"a"', "a", True),
        ('"\\r"', "r", True),
    ],
)
def test_quotes_are_written_where_a_cell_needs_them(
    written: str, value: str, refused: bool
) -> None:
    """A carriage return may have them, as Python's csv writes it from 3.13 on."""
    names = columns.RECORD_COLUMNS
    violations, rows = check_table("x.csv", RECORDS, table(names, line(names, 0, token=written)))
    place = "x.csv, a/b layer 0 pos 3, token csv.dialect: "
    assert texts(violations) == [place + repr(written)] * refused
    assert [row["token"] for row in rows] == [value] * (not refused)


def test_a_row_keeps_its_cells() -> None:
    cells = {"layer": 1}
    row = Row("x.csv", TableRow("a", "b", "1"), cells)
    cells["layer"] = 2
    assert row["layer"] == 1
