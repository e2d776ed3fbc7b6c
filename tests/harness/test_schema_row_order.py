"""The rows that a table must have: those of every pass with records, each named where it is missing."""

import pytest
from changing import captured, with_cell, with_leaf

from spec.golden import GOLDEN
from spec.runs.places import Place, TableRow
from spec.runs.run import PURE, RECORDS, Run, read_run
from spec.schema.cells import Row
from spec.schema.row_order import check_order, expected_keys
from spec.schema.rows import DocumentContext, Pass
from spec.schema.rules import Rule, Violation
from spec.schema.validate import facts_of, validate

A, B, C = ("a", "orig"), ("b", "orig"), ("c", "orig")
FACTS = DocumentContext(
    passes={A: Pass("A", has_records=True), B: Pass("B"), C: Pass("C", has_records=True)},
    own=True,
)
ENDS = {A: 1, B: 5, C: 0}


def test_every_pass_with_records_has_its_rows_in_the_records_table() -> None:
    assert list(expected_keys("records", FACTS, 1, ENDS)) == [
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


BEYOND = 200_000  # layers or positions: over every bound, and few enough for a fault to end soon


def at_layer_or_position(run: Run, number: int, layers: int = 6) -> list[Run]:
    """The run with a number as the layer or the position of its first rows, and with so many blocks."""
    stated = with_leaf(run, ("model_stats", "num_layers"), layers)
    return [
        with_cell(stated, kind, 0, column, str(number))
        for kind in (PURE, RECORDS)
        for column in ("layer", "pos")
    ]


@pytest.mark.parametrize("layers", [6, 0, BEYOND], ids=["layers", "layers unknown", "many layers"])
@pytest.mark.parametrize("folder", ["outputs", "corrected"])
def test_a_layer_or_position_beyond_any_is_a_violation(folder: str, layers: int) -> None:
    run = read_run(GOLDEN / folder / "fact")
    for damaged in at_layer_or_position(run, BEYOND, layers):
        violations = validate(damaged)
        assert len(violations) < 200
        rules = {violation.rule for violation in violations}
        assert rules & {Rule.CELL_TYPE, Rule.ROWS_MISSING, Rule.ROWS_EXTRA}
        assert (Rule.JSON_VALUE in rules) == (layers == BEYOND)


@pytest.mark.parametrize(("layers", "known"), [(10_000, 10_000), (10_001, None)])
def test_more_layers_than_ten_thousand_are_not_counted_on(layers: int, known: int | None) -> None:
    stated = with_leaf(captured("fact"), ("model_stats", "num_layers"), layers)
    assert facts_of(stated.document).layers == known


def test_layers_are_at_most_ten_thousand() -> None:
    stated = ("model_stats", "num_layers")
    most = validate(with_leaf(captured("fact"), stated, 10_000))
    assert Rule.JSON_VALUE not in {violation.rule for violation in most}
    more = validate(with_leaf(captured("fact"), stated, 10_001))
    place = Place("output-Fact.json", key=stated)
    assert Violation(place, Rule.JSON_VALUE, "10001") in more
    cell = validate(with_cell(captured("fact"), PURE, 6, "layer", "10001"))
    assert ("layer", "'10001'") in [(v.place.column, v.value) for v in cell]
    cell = validate(with_cell(captured("fact"), PURE, 6, "layer", "10000"))
    assert Rule.CELL_TYPE not in {violation.rule for violation in cell}


def test_more_missing_rows_than_a_hundred_thousand_are_one_violation() -> None:
    key = TableRow("a", "orig", "0", "0")
    cells = {"prompt_id": "a", "prompt_variant": "orig", "layer": 0, "pos": 0}
    facts = DocumentContext(passes={A: Pass("A", has_records=True)}, own=True)
    check = check_order, ("f.csv", "records"), [Row("f.csv", key, cells)], {key}, 0, facts
    assert len(check[0](*check[1:], {A: 100_000})) == 100_000
    (violation,) = check[0](*check[1:], {A: 100_001})
    assert (violation.place, violation.rule) == (Place("f.csv"), Rule.ROWS_MISSING)
    assert violation.value.startswith("over 100000 rows")
