"""Curves of a report by hand: passes and their mean, and the agreement of lenses."""

from collections.abc import Sequence
from typing import Any

import pytest

from lenses_min.core.rows import AgreementRow, PureRow
from lenses_min.output.run import Run
from lenses_min.report import curves
from lenses_min.report.agreement import agreement_curves, agreement_rows
from lenses_min.report.columns import counted, packed
from lenses_min.report.curves import ALL, COLOURS, MEAN, Curve
from lenses_min.report.figures import interrupted, layer_changes

A, B, C = COLOURS[:3]
NAN = float("nan")


def pure(prompt_id: str, layer: int, entropy: float, **cells: Any) -> PureRow:
    """A row without the numbers that may be absent."""
    absent = dict.fromkeys(
        (
            *("p_top1", "p_top5", "p_answer", "kl_to_final_bits"),
            *("answer_rank", "cos_to_final", "control_margin"),
        )
    )
    flags = dict.fromkeys(("copy_collapse", "entropy_collapse", "is_answer"), False)
    head = (prompt_id, "orig", layer, 4, "t", entropy, ((f" {prompt_id}{layer}", 0.5),), 0.5)
    return PureRow(*head, **{**absent, **flags, **cells})


def run_of(rows: Sequence[PureRow], name: str = "m") -> Run:
    return Run(name, {("pure", "norm"): rows}, {})


ONE = [
    pure("a", 0, 4.0, answer_rank=2),
    pure("a", 1, 3.0, answer_rank=1),
    pure("a", 2, NAN),
    pure("a", 3, 1.0),
]
OTHER = [pure("b", 0, 2.0, answer_rank=8), pure("b", 2, 1.5), pure("b", 1, 6.0)]


def test_a_pass_is_a_curve() -> None:
    one, *_ = curves.lines([run_of([*ONE, *OTHER])])
    absent = [None] * 4
    assert one == Curve(
        name="a/orig",
        model=0,
        colour=A,
        dash="solid",
        show={"lens": ["norm"], "model": ["0"], "pass": ["a/orig"]},
        layers=[0, 1, 2, 3],
        depth=3,
        values={
            "entropy": [4.0, 3.0, None, 1.0],
            "kl_to_final_bits": absent,
            "answer_rank": [2, 1, None, None],
            "p_answer": absent,
            "cos_to_final": absent,
        },
        texts=["␣a0", "␣a1", "␣a2", "␣a3"],
        marks={0: "rank ≤ 10"},
    )


def test_two_passes_have_a_mean_and_one_has_none() -> None:
    names = [[one.name for one in curves.lines([run_of(rows)])] for rows in (ONE, [*ONE, *OTHER])]
    assert names == [["a/orig", "norm"], ["a/orig", "b/orig", MEAN, "norm", "norm"]]


def test_the_mean_has_the_layers_of_all_passes_and_the_depth_of_the_first() -> None:
    (mean,) = (one for one in curves.lines([run_of([*ONE, *OTHER])]) if one.name == MEAN)
    absent = [None] * 3
    ranks: list[Any] = [pytest.approx(4.0), pytest.approx(1.0), None]
    assert mean == Curve(
        name=MEAN,
        model=0,
        colour=C,
        dash="solid",
        show={"lens": ["norm"], "model": ["0"], "pass": [MEAN]},
        layers=[0, 1, 2],
        depth=3,
        values={
            "entropy": [3.0, 4.5, 1.5],
            "kl_to_final_bits": absent,
            "answer_rank": ranks,
            "p_answer": absent,
            "cos_to_final": absent,
        },
    )


def test_the_centre_of_ranks_is_their_geometric_mean() -> None:
    cases = (
        ("answer_rank", [2.0, None, 32.0], pytest.approx(8.0)),
        ("answer_rank", [0.0, 2.0], None),
        ("entropy", [0.0, None, 1.0], 0.5),
        ("entropy", [None], None),
    )
    for column, values, expected in cases:
        assert curves.centre(column, values) == expected


def agreement(prompt_id: str, layer: int, against: str, *numbers: Any) -> AgreementRow:
    return AgreementRow(prompt_id, "orig", layer, 4, "norm", against, *numbers)


AGREEMENT = [
    agreement("a", 0, "final", 0.25, 0.125, 0.5, True),
    agreement("a", 1, "final", NAN, 0.0625, 0.25, False),
    agreement("a", 3, "final", 0.75, NAN, 0.75, True),
    agreement("a", 2, "raw", NAN, NAN, NAN, False),
    agreement("b", 0, "final", 2.0, 0.5, 1.0, False),
    agreement("b", 0, "raw", 0.0, 0.0, 0.0, True),
]


