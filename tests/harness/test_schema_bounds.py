"""Every bound of a row: the last value that the schema accepts, and the first that it refuses."""

from math import inf, log, nextafter
from typing import Any

import pytest

from spec.runs.columns import PAIR_COLUMNS
from spec.runs.places import TableRow
from spec.schema.cells import Row
from spec.schema.further_tables import agreement_row, answer_row
from spec.schema.rows import (
    TINY,
    DocumentContext,
    Pass,
    check_flags,
    check_list,
    check_metrics,
    check_ranges,
    expected_k,
    ranked,
)
from spec.schema.rules import Rule, close

PURE_FILE = "output-x-pure-next-token.csv"
SIDECAR = "output-x-pure-next-token-prism.csv"
PAIRS = {f"top{i}": "t" for i in range(1, 6)} | {f"prob{i}": 0.5**i for i in range(1, 6)}
ROW: dict[str, Any] = {
    **dict.fromkeys(PAIR_COLUMNS),
    **{f"top{i}": "" for i in range(6, 21)},
    **PAIRS,
    "prompt_id": "pos",
    "prompt_variant": "orig",
    "layer": 0,
    "pos": 3,
    "token": "⟨NEXT⟩",
    "rest_mass": 0.03125,
    "entropy": 1.5,
    "p_top1": 0.5,
    "p_top5": 0.96875,
    "p_answer": 0.5,
    "answer_rank": 1,
    "is_answer": True,
    "entropy_collapse": False,
    "copy_collapse": False,
    "kl_to_final_bits": 0.25,
    "cos_to_final": 0.5,
    "control_margin": None,
}
CONTROL = {"prompt_id": "ctl"}
NO_ANSWER = {"p_answer": None, "answer_rank": None, "is_answer": False}
NO_PAIRS = {name: "" if name.startswith("top") else None for name in PAIRS}
FACTS: dict[str, Any] = {
    "vocabulary": 8,
    "layers": 2,
    "copy_threshold": 0.5,
    "passes": {
        ("pos", "orig"): Pass("Berlin", 3, ids_known=True, has_records=True),
        ("ctl", "orig"): Pass("Paris", 4, 3, ids_known=True, control=True),
    },
}
UNKNOWN: dict[str, Any] = {"vocabulary": None, "copy_threshold": None, "passes": {}}
PARIS_WITHOUT_ID = {
    "passes": {("ctl", "orig"): Pass("Paris", None, 3, ids_known=True, control=True)}
}
ONE_TOKEN = {"passes": {("ctl", "orig"): Pass("Paris", 3, 3, ids_known=True, control=True)}}


def above(value: float) -> float:
    return nextafter(value, inf)


def below(value: float) -> float:
    return nextafter(value, -inf)


def broken(cells: dict[str, Any], facts: dict[str, Any], file: str = PURE_FILE) -> set[str]:
    """What the row with these cells breaks: `column rule`."""
    context = DocumentContext(**(FACTS | facts))
    row = Row(file, TableRow("pos", "orig", "0", "3"), ROW | cells)
    violations = [
        *check_list(row, None, context),
        *check_ranges(row, context),
        *check_metrics(row, context),
    ]
    assert len({str(v) for v in violations}) == len(violations)
    return {f"{v.place.column} {v.rule}" for v in violations}


ACCEPTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, UNKNOWN),
    ({"entropy": 2.0**100}, {"vocabulary": None}),
    ({"kl_to_final_bits": -TINY}, {}),
    ({"p_top5": 0.96875 + 2**-20}, {}),
    ({"entropy": 3.0}, {}),
    ({"entropy": 0.0, "entropy_collapse": True}, {}),
    ({"entropy": 1.0, "entropy_collapse": True}, {}),
    ({"answer_rank": 2, "p_answer": 0.25, "is_answer": False}, {}),
    ({"answer_rank": 8, "p_answer": 0.0, "is_answer": False}, {}),
    ({"copy_collapse": True}, {"copy_threshold": below(0.5)}),
    ({"copy_collapse": True}, {"copy_threshold": None}),
    (NO_ANSWER, UNKNOWN),
    (NO_ANSWER | {"top1": " Berlin ", "is_answer": True}, UNKNOWN),
    (CONTROL | {"control_margin": 0.5}, {}),
    (CONTROL | {"control_margin": 0.0}, {}),
    (CONTROL | {"control_margin": 0.5 + 1e-8}, {}),
    (CONTROL | {"control_margin": 0.25}, ONE_TOKEN),
    (CONTROL | NO_ANSWER, PARIS_WITHOUT_ID),
    (CONTROL | {"control_margin": 0.25}, UNKNOWN),
    (CONTROL, UNKNOWN),
    ({"control_margin": 0.0}, {"passes": {}}),
]
REFUSED: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({"rest_mass": above(0.03125)}, {}, {"rest_mass rest-mass"}),
    ({"prob5": 0.0625, "rest_mass": 0.0}, {}, {"p_top5 p-top5"}),
    (
        {"prob1": 1.0, "prob2": above(1.0), "rest_mass": 0.0, "p_top1": 1.0, "p_top5": 2.21875},
        {"passes": {}},
        {
            "prob2 probability.range",
            "prob2 float32",
            "p_top5 probability.range",
            "answer_rank rank.list",
        },
    ),
    (
        {"prob3": 0.25 + 2**-20, "p_top5": 1.09375, "rest_mass": 0.0},
        {},
        {"prob3 topk.descending", "p_top5 probability.range"},
    ),
    (
        {"prob5": 0.03, "rest_mass": 0.0325},
        {},
        {"prob5 float32", "rest_mass rest-mass", "p_top5 p-top5"},
    ),
    (
        {"prob5": -(2.0**-30)},
        {},
        {"prob5 probability.range", "rest_mass rest-mass", "p_top5 p-top5"},
    ),
    ({"top6": "t"}, {}, {"prob6 topk.padding"}),
    ({"prob5": None}, {}, {"prob5 topk.padding", "p_top5 p-top5"}),
    ({"prob7": 0.0}, {}, {"prob6 topk.padding"}),
    ({"top20": "t"}, {}, {"prob20 topk.padding"}),
    (
        {"top6": "t", "prob6": 0.5**6, "rest_mass": 0.5**6},
        {},
        {"top6 topk.count"},
    ),
    ({}, {"vocabulary": 4}, {"top5 topk.count"}),
    (
        {"top5": "", "prob5": None, "rest_mass": 0.0625, "p_top5": 0.9375},
        {},
        {"top5 topk.count"},
    ),
    (
        {"entropy": below(-TINY), "entropy_collapse": True},
        {},
        {"entropy entropy.range", "entropy float32"},
    ),
    ({"entropy": -TINY, "entropy_collapse": True}, {}, {"entropy float32"}),
    ({"entropy": 1.0}, {}, {"entropy_collapse entropy-collapse"}),
    (
        {"entropy": 1.0 + 2**-23, "entropy_collapse": True},
        {},
        {"entropy_collapse entropy-collapse"},
    ),
    ({"entropy": above(3 + TINY)}, {}, {"entropy entropy.range", "entropy float32"}),
    ({"p_top1": 0.5 + 2**-24}, {}, {"p_top1 p-top1"}),
    (
        {"p_top1": above(1 + TINY)},
        {},
        {"p_top1 probability.range", "p_top1 float32", "p_top1 p-top1"},
    ),
    ({"p_top1": -(2.0**-30)}, {}, {"p_top1 probability.range", "p_top1 p-top1"}),
    ({"p_top5": 0.96875 + 2**-19}, {}, {"p_top5 p-top5"}),
    ({"p_top5": 0.1}, {}, {"p_top5 p-top5", "p_top5 float32"}),
    ({"p_top5": 1 + TINY}, {}, {"p_top5 p-top5", "p_top5 float32"}),
    ({"p_answer": 0.1}, {}, {"p_answer float32", "answer_rank rank.list"}),
    ({"p_answer": -(2.0**-30)}, {}, {"p_answer probability.range", "answer_rank rank.list"}),
    ({"cos_to_final": 0.1}, {}, {"cos_to_final float32"}),
    ({"cos_to_final": 1 + TINY}, {}, {"cos_to_final float32"}),
    ({"cos_to_final": 1 + 2**-16}, {}, {"cos_to_final cos.range"}),
    ({"cos_to_final": -1 - 2**-16}, {}, {"cos_to_final cos.range"}),
    ({"kl_to_final_bits": below(-TINY)}, {}, {"kl_to_final_bits kl.range"}),
    ({"answer_rank": 0, "is_answer": False}, {}, {"answer_rank rank.range"}),
    ({"answer_rank": 9, "p_answer": 0.0, "is_answer": False}, {}, {"answer_rank rank.range"}),
    ({"answer_rank": 3, "p_answer": 0.25, "is_answer": False}, {}, {"answer_rank rank.list"}),
    (
        {"answer_rank": None, "is_answer": False},
        {},
        {"answer_rank answer.presence", "answer_rank rank.list"},
    ),
    (
        {"p_answer": None},
        {},
        {"p_answer answer.presence", "answer_rank rank.list"},
    ),
    (NO_ANSWER, {}, {"p_answer answer.presence", "answer_rank answer.presence"}),
    (CONTROL, PARIS_WITHOUT_ID, {"p_answer answer.presence", "answer_rank answer.presence"}),
    ({"is_answer": False}, {}, {"is_answer is-answer"}),
    (
        {"answer_rank": 2, "p_answer": 0.25},
        {},
        {"is_answer is-answer"},
    ),
    (NO_ANSWER | {"is_answer": True}, UNKNOWN, {"is_answer is-answer"}),
    (NO_ANSWER | {"top1": " Berlin "}, UNKNOWN, {"is_answer is-answer"}),
    ({"copy_collapse": True}, {}, {"copy_collapse copy-collapse"}),
    ({"control_margin": 0.0}, {}, {"control_margin control-margin"}),
    (CONTROL, {}, {"control_margin control-margin"}),
    (CONTROL | {"control_margin": -(2.0**-10)}, {}, {"control_margin control-margin"}),
    (CONTROL | {"control_margin": 0.5 + 1e-6}, {}, {"control_margin control-margin"}),
    (
        CONTROL | {"control_margin": -0.25, "p_answer": 0.5},
        ONE_TOKEN,
        {"control_margin control-margin"},
    ),
    (
        CONTROL | NO_ANSWER | {"control_margin": 0.25},
        UNKNOWN,
        {"control_margin control-margin"},
    ),
    (
        CONTROL | NO_ANSWER | {"control_margin": 0.25},
        PARIS_WITHOUT_ID,
        {"control_margin control-margin"},
    ),
]


