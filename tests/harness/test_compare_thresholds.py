"""A number near its threshold decides either way in bf16, and only there, and only that decision."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from changing import captured, with_cell, with_leaf

from spec.compare.kinds import Kind
from spec.compare.runs import Mismatch, compare
from spec.compare.thresholds import LAYERS, by_layer, layer_is_open
from spec.compare.tolerance import BF16_WIDE, FP32
from spec.runs import csv_dialect
from spec.runs.places import JsonItem, Place
from spec.runs.run import PURE, Run

KL = [4.0, 0.9, 0.51, 0.49, 0.2]  # of layers 0 … 4 of pos/orig, in bits
KL_LAYERS = [None, 0, 1, 2, 3, 4]


def with_column(run: Run, where: tuple[str, str], column: str, values: Sequence[float]) -> Run:
    """The run with a column of a pass replaced, layer by layer."""
    table = run.tables[PURE]
    rows = [
        row
        for row in range(len(table.rows))
        if (table.column("prompt_id", row), table.column("prompt_variant", row)) == where
    ]
    for row, value in zip(rows, values, strict=True):
        run = with_cell(run, PURE, row, column, repr(value))
    return run


def matches(expected: Run, path: tuple[str, ...], layer: int | None) -> bool:
    return compare(expected, with_leaf(expected, path, layer), BF16_WIDE).matches


@pytest.mark.parametrize("layer", KL_LAYERS)
def test_a_milestone_may_fall_on_a_layer_near_its_threshold(layer: int | None) -> None:
    """Captured at layer 3. At layers 2 and 3 the KL is within 0.06 of 0.5; at no other."""
    path = ("diagnostics", "first_kl_below_0.5")
    run = with_leaf(
        with_column(captured("layernorm-bf16"), ("pos", "orig"), "kl_to_final_bits", KL), path, 3
    )
    assert matches(run, path, layer) is (layer in (2, 3, 4))
    assert compare(run, with_leaf(run, path, layer), FP32).matches is (layer == 3)


def test_a_milestone_may_be_missed_where_every_row_that_makes_it_is_near() -> None:
    path = ("diagnostics", "first_kl_below_0.5")
    far = with_column(captured("layernorm-bf16"), ("pos", "orig"), "kl_to_final_bits", KL)
    near = with_column(far, ("pos", "orig"), "kl_to_final_bits", [4.0, 0.9, 0.51, 0.49, 0.47])
    assert not matches(with_leaf(far, path, 3), path, None)
    assert matches(with_leaf(near, path, 3), path, None)
    late = with_column(far, ("pos", "orig"), "kl_to_final_bits", [4.0, 0.9, 0.8, 0.6, 0.52])
    assert [matches(with_leaf(late, path, None), path, layer) for layer in (2, 3, 4)] == [
        *(False, False, True)
    ]


@pytest.mark.parametrize(
    ("entropy", "near"), [(0.9, True), (1.1, True), (0.8, False), (1.2, False)]
)
def test_a_flag_may_fall_either_way_near_its_threshold(entropy: float, near: bool) -> None:
    run = with_cell(captured("layernorm-bf16"), PURE, 1, "entropy", repr(entropy))
    changed = with_cell(run, PURE, 1, "entropy_collapse", "True")
    assert compare(run, changed, BF16_WIDE).matches is near
    assert not compare(run, changed, FP32).matches
    for wrong in ("true", "", "1"):
        odd = with_cell(run, PURE, 1, "entropy_collapse", wrong)
        assert not compare(run, odd, BF16_WIDE).matches
    elsewhere = with_cell(run, PURE, 2, "entropy_collapse", "True")
    assert not compare(run, elsewhere, BF16_WIDE).matches
    assert not compare(run, with_cell(run, PURE, 1, "is_answer", "True"), BF16_WIDE).matches


def test_the_sign_of_the_control_margin_near_zero_is_open() -> None:
    path = ("control_summary", "first_control_margin_pos")
    margins = [-0.1, -0.0005, 0.0004, 0.01, 0.2]
    run = with_column(captured("layernorm-bf16"), ("ctl", "orig"), "control_margin", margins)
    run = with_leaf(run, path, 2)
    assert [matches(run, path, layer) for layer in (None, 0, 1, 2, 3, 4)] == [
        *(False, False, True, True, True, False)
    ]


def test_another_type_or_a_layer_that_is_none_is_never_open() -> None:
    path = ("diagnostics", "first_kl_below_0.5")
    run = with_column(captured("layernorm-bf16"), ("pos", "orig"), "kl_to_final_bits", [0.5] * 5)
    run = with_leaf(run, path, 0)
    assert matches(run, path, 3)
    assert matches(run, path, None)
    for wrong in (9, "3", 3.0, True, [3], -1):
        assert not compare(run, with_leaf(run, path, wrong), BF16_WIDE).matches, wrong
    without = with_leaf(run, ("diagnostics", "first_kl_below_1.0"), None)
    assert (
        compare(run, without, BF16_WIDE).mismatches[0].place.column_text
        == "diagnostics.first_kl_below_1.0"
    )


@pytest.mark.parametrize("column", ["kl_to_final_bits", "layer"])
def test_a_table_without_a_column_has_no_numbers(column: str) -> None:
    run, rule = captured("layernorm-bf16"), LAYERS["diagnostics", "first_kl_below_0.5"]
    assert by_layer(run, rule)
    table = run.tables[PURE]
    header = tuple("other" if name == column else name for name in table.header)
    without = replace(run, tables={**run.tables, PURE: replace(table, header=header)})
    assert by_layer(without, rule) == {}
    assert by_layer(replace(run, tables={}), rule) == {}


HEADER = "prompt_id,prompt_variant,layer,pos,kl_to_final_bits"
PATH = ("diagnostics", "first_kl_below_0.5")


def made(*rows: str, milestone: int = 1) -> Run:
    """A run with a table of five columns and one milestone."""
    table = csv_dialect.parse("".join(f"{row}\n" for row in (HEADER, *rows)))
    return Run("X", tables={PURE: table}, document={PATH[0]: {PATH[1]: milestone}})


ROWS = "pos,orig,0,4,0.51", "pos,orig,1,4,0.49", "ctl,orig,1,4,9.0"


def test_a_table_of_the_keys_and_one_number_has_the_numbers_of_the_pass() -> None:
    assert by_layer(made(*ROWS), LAYERS[PATH]) == {0: 0.51, 1: 0.49}


@pytest.mark.parametrize("row", ["pos,orig,x,4,0.5", "pos,orig,2,4,high", "pos,orig,-1,4,0.5"])
def test_a_table_with_a_cell_that_is_no_number_has_no_numbers(row: str) -> None:
    assert by_layer(made(*ROWS, row), LAYERS[PATH]) == {}


@pytest.mark.parametrize(
    ("place", "is_open"),
    [
        (Place("output-X.json", key=PATH), True),
        (Place("more.json", key=PATH), False),
        (Place("output-X.json", JsonItem(("passes", 0)), key=PATH), False),
        (Place("more.json", JsonItem(("passes", 0)), key=PATH), False),
        (Place("output-X.json", key=("diagnostics", "L_copy")), False),
    ],
)
def test_a_milestone_is_open_in_the_document_of_the_run_alone(place: Place, is_open: bool) -> None:
    mismatch = Mismatch(place, "1", "0", Kind.VALUE)
    runs = made(*ROWS), made(*ROWS, milestone=0)
    assert layer_is_open(mismatch, *runs, BF16_WIDE) is is_open
