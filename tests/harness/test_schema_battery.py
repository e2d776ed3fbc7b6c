"""The statistics over the passes of a run: every row is accepted, or refused at its place with its own text."""

from collections.abc import Sequence
from typing import Any

import pytest

from spec.runs.columns import BATTERY_COLUMNS
from spec.runs.csv_dialect import Table
from spec.runs.places import FilePart, NamedRow, Place, TableRow
from spec.runs.run import PURE, Run
from spec.schema.battery import check_battery, members, quartiles, same, well_formed
from spec.schema.cells import Row
from spec.schema.rules import Rule, Violation

FILE = "output-x-battery.csv"
DOCUMENT: dict[str, Any] = {
    "passes": [
        {"prompt_id": "a", "prompt_variant": "orig", "tags": {"sum": "1+1=2"}},
        {"prompt_id": "b", "prompt_variant": "orig", "tags": {"sum": "1+1=3"}},
        {"prompt_id": "c", "prompt_variant": "orig"},
    ]
}
ENTROPIES = {"a": 1.0, "b": 2.0, "c": 6.0}
MEAN = "norm,all,0,entropy,,mean,3,3,3.0,1.0,6.0"
KEPT = (
    MEAN,
    "norm,all,0,entropy,,median,3,3,2.0,,",
    "norm,all,0,entropy,,lower quartile,3,3,1.5,,",
    "norm,all,0,entropy,,upper quartile,3,3,4.0,,6.0",
    "norm,sum=1+1=2,0,entropy,,mean,1,1,1.0,,",
    "norm,sum=1+1=2,0,entropy,,upper quartile,1,1,1.0,,",
    "norm,all,,L_semantic,own,share,3,3,0.3333333333333333,0.0,1.0",
    "norm,all,,L_semantic,own,median,1,1,0.0,,",
    "norm,all,,L_copy,own,median,0,0,,,",
    "no lens,all,7,nothing,control,mean,9,9,9.0,,",
)


def pure_row(name: str) -> Row:
    """The row of layer 0 of a pass; the answer of the pass a alone is the likeliest token."""
    cells = {
        "prompt_id": name,
        "prompt_variant": "orig",
        "layer": 0,
        "entropy": ENTROPIES[name],
        "kl_to_final_bits": 0.25,
        "answer_rank": 1 if name == "a" else 2,
        "p_answer": 0.5,
        "is_answer": name == "a",
        "copy_collapse": False,
        "entropy_collapse": False,
    }
    return Row("output-x-pure-next-token.csv", TableRow(name, "orig", "0", "1"), cells)


def check(rows: Sequence[str], header: tuple[str, ...] = BATTERY_COLUMNS) -> list[Violation]:
    cells = tuple(tuple(row.split(",")) for row in rows)
    run = Run("x", battery=Table(header, cells, cells, complete=True, head=header))
    return list(check_battery(run, DOCUMENT, {PURE: [*map(pure_row, ENTROPIES)]}))


def broken(row: str, rule: Rule, value: str) -> Violation:
    """The violation at the place of a row, which is named by its first six cells."""
    texts = [*row.split(","), *[""] * 6][:6]
    names = ("lens", "group", "layer", "quantity", "answer", "estimate")
    return Violation(Place(FILE, NamedRow(tuple(zip(names, texts, strict=True)))), rule, value)


def test_rows_that_follow_from_the_passes_are_accepted() -> None:
    assert check(KEPT) == []
    assert list(check_battery(Run("x"), DOCUMENT, {})) == []


def test_the_first_column_that_is_another_one_is_named() -> None:
    header = (*BATTERY_COLUMNS[:-1], "upper")
    place = Place(FILE, FilePart.HEADER, "high")
    assert check([MEAN], header) == [Violation(place, Rule.CSV_HEADER, "upper")]


@pytest.mark.parametrize(
    "row",
    [
        "norm,all,0",
        MEAN.removesuffix(",6.0"),
        f"{MEAN},7.0",
        MEAN.replace("mean", "mode"),
        MEAN.replace("1.0", "1"),
    ],
)
def test_a_row_of_another_form_is_refused_as_written(row: str) -> None:
    assert check([row]) == [broken(row, Rule.BATTERY_FORM, row)]