@pytest.mark.parametrize(("cells", "facts"), ACCEPTED)
def test_the_last_value_of_a_row_is_accepted(cells: dict[str, Any], facts: dict[str, Any]) -> None:
    assert broken(cells, facts) == set()


@pytest.mark.parametrize(("cells", "facts", "rules"), REFUSED)
def test_the_next_value_of_a_row_is_refused(
    cells: dict[str, Any], facts: dict[str, Any], rules: set[str]
) -> None:
    assert broken(cells, facts) == rules


def test_a_row_without_pairs_has_the_whole_rest() -> None:
    cells = {"p_top1": 0.0, "p_top5": 1e-6, "rest_mass": 1.0} | NO_PAIRS | NO_ANSWER
    assert broken(cells, UNKNOWN) == {"top1 topk.count", "p_top5 float32"}
    assert broken(cells | {"p_top5": above(1e-6)}, UNKNOWN) == {
        "top1 topk.count",
        "p_top5 float32",
        "p_top5 p-top5",
    }


@pytest.mark.parametrize(
    ("token", "pos", "last", "vocabulary", "k"),
    [
        (" Germany,", 1, 3, 99, 20),
        ("simply!?", 1, 3, 99, 20),
        (" germ", 1, 3, 99, 5),
        ("x", 3, 3, 99, 20),
        ("x", 3, 3, 19, 19),
        ("x", 3, 3, None, 20),
        ("x", 2, 3, 99, 5),
        ("x", 2, 3, 4, 4),
        ("Germany", 3, None, 99, 5),
    ],
)
def test_how_many_pairs_a_row_lists(
    token: str, pos: int, last: int | None, vocabulary: int | None, k: int
) -> None:
    row = Row("x.csv", TableRow("pos", "orig", "0", "3"), ROW | {"token": token, "pos": pos})
    assert expected_k(row, last, DocumentContext(vocabulary=vocabulary)) == k


