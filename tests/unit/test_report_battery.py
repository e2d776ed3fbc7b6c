"""A battery in a report by hand: its estimates as curves, and its milestones as lines of a table."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lenses_min.output.battery.rows import BatteryRow
from lenses_min.output.run import Run
from lenses_min.report.battery import bands, estimates
from lenses_min.report.battery_lines import milestone_lines
from lenses_min.report.curves import COLOURS, Curve

NAN = float("nan")
BARE = Run("m", {}, {})


def estimate(layer: int | None, quantity: str, answer: str | None, *rest: Any) -> BatteryRow:
    return BatteryRow("norm", "language=de", layer, quantity, answer, *rest)


ENTROPY = [
    estimate(layer, "entropy", None, "median", 7, 5, value, value - 1, value + 1)
    for layer, value in ((0, 4.0), (1, 3.0), (3, 2.0))
]
ANSWER = [
    estimate(1, "p_answer", "own", "mean", 7, 5, 0.5, 0.25, None),
    estimate(3, "p_answer", "own", "mean", 7, 5, 0.75, 0.625, NAN),
    estimate(1, "p_answer", "control", "mean", 7, 5, 0.125, 0.0, 0.25),
]


def test_a_group_has_curves_of_own_answers_and_of_the_control() -> None:
    """A value is solid or dashed and the ends of its interval are dotted; a layer without it is a gap."""
    own: dict[str, Any] = {
        "model": 2,
        "colour": COLOURS[0],
        "show": {"model": ["2"], "lens": ["norm"], "group": ["language"]},
        "layers": [0, 1, 3],
        "depth": 3,
    }
    control = {**own, "layers": [1], "depth": 1}
    name, head = "language=de", "language=de, control"
    expected: list[tuple[str, str, list[float | None], list[float | None]]] = [
        (name, "solid", [4.0, 3.0, 2.0], [None, 0.5, 0.75]),
        (f"{name}, 95% interval", "dot", [3.0, 2.0, 1.0], [None, 0.25, 0.625]),
        (f"{name}, 95% interval", "dot", [5.0, 4.0, 3.0], [None, None, None]),
    ]
    assert list(estimates([*ENTROPY, *ANSWER], 2)) == [
        *(
            Curve(name=named, dash=dash, values={"entropy": entropy, "p_answer": p}, **own)
            for named, dash, entropy, p in expected
        ),
        Curve(name=head, dash="dash", values={"p_answer": [0.125]}, **control),
        Curve(name=f"{head}, 95% interval", dash="dot", values={"p_answer": [0.0]}, **control),
        Curve(name=f"{head}, 95% interval", dash="dot", values={"p_answer": [0.25]}, **control),
    ]


def test_a_battery_without_a_control_has_curves_of_its_own_answers_alone() -> None:
    assert [one.dash for one in estimates(ENTROPY, 0)] == ["solid", "dot", "dot"]
    assert bands(BARE, 0) is None
    drawn = bands(replace(BARE, tables={("battery", "norm"): ENTROPY}), 0)
    assert drawn is not None
    assert len(drawn["curves"]) == 3


SHARE = estimate(None, "L_semantic", "own", "share", 7, 5, 0.4, 0.1, 0.7)
LAYERS = [
    estimate(None, "L_semantic", "own", "median", 3, 3, 3.0, 1.0, 4.25),
    estimate(None, "L_semantic", "own", "lower quartile", 3, 3, 2.0, None, None),
    estimate(None, "L_semantic", "own", "upper quartile", 3, 3, 4.5, None, None),
]
OF_OTHERS = [
    estimate(None, "first_rank_le_5", "own", "share", 9, 5, 0.4, 0.1, 0.7),
    estimate(2, "L_semantic", "own", "share", 9, 5, 0.4, 0.1, 0.7),
]


def line(share: BatteryRow, layers: Sequence[BatteryRow], brief: bool = False) -> dict[str, str]:
    run = Run("m", {("battery", "norm"): [share, *layers, *OF_OTHERS]}, {})
    (only,) = milestone_lines(run, brief)
    return only


def test_a_line_has_share_median_and_quartiles_of_the_milestones_that_are_shown() -> None:
    head = {"lens": "norm", "group": "language=de", "passes": "7"}
    assert line(SHARE, LAYERS) == {**head, "L_semantic": "40% (10–70), 3 (1–4.25), 2–4.5"}
    assert line(SHARE, LAYERS, brief=True) == {**head, "L_semantic": "40% (10–70), 3, 2–4.5"}
    assert milestone_lines(BARE) == []


@pytest.mark.parametrize("absent", range(3))
def test_layers_are_shown_where_median_and_both_quartiles_are_known(absent: int) -> None:
    layers = [replace(row, value=None) if i == absent else row for i, row in enumerate(LAYERS)]
    assert line(SHARE, layers)["L_semantic"] == "40% (10–70)"


@pytest.mark.parametrize("ends", [(None, None), (0.1, None), (None, 0.7)])
def test_an_interval_is_shown_where_both_ends_are_known(ends: tuple[Any, Any]) -> None:
    share = replace(SHARE, low=ends[0], high=ends[1])
    assert line(share, LAYERS)["L_semantic"] == "40%, 3 (1–4.25), 2–4.5"