def test_every_row_of_another_form_is_refused() -> None:
    rows = [MEAN, "norm", MEAN, KEPT[1], KEPT[1]]
    assert check(rows) == [broken(row, Rule.BATTERY_FORM, row) for row in ("norm", MEAN, KEPT[1])]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"layer": "", "low": "", "high": "", "value": ""}, True),
        ({"answer": "own"}, True),
        ({"answer": "control"}, True),
        ({"answer": "other"}, False),
        ({"n": "1.0"}, False),
        ({"n_prompts": ""}, False),
        ({"layer": "x"}, False),
        ({"value": "nan"}, False),
        ({"low": "-inf"}, False),
        ({"high": "1.00"}, False),
        ({"high": "x"}, False),
        ({"estimate": "mode"}, False),
    ],
)
def test_the_types_of_the_cells(changes: dict[str, str], kept: bool) -> None:
    cells = dict(zip(BATTERY_COLUMNS, MEAN.split(","), strict=True))
    assert well_formed({**cells, **changes}) is kept


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (MEAN.replace("1.0,6.0", "6.0,1.0"), "6.0 … 1.0"),
        ("norm,all,,L_semantic,own,share,3,3,0.3333333333333333,-0.5,0.5", "-0.5 … 0.5"),
        ("norm,all,,L_semantic,own,share,3,3,0.3333333333333333,0.5,1.5", "0.5 … 1.5"),
        ("norm,all,,L_semantic,control,share,3,3,0.5,,1.5", " … 1.5"),
    ],
)
def test_an_interval_upside_down_or_of_a_share_beyond_0_and_1_is_refused(
    row: str, value: str
) -> None:
    assert check([row]) == [broken(row, Rule.BATTERY_INTERVAL, value)]


@pytest.mark.parametrize(
    "row",
    [
        MEAN.replace("norm", "tuned"),
        MEAN.replace(",0,", ",1,"),
        MEAN.replace("entropy", "temperature"),
    ],
)
def test_a_lens_a_layer_or_a_quantity_that_no_table_has_is_refused(row: str) -> None:
    assert check([row]) == [broken(row, Rule.BATTERY_FORM, "no such lens, layer or quantity")]


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (MEAN.replace("3,3,", "4,3,"), "3.0 of 4, 3 prompts where it is 3.0 of (3, 3)"),
        (MEAN.replace("3,3,", "3,2,"), "3.0 of 3, 2 prompts where it is 3.0 of (3, 3)"),
        (MEAN.replace("3.0", "3.5"), "3.5 of 3, 3 prompts where it is 3.0 of (3, 3)"),
        (MEAN.replace("3.0", ""), " of 3, 3 prompts where it is 3.0 of (3, 3)"),
        (
            "norm,all,,L_copy,own,median,0,0,1.0,,",
            "1.0 of 0, 0 prompts where it is None of (0, 0)",
        ),
    ],
)
def test_counts_and_values_that_do_not_follow_are_refused(row: str, value: str) -> None:
    assert check([row]) == [broken(row, Rule.BATTERY_VALUE, value)]


def test_a_value_is_empty_where_there_is_none() -> None:
    cases: list[tuple[str, float | None]] = [
        *(("", None), ("1.0", None), ("", 1.0)),
        *(("2.0", 1.0), ("1.0", 1.0)),
    ]
    assert [same(text, value) for text, value in cases] == [True, False, False, False, True]


def test_the_quartiles_of_few_values() -> None:
    assert quartiles([1.0, 2.0, 6.0]) == [1.5, 2.0, 4.0]
    assert quartiles([5.0]) == [5.0, 5.0, 5.0]


def test_a_group_is_a_tag_up_to_the_first_equals_sign() -> None:
    assert list(members(DOCUMENT, "sum=1+1=2")) == [("a", "orig")]
    assert list(members(DOCUMENT, "all")) == [(name, "orig") for name in "abc"]
    assert list(members(DOCUMENT, "sum=2")) == []