@pytest.mark.parametrize(
    ("rank", "p", "exact", "tied"),
    [
        (1, 0.5, True, True),
        (2, 0.5, False, True),
        (4, 0.5, False, False),
        (2, 0.25, False, False),
        (3, 0.25, True, True),
        (4, 0.25, False, True),
        (4, 0.125, False, False),
        (5, 0.125, True, True),
        (9, 0.125, True, True),
    ],
)
def test_probabilities_that_tie_leave_a_rank_open_where_logits_decide(
    rank: int, p: float, exact: bool, tied: bool
) -> None:
    listed = [0.5, 0.5, 0.25, 0.25]
    verdicts = [ranked(rank, p, listed, DocumentContext(corrected=c)) for c in (False, True)]
    assert verdicts == [exact, tied]


FURTHER = {"kl_bits": 0.5, "js_bits": 0.25, "tv": 0.25, "lens": "norm", "against": "model"}
ANSWER = {"p_joint": 0.25, "surprisal_bits": 2.0, "n_tokens": 2}


def further(check: Any, cells: dict[str, Any], pure: dict[str, Any]) -> set[str]:
    """What a row of a further table breaks, beside the pure row of its lens."""
    key = TableRow("pos", "orig", "0", "3")
    violations = check(Row("x.csv", key, cells), Row("y.csv", key, ROW | pure) if pure else None)
    return {f"{v.place.column} {v.rule}" for v in violations}


def pinsker(tv: float) -> float:
    return 2 * tv**2 / log(2) - TINY


@pytest.mark.parametrize(
    ("cells", "pure", "rules"),
    [
        ({}, {}, set()),
        ({"tv": 0.0, "js_bits": -TINY, "kl_bits": -TINY}, {}, set()),
        ({"tv": 0.0, "js_bits": TINY}, {}, set()),
        ({"tv": 1.0, "js_bits": 1.0, "kl_bits": pinsker(1.0)}, {}, set()),
        ({"tv": below(0.0), "js_bits": 0.0}, {}, {"tv agreement.range"}),
        ({"tv": above(1.0), "kl_bits": 3.0}, {}, {"tv agreement.range"}),
        ({"js_bits": below(-TINY)}, {}, {"js_bits agreement.range"}),
        ({"js_bits": above(0.25 + TINY)}, {}, {"js_bits agreement.range"}),
        ({"tv": 1.0, "js_bits": above(1.0), "kl_bits": 3.0}, {}, {"js_bits agreement.range"}),
        ({"kl_bits": below(pinsker(0.25))}, {}, {"kl_bits agreement.range"}),
        ({}, {"kl_to_final_bits": 0.5}, set()),
        ({}, {"kl_to_final_bits": 0.501}, {"kl_bits agreement.model"}),
        ({"against": "final"}, {"kl_to_final_bits": 0.75}, set()),
    ],
)
def test_the_bounds_of_a_row_of_agreement(
    cells: dict[str, Any], pure: dict[str, Any], rules: set[str]
) -> None:
    assert further(agreement_row, FURTHER | cells, pure) == rules


