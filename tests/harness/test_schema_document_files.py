"""A document against itself and the files beside it: gold answers, Prism sidecars, residuals, further tables."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch

from spec.runs import csv_dialect
from spec.runs.places import Place, TableRow
from spec.runs.run import Run
from spec.schema.blocks import check_gold, check_prism, check_residuals
from spec.schema.cells import Row
from spec.schema.further_tables import check_further
from spec.schema.rows import DocumentContext, Pass
from spec.schema.rules import Rule, Violation

GOLD: dict[str, Any] = {"pieces": [" B"], "first_id": 7, "answer_ids": [7], "variant": "with_space"}
PRISM = ("output-x-records-prism.csv", "output-x-pure-next-token-prism.csv")


def texts(violations: Iterable[Violation]) -> list[str]:
    return [f"{v.place} {v.rule}: {v.value}" for v in violations]


def golds(answers: tuple[str, str], alignments: tuple[str, str]) -> list[str]:
    """What a document with these gold answers and alignments breaks, the control's second."""
    document = {
        "gold_answer": GOLD | {"string": answers[0]},
        "diagnostics": {"gold_alignment": alignments[0]},
        "control_prompt": {
            "gold_answer": GOLD | {"string": answers[1]},
            "gold_alignment": alignments[1],
        },
    }
    return texts(check_gold("x.json", document))


def test_both_gold_answers_and_their_alignments_have_their_places() -> None:
    assert golds(("Berlin", "Paris"), ("ok", "ok")) == []
    assert golds(("Paris", "Berlin"), ("unresolved", "unresolved")) == [
        "x.json, gold_answer.string gold: Paris where Berlin follows",
        "x.json, diagnostics.gold_alignment gold: unresolved",
        "x.json, control_prompt.gold_answer.string gold: Berlin where Paris follows",
        "x.json, control_prompt.gold_alignment gold: unresolved",
    ]


@pytest.mark.parametrize(
    ("mode", "compatible", "broken"),
    [
        ("auto", True, []),
        ("on", True, []),
        ("off", True, ["output-x.json, diagnostics.prism_summary.mode prism.summary: off"]),
        ("off", False, []),
    ],
)
def test_a_prism_that_is_off_has_no_usable_artifacts(
    mode: str, compatible: bool, broken: list[str]
) -> None:
    of_artifacts = {"k": 8, "layers": [0]} if compatible else {"k": None, "layers": None}
    summary = {"mode": mode, "compatible": compatible, "present": compatible, "error": None}
    document = {
        "diagnostics": {"prism_summary": summary | of_artifacts},
        "model_stats": {"d_model": 8},
    }
    run = Run("x", files=frozenset(PRISM if compatible else ()))
    assert texts(check_prism(run, document)) == broken


@pytest.mark.parametrize(
    ("layers", "broken"),
    [
        ((), []),
        ((0, 1, 2), []),
        (
            (0, 2, 11, 3),
            [
                Violation(Place("x_01_resid.pt"), Rule.RESIDUAL_FILES, "no such file"),
                Violation(Place("x_03_resid.pt"), Rule.RESIDUAL_FILES, "a file too many"),
                Violation(Place("x_11_resid.pt"), Rule.RESIDUAL_FILES, "a file too many"),
            ],
        ),
    ],
)
def test_residuals_are_saved_for_every_layer_or_for_none(
    layers: tuple[int, ...], broken: list[Violation]
) -> None:
    names = [f"x_{layer:02d}_resid.pt" for layer in layers]
    run = Run(
        "x",
        files=frozenset([*names, "output-x.json"]),
        residuals=dict.fromkeys(names, torch.zeros(1, 4, 8)),
    )
    document = {"model_stats": {"num_layers": 2, "d_model": 8}}
    assert [*check_residuals(run, document, 4)] == broken


CELLS: dict[str, Any] = {
    "prompt_id": "a",
    "prompt_variant": "b",
    "layer": 0,
    "kl_bits": 0.5,
    "js_bits": 0.25,
    "tv": 0.25,
    "p_joint": 0.25,
    "surprisal_bits": 2.0,
    "n_tokens": 2,
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "agreement": [{"lens": "norm", "against": "model"}],
    "answers": [{"lens": "norm"}, {"lens": "model"}],
}


def further(kind: str, rows: list[dict[str, Any]], **pure: float) -> list[str]:
    """What a further table with these rows breaks beside a pure row of one layer."""
    written = {
        name: csv_dialect.parse("layer\n" + "0\n" * count)
        for name, count in ((kind, len(rows)), ("pure-next-token", 1))
    }
    key = TableRow("a", "b", "0")
    tables = {
        kind: [Row(f"{kind}.csv", key, CELLS | cells) for cells in rows],
        "pure-next-token": [Row("pure.csv", key, CELLS | pure)],
    }
    facts = DocumentContext(passes={("a", "b"): Pass("Berlin", 7, ids_known=True)})
    return texts(check_further(Run("x", tables=written), kind, tables, facts, 0))


def test_a_further_table_lacks_rows() -> None:
    usual = {"kl_to_final_bits": 0.5, "p_answer": 0.25}
    for kind, rows in ROWS.items():
        assert further(kind, rows, **usual) == []
    first = "first at (('a', 'b'), 0, 'model'"
    assert further("agreement", [], **usual) == [
        f"output-x-agreement.csv agreement.rows: 0 rows for 1, {first}, 'norm')"
    ]
    assert further("answers", ROWS["answers"][:1], **usual) == [
        f"output-x-answers.csv answers.rows: 1 rows for 2, {first})"
    ]


def test_a_further_row_is_compared_with_the_pure_row_of_its_lens() -> None:
    numbers = {"kl_to_final_bits": 0.75, "p_answer": 0.125}
    assert further("agreement", ROWS["agreement"], **numbers) == [
        "agreement.csv, a/b layer 0, kl_bits agreement.model: 0.5"
    ]
    assert further("answers", ROWS["answers"], **numbers) == [
        "answers.csv, a/b layer 0, p_joint answers.first: 0.25"
    ]
