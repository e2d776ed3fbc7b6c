"""A run as a whole: its files, which tables are judged, and what the document must share with them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from changing import captured, rebuilt, with_cell, with_leaf

from spec.runs.csv_dialect import parse
from spec.runs.places import Place, TableRow
from spec.runs.run import AGREEMENT, ANSWERS, PURE, RECORDS, Run
from spec.runs.values import table_rows
from spec.schema.cells import Row, check_table
from spec.schema.rows import DocumentContext, Pass
from spec.schema.rules import Rule, Violation
from spec.schema.suite import check_block
from spec.schema.summaries import check_last_layer_alone, milestones
from spec.schema.validate import check_across, check_files, check_rows, facts_of, validate

PASS = ("a", "b")
LAYERS = 2
GOLD: dict[str, Any] = {
    "string": "Berlin",
    "pieces": [" Berlin"],
    "first_id": 7,
    "answer_ids": [7],
    "variant": "with_space",
}
LAST = {"kl_to_final_bits": 0.25, "p_top1_lens": 0.5, "answer_rank_lens": 3}
OFF = {
    "mode": "off",
    "compatible": False,
    "present": False,
    "k": None,
    "layers": None,
    "error": None,
}


def pure_rows(*margins: float) -> list[Row]:
    """A row of every layer of the pass, with these margins of the control."""
    cells = {
        "prompt_id": PASS[0],
        "prompt_variant": PASS[1],
        "pos": 3,
        "kl_to_final_bits": 0.25,
        "p_top1": 0.5,
        "answer_rank": 3,
        **dict.fromkeys(("copy_collapse", "entropy_collapse", "is_answer"), False),
    }
    return [
        Row("pure.csv", TableRow(*PASS, str(n)), cells | {"layer": n, "control_margin": margin})
        for n, margin in enumerate(margins)
    ]


ROWS = pure_rows(-0.5, 0.25, 0.125)
BLOCK: dict[str, Any] = {
    "prompt_id": PASS[0],
    "prompt_variant": PASS[1],
    "gold_answer": GOLD,
    "gold_alignment": "ok",
    "control": "c/d",
    "control_summary": {"first_control_margin_pos": 1, "max_control_margin": 0.25},
    "final_prediction": {},
    "last_layer_consistency": LAST,
    **milestones(ROWS, PASS),
}


def document(block: dict[str, Any]) -> dict[str, Any]:
    return {
        "passes": [block],
        "diagnostics": {"prism_summary": OFF},
        "model_stats": {"num_layers": LAYERS, "d_model": 8},
    }


def texts(violations: Any) -> list[str]:
    return [f"{v.place} {v.rule}: {v.value}" for v in violations]


def without(run: Run, kind: str) -> Run:
    """The run without the file of a table."""
    tables = {other: table for other, table in run.tables.items() if other != kind}
    return replace(run, files=run.files - {run.table_name(kind)}, tables=tables)


def test_files_of_no_run_are_refused_but_for_hidden_ones_and_those_of_folders() -> None:
    names = ("output-x.json", "output-x-records.csv", "output-x-pure-next-token.csv")
    strays = ("core", ".hidden", "more/notes.txt", ".hidden/notes.txt")
    assert check_files(Run("x", files=frozenset(names), strays=strays)) == [
        Violation(Place("core"), Rule.FILE_STRAY, "a file of no run")
    ]


def test_a_document_of_another_layout_is_compared_with_the_rows_one_of_another_type_is_not() -> (
    None
):
    run = with_leaf(captured("fact"), ("diagnostics", "L_semantic"), 0)
    differs = "output-Fact.json, diagnostics.L_semantic milestones: 0 where the rows say 4"
    assert texts(validate(run)) == [differs]
    spaced = replace(run, document_text=run.document_text + "\n")
    assert texts(validate(spaced)) == [
        "output-Fact.json, layout json.layout: another layout",
        differs,
    ]
    assert texts(validate(with_leaf(run, ("diagnostics", "L_copy"), "a"))) == [
        "output-Fact.json, diagnostics.L_copy json.type: a (string)"
    ]


def test_summaries_are_compared_with_the_rows_only_where_every_row_is_known() -> None:
    run = captured("fact")
    assert texts(validate(with_cell(run, PURE, 4, "entropy", "x"))) == [
        "output-Fact-pure-next-token.csv, pos/orig layer 4 pos 16, entropy cell.type: 'x'"
    ]
    assert texts(validate(without(run, PURE))) == [
        "output-Fact-pure-next-token.csv file.missing: no such file"
    ]


def test_without_a_document_the_layers_are_those_of_the_rows() -> None:
    run = captured("fact")
    shown = replace(run, document=None, document_text="")
    assert validate(shown) == []
    kept = [row for row in run.tables[PURE].rows if row[2] != "3"]
    shorter = {**run.tables, PURE: rebuilt(run.tables[PURE].header, kept)}
    name = "output-Fact-pure-next-token.csv"
    assert texts(validate(replace(shown, tables=shorter))) == [
        f"{name}, {where} layer 3 pos {pos} rows.missing: no such row"
        for where, pos in (("pos/orig", 16), ("pos/no_filler", 15), ("ctl/orig", 16))
    ]


@pytest.mark.parametrize(
    ("layers", "agreement", "answers"),
    [
        (None, "1, first at ({}, 0, 'model', 'norm')", "2, first at ({}, 0, 'model')"),
        (1, "2, first at ({}, 0, 'model', 'norm')", "3, first at ({}, 0, 'norm')"),
    ],
)
def test_every_further_table_has_the_layers_of_the_document_else_those_of_the_rows(
    layers: int | None, agreement: str, answers: str
) -> None:
    kinds = (AGREEMENT, ANSWERS, PURE)
    run = Run("x", tables=dict.fromkeys(kinds, parse("layer\n")))
    facts = DocumentContext(layers=layers, passes={PASS: Pass("Berlin", 7, ids_known=True)})
    assert texts(check_rows(run, {kind: [] for kind in kinds}, facts)) == [
        f"output-x-agreement.csv agreement.rows: 0 rows for {agreement.format(PASS)}",
        f"output-x-answers.csv answers.rows: 0 rows for {answers.format(PASS)}",
    ]


@pytest.mark.parametrize("own", [True, False])
def test_an_empty_table_lacks_its_rows_where_the_prompts_are_one_s_own(own: bool) -> None:
    run = captured("fact")
    records = run.tables[RECORDS]
    run = replace(run, tables={PURE: run.tables[PURE], RECORDS: rebuilt(records.header, [])})
    tables = {
        kind: check_table(run.table_name(kind), kind, table)[1]
        for kind, table in run.tables.items()
    }
    name = run.table_name(RECORDS)
    missing = [
        Violation(Place(name, row), Rule.ROWS_MISSING, "no such row") for row in table_rows(records)
    ]
    facts = replace(facts_of(run.document), own=own)
    assert missing
    assert check_rows(run, tables, facts) == (missing if own else [])


def test_the_residuals_of_own_prompts_have_the_positions_of_the_first_pass_with_records() -> None:
    shapes = {"x_00_resid.pt": 4, "x_01_resid.pt": 3, "x_02_resid.pt": 4}
    residuals = {name: torch.zeros(1, positions, 8) for name, positions in shapes.items()}
    run = Run("x", files=frozenset(shapes), residuals=residuals)
    wrong = "x_01_resid.pt, shape residual.shape: torch.float32 [1, 3, 8]"
    assert texts(check_across(run, document(BLOCK), {PURE: ROWS})) == [wrong]
    changed = document(BLOCK | {"L_copy": 1})
    assert texts(check_across(run, changed, {PURE: ROWS})) == [
        "output-x.json, passes[0].L_copy milestones: 1 where the rows say None",
        wrong,
    ]
    unpredicted = document(BLOCK | {"final_prediction": None})
    assert texts(check_across(run, unpredicted, {PURE: ROWS})) == []


def test_own_prompts_without_a_pure_table_have_no_milestones() -> None:
    block = BLOCK | milestones([], PASS) | {"control": None}
    assert texts(check_across(Run("x"), document(block), {})) == []
    assert texts(check_across(Run("x"), document(block | {"L_copy": 1}), {})) == [
        "output-x.json, passes[0].L_copy milestones: 1 where the rows say None"
    ]


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, []),
        ({"control": None, "control_summary": None}, []),
        (
            {"gold_answer": GOLD | {"first_id": 8}},
            ["gold_answer.first_id gold: 8 where 7 follows"],
        ),
        ({"gold_alignment": "unresolved"}, ["gold_alignment gold: unresolved"]),
        ({"L_copy_H": 2}, ["L_copy_H milestones: 2 where the rows say None"]),
        (
            {"control_summary": {"first_control_margin_pos": 0, "max_control_margin": 0.25}},
            ["control_summary.first_control_margin_pos control-summary: 0 where the rows say 1"],
        ),
    ],
)
def test_what_a_block_breaks_has_its_place(changes: dict[str, Any], broken: list[str]) -> None:
    violations = check_block("x.json", ("passes", 5), BLOCK | changes, ROWS, LAYERS)
    assert texts(violations) == [f"x.json, passes[5].{text}" for text in broken]


@pytest.mark.parametrize(
    ("exponent", "known"), [(-26, False), (-24, True), (0, True), (24, True), (26, False)]
)
def test_the_temperatures_are_25_steps_from_a_tenth_to_ten(exponent: int, known: bool) -> None:
    temperature = 10 ** (exponent / 24)
    values = {
        "temp_est": temperature,
        "kl_after_temp_bits": 0.25,
        "kl_to_final_bits": 0.25,
        "warn_high_last_layer_kl": False,
    }
    text = f"x.json, l.temp_est last-layer: {temperature}, which is not on the grid"
    place = Place("x.json", key=("l",))
    assert texts(check_last_layer_alone(place, values)) == ([] if known else [text])
