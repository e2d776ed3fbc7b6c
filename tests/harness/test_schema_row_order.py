"""The rows that a table must have: those of every pass with records, each named where it is missing."""

from spec.runs.places import Place, TableRow
from spec.schema.cells import Row
from spec.schema.row_order import check_order, expected_keys
from spec.schema.rows import DocumentContext, Pass
from spec.schema.rules import Rule, Violation

A, B, C = ("a", "orig"), ("b", "orig"), ("c", "orig")
FACTS = DocumentContext(
    passes={A: Pass("A", has_records=True), B: Pass("B"), C: Pass("C", has_records=True)},
    own=True,
)
ENDS = {A: 1, B: 5, C: 0}


def test_every_pass_with_records_has_its_rows_in_the_records_table() -> None:
    assert expected_keys("records", FACTS, 1, ENDS) == [
        *((*A, 0, 0), (*A, 0, 1), (*A, 1, 1)),
        *((*C, 0, 0), (*C, 1, 0)),
    ]


def test_each_missing_row_is_named() -> None:
    key = TableRow("b", "orig", "0", "5")
    cells = {"prompt_id": "b", "prompt_variant": "orig", "layer": 0, "pos": 5}
    rows = [Row("f.csv", key, cells)]
    table = ("f.csv", "pure-next-token")
    missing = [TableRow("a", "orig", "0", "1"), TableRow("c", "orig", "0", "0")]
    assert check_order(table, rows, {key}, 0, FACTS, ENDS) == [
        Violation(Place("f.csv", row), Rule.ROWS_MISSING, "no such row") for row in missing
    ]
    assert check_order(table, rows, {key, *missing}, 0, FACTS, ENDS) == []