def with_agreement(*names: str) -> list[Run]:
    return [Run(name, {("agreement", "norm"): AGREEMENT}, {}) for name in names]


def test_a_pair_of_lenses_is_a_curve() -> None:
    first, *_ = agreement_curves(with_agreement("m"))
    assert first == Curve(
        name="norm, final, a/orig",
        model=0,
        colour=A,
        dash="solid",
        show={"model": ["0"], "pass": ["a/orig"], "lens": ["norm", "final", ALL]},
        layers=[0, 1, 3],
        depth=3,
        values={
            "kl_bits": [0.25, None, 0.75],
            "js_bits": [0.125, 0.0625, None],
            "tv": [0.5, 0.25, 0.75],
        },
    )


def test_pairs_of_one_run_have_a_colour_each_and_a_dash_a_pass() -> None:
    looks = [(one.name, one.colour, one.dash) for one in agreement_curves(with_agreement("m"))]
    assert looks == [
        ("norm, final, a/orig", A, "solid"),
        ("norm, raw, a/orig", B, "solid"),
        ("norm, final, b/orig", A, "dot"),
        ("norm, raw, b/orig", B, "dot"),
    ]


def test_pairs_of_several_runs_have_a_colour_a_run_and_a_dash_each() -> None:
    drawn = list(agreement_curves(with_agreement("m", "n")))
    assert [(one.name, one.colour, one.dash) for one in drawn] == [
        (f"{name}, norm, {against}, {prompt_id}/orig", colour, dash)
        for name, colour in (("m", A), ("n", B))
        for prompt_id in "ab"
        for against, dash in (("final", "solid"), ("raw", "dot"))
    ]
    assert [one.show["model"] for one in drawn] == [["0"]] * 4 + [["1"]] * 4


def test_a_line_of_agreement_has_the_largest_kl_that_is_a_number() -> None:
    lines = agreement_rows(with_agreement("m"))
    assert lines[0] == {
        "show": {"model": ["0"], "pass": ["a/orig"], "lens": ["norm", "final", ALL]},
        "cells": ["m", "a/orig", "norm, final", "2 of 3", "0.75 bits at layer 3"],
    }
    assert [line["cells"][1:] for line in lines[1:]] == [
        ["a/orig", "norm, raw", "0 of 1", "nan bits at layer 2"],
        ["b/orig", "norm, final", "0 of 1", "2 bits at layer 0"],
        ["b/orig", "norm, raw", "1 of 1", "0 bits at layer 0"],
    ]


def test_the_figure_of_changes_has_the_curves_with_values() -> None:
    flat = [None] * 4
    common = {
        "colour": A,
        "dash": "solid",
        "x": counted([0, 1, 2, 3]),
        "layers": None,
        "texts": ["␣a0", "␣a1", "␣a2", "␣a3"],
        "y": {0: packed(flat), 1: packed([None, -1.0, None, None]), 2: packed(flat)},
        "marks": [],
    }
    where = {"model": ["0"], "pass": ["a/orig"]}
    assert layer_changes([run_of(ONE)]) == {
        "axis": "layer",
        "alone": True,
        "markers": False,
        "panels": [
            {"title": "change of log2 p(answer), bits", "empty": True, "log": False},
            {"title": "change of entropy, bits", "empty": False, "log": False},
            {"title": "change of KL, bits", "empty": True, "log": False},
        ],
        "curves": [
            {"name": "a/orig", "show": {"lens": ["norm"], **where}, **common},
            {"name": "norm", "show": {"lens": [ALL], **where}, **common},
        ],
    }


def test_changes_of_several_runs_are_drawn_over_the_depth() -> None:
    drawn = layer_changes([run_of(ONE), run_of(ONE, "n")])
    assert drawn is not None
    assert (drawn["axis"], drawn["alone"]) == ("depth, % of the layers", False)
    assert [one["x"] for one in drawn["curves"]] == [packed([0, 33.33, 66.67, 100])] * 4


def test_without_changes_there_is_no_figure_of_them() -> None:
    assert layer_changes([run_of([pure("a", 0, 4.0), pure("a", 2, 3.0)])]) is None


def test_samples_are_interrupted_where_the_layers_begin_anew() -> None:
    samples = [{"layer": layer, "p": 0.5} for layer in (0, 2, 2, 0)]
    first, second, third, fourth = samples
    expected = [first, second, {"layer": 2}, third, {"layer": 0}, fourth]
    assert list(interrupted(samples)) == expected