@pytest.mark.parametrize(
    ("cells", "pure", "rules"),
    [
        ({}, {}, set()),
        ({}, {"p_answer": None}, set()),
        ({"p_joint": 1.0, "surprisal_bits": 0.0, "n_tokens": 1}, {}, set()),
        ({"p_joint": 0.0, "surprisal_bits": 2000.0}, {"p_answer": 0.0}, set()),
        ({"surprisal_bits": 2.01}, {}, {"surprisal_bits answers.range"}),
        ({"p_joint": 1.0, "surprisal_bits": below(0.0)}, {}, {"surprisal_bits answers.range"}),
        ({"p_joint": above(1.0), "surprisal_bits": 0.0}, {}, {"p_joint answers.range"}),
        ({"p_joint": below(0.0), "surprisal_bits": 2000.0}, {}, {"p_joint answers.range"}),
        ({"n_tokens": 0}, {}, {"n_tokens answers.range"}),
        ({}, {"p_answer": 0.25}, set()),
        ({}, {"p_answer": 0.2499}, {"p_joint answers.first"}),
        ({}, {"p_answer": 0.24999}, set()),
        ({"p_joint": 2.0**-126, "surprisal_bits": 126.0}, {"p_answer": 0.0}, set()),
        (
            {"p_joint": 2.0**-125, "surprisal_bits": 125.0},
            {"p_answer": 0.0},
            {"p_joint answers.first"},
        ),
        ({}, {"p_answer": 0.5}, set()),
        ({"n_tokens": 1}, {"p_answer": 0.5}, {"p_joint answers.first"}),
        ({"n_tokens": 1}, {"p_answer": 0.25}, set()),
    ],
)
def test_the_bounds_of_a_row_of_answers(
    cells: dict[str, Any], pure: dict[str, Any], rules: set[str]
) -> None:
    assert further(answer_row, ANSWER | cells, pure) == rules


def test_how_close_two_numbers_of_one_run_are() -> None:
    assert close(0.0, 2e-6)
    assert not close(0.0, 2.001e-6)
    assert close(-1000.0, -1000.1)
    assert close(1000.0, 1000.1)
    assert not close(1000.0, 1000.11)
    assert not close(1000.0, -1000.0)


def test_a_keyword_is_looked_for_in_the_token_without_its_punctuation() -> None:
    row = Row(PURE_FILE, TableRow("pos", "orig", "0", "3"), ROW | {"token": " Berlin.", "pos": 1})
    for keyword, k in (("berlin", 20), ("berlin.", 5), ("paris", 5)):
        context = DocumentContext(**(FACTS | {"vocabulary": 99, "keywords": (keyword,)}))
        assert expected_k(row, 3, context) == k


@pytest.mark.parametrize(
    ("prompt", "rank", "file", "judged"),
    [
        ("pos", None, SIDECAR, True),
        ("ctl", None, PURE_FILE, True),
        ("ctl", 3, SIDECAR, True),
        ("ctl", None, SIDECAR, False),
    ],
)
def test_whether_the_flag_of_an_answer_is_judged(
    prompt: str, rank: int | None, file: str, judged: bool
) -> None:
    """Without an id, a control row of a sidecar may look for Paris (R6)."""
    cells = {"prompt_id": prompt, "answer_rank": rank, "is_answer": True, "top1": "x"}
    row = Row(file, TableRow(prompt, "orig", "0", "3"), ROW | cells)
    rules = [v.rule for v in check_flags(row, DocumentContext(**FACTS))]
    assert rules == [Rule.IS_ANSWER] * judged
