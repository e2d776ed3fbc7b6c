"""The answers of other passes that a pass of a battery is measured at: which columns are whose."""

from dataclasses import fields, replace

import numpy as np
import torch
from stub_passes import encoded

from lenses_min.core.last_layer import LastLogits
from lenses_min.core.metrics import Measures
from lenses_min.core.pass_metrics import PassMetrics
from lenses_min.core.types import Rows
from lenses_min.pipeline.controls import ControlAnswers
from lenses_min.prompts.suite import Prompt

TAGS = (("language", "en"),)
A, B = (
    encoded(Prompt(name, "orig", "", "x", tags=TAGS), answer)
    for name, answer in (("a", 7), ("b", 8))
)
ROWS = Rows(torch.zeros(4, 2), [0, 0, 1, 1], [0, 1, 0, 1])


def measured() -> PassMetrics[np.ndarray]:
    """Two layers at two positions, each number another one; two answers."""
    rows = np.arange(4.0)
    by_answer = np.arange(8.0).reshape(4, 2)
    lens = Measures(
        top_p=rows[:, None],
        top_id=rows[:, None] + 10,
        p_top5=rows + 20,
        entropy=rows + 30,
        kl=rows + 40,
        cos=rows + 50,
        p_answer=by_answer,
        log_p_answer=by_answer + 60,
        rank=by_answer + 70,
    )
    return PassMetrics({"norm": lens}, {}, LastLogits(rows, rows))


def test_a_pass_keeps_the_numbers_of_its_own_answers_and_its_controls_are_set_apart() -> None:
    controls = ControlAnswers()
    controls.choose([A, B])
    assert controls.read(A) == [7, 8], "the answer of the other pass, once for both groups"
    metrics = measured()
    own = controls.take(A, ROWS, metrics).by_lens["norm"]
    expected = replace(
        metrics.by_lens["norm"],
        p_answer=np.array([[0], [2], [4], [6]]),
        log_p_answer=np.array([[60], [62], [64], [66]]),
        rank=np.array([[70], [72], [74], [76]]),
    )
    for field in fields(Measures):
        assert getattr(own, field.name).tolist() == getattr(expected, field.name).tolist()
    assert list(controls.measured) == ["a/orig"]
    control = controls.measured["a/orig"]["norm"]
    groups = ("all", "language=en")
    assert {group: ranks.tolist() for group, ranks in control.ranks.items()} == {
        group: [73, 77] for group in groups
    }
    assert {group: p.tolist() for group, p in control.p.items()} == {
        group: [3, 7] for group in groups
    }


def test_a_pass_without_a_control_keeps_all_its_numbers() -> None:
    controls, metrics = ControlAnswers(), measured()
    assert controls.take(A, ROWS, metrics) is metrics
    assert controls.measured == {}
