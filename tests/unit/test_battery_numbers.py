"""The arrays of a battery and its table, of a few passes whose every number is given."""

import json
from itertools import pairwise
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
from stub_passes import encoded, result, row

from lenses_min.core.types import PassResult
from lenses_min.output.battery.numbers import (
    Numbers,
    PassControl,
    control_milestones,
    control_of,
    joined,
    numbers_of,
    read_numbers,
)
from lenses_min.output.battery.statistics import Estimate
from lenses_min.output.battery.table import at, battery_rows
from lenses_min.prompts.suite import Prompt

EN = (("language", "en"),)


def a_pass(name: str, tags: tuple[tuple[str, str], ...], *answers: int | None) -> PassResult:
    """A pass of two layers under one lens, whose answer has these ranks."""
    rows = [
        row(
            layer,
            entropy=3.0 - layer,
            kl_to_final_bits=None if layer else 0.75,
            answer_rank=rank,
            p_answer=None if rank is None else 0.1 / rank,
            is_answer=rank == 1,
        )
        for layer, rank in enumerate(answers)
    ]
    return result(encoded(Prompt(name, "orig", "", "x", tags=tags), 7), {"norm": rows})


PASSES = [a_pass("a", EN, 7, 1), a_pass("b", (), None, None), a_pass("c", EN, 1, 2)]
CONTROLS = {
    "a/orig": {
        "norm": PassControl(
            {"all": np.array([3, 1]), "language=en": np.array([1, 20])},
            {"all": np.array([0.1, 0.6]), "language=en": np.array([0.5, 0.25])},
        )
    },
    "c/orig": {"norm": PassControl({"all": np.array([1, 9])}, {"all": np.array([0.7, 0.3])})},
}


def of_json(numbers: Numbers) -> Any:
    """The numbers with None for NaN."""
    return json.loads(numbers.text(), parse_constant=lambda _: None)


def singles(*rows: list[float | None]) -> list[list[float | None]]:
    """Numbers as float32 has them."""
    return [[None if x is None else float(np.float32(x)) for x in values] for values in rows]


def test_the_numbers_of_passes() -> None:
    numbers = numbers_of(PASSES, CONTROLS)
    nothing = [None, None]
    assert of_json(numbers) == {
        "prompts": ["a", "b", "c"],
        "groups": {"all": [0, 1, 2], "language=en": [0, 2]},
        "quantities": {
            "norm": {
                "entropy": [[3.0, 2.0]] * 3,
                "kl_to_final_bits": [[0.75, None]] * 3,
                "answer_rank": [[7.0, 1.0], nothing, [1.0, 2.0]],
                "p_answer": singles([0.1 / 7, 0.1], [None, None], [0.1, 0.05]),
                "is_answer": [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]],
            }
        },
        "milestones": {
            "norm": {
                "L_copy": [None, None, None],
                "L_copy_H": [None, None, None],
                "L_semantic": [1.0, None, 0.0],
                "delta_layers": [None, None, None],
                "first_kl_below_0.5": [None, None, None],
                "first_kl_below_1.0": [0.0, 0.0, 0.0],
                "first_rank_le_1": [1.0, None, 0.0],
                "first_rank_le_5": [1.0, None, 0.0],
                "first_rank_le_10": [0.0, None, 0.0],
            }
        },
        "controls": {
            "norm": {
                "all": [
                    [0, 2],
                    {
                        "answer_rank": [[3.0, 1.0], [1.0, 9.0]],
                        "p_answer": singles([0.1, 0.6], [0.7, 0.3]),
                        "is_answer": [[0.0, 1.0], [1.0, 0.0]],
                    },
                ],
                "language=en": [
                    [0],
                    {
                        "answer_rank": [[1.0, 20.0]],
                        "p_answer": [[0.5, 0.25]],
                        "is_answer": [[1.0, 0.0]],
                    },
                ],
            }
        },
    }


def test_the_numbers_of_parts_are_joined_to_those_of_all() -> None:
    """Also of one part, of parts without a control, and of a part that lacks a group."""
    for controls in (CONTROLS, {}):
        whole = of_json(numbers_of(PASSES, controls))
        for cuts in ((0, 3), (0, 1, 3), (0, 1, 2, 3)):
            parts = [numbers_of(PASSES[start:end], controls) for start, end in pairwise(cuts)]
            assert of_json(joined(parts)) == whole


def test_numbers_are_float32_also_when_they_are_read_back() -> None:
    numbers = numbers_of(PASSES, CONTROLS)
    for one in (numbers, read_numbers(numbers.text())):
        assert one.text() == numbers.text()
        tables = [one.quantities["norm"], one.milestones["norm"]]
        tables += [values for _, values in one.controls["norm"].values()]
        assert {x.dtype for table in tables for x in table.values()} == {np.dtype(np.float32)}


def test_a_control_is_read_at_the_last_position_behind_the_own_answers() -> None:
    """Columns 0 and 1 are the pass's own answers, rows 1 and 2 the last position."""
    of = encoded(Prompt("a", "orig", "", "x"), 7, 8)
    measured: Any = SimpleNamespace(
        rank=np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]),
        p_answer=np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.9, 0.91, 0.92, 0.93]]),
    )
    control = control_of(of, {"norm": measured}, [0, 1, 1], {"all": 1, "language=en": 0})["norm"]
    ranks = {group: values.tolist() for group, values in control.ranks.items()}
    assert ranks == {"all": [8, 12], "language=en": [7, 11]}
    assert {values.dtype for values in control.ranks.values()} == {np.dtype(np.int32)}
    p = {group: values.tolist() for group, values in control.p.items()}
    assert p == {"all": [0.8, 0.93], "language=en": [0.7, 0.92]}


def test_the_milestones_of_control_answers() -> None:
    ranks = np.array([[10, 5, 2, 1], [40, 30, 20, 11], [6, 10, 1, 1]], dtype=np.float32)
    layers_of = control_milestones(ranks)
    assert {name: np.nan_to_num(layers, nan=-1).tolist() for name, layers in layers_of.items()} == {
        "L_semantic": [3, -1, 2],
        "first_rank_le_1": [3, -1, 2],
        "first_rank_le_5": [1, -1, 2],
        "first_rank_le_10": [0, -1, 0],
    }
    assert {layers.dtype for layers in layers_of.values()} == {np.dtype(np.float32)}


def both(a: float, b: float) -> tuple[float, ...]:
    """Two passes: the mean, which is the median too; a quarter of all resamples has one of them alone."""
    return 2, 2, (a + b) / 2, min(a, b), max(a, b)


def of_two(count: int) -> tuple[float, ...]:
    """The share of so many of two passes, with Wilson's interval."""
    z = NormalDist().inv_cdf(0.975)
    half = z / (1 + z**2 / 2) * (1 / 8 + z**2 / 16) ** 0.5
    ends = {0: (0, z**2 / (2 + z**2)), 1: (0.5 - half, 0.5 + half), 2: (2 / (2 + z**2), 1)}
    return 2, 2, count / 2, *ends[count]


def milestone(name: str, answer: str | None, *layers: float) -> list[tuple[Any, ...]]:
    """The four rows of a milestone that one of two passes reaches, both of them, or none."""
    head, n, nan = ("all", None, name, answer), len(layers), float("nan")
    low, high = (min(layers), max(layers)) if layers else (nan, nan)
    middle = sum(layers) / n if n else nan
    ends = (low, high) if n == 2 else (nan, nan)
    quarter = (high - low) / 4
    return [
        (*head, "share", *of_two(n)),
        (*head, "median", n, n, middle, *ends),
        (*head, "lower quartile", n, n, low + quarter, nan, nan),
        (*head, "upper quartile", n, n, high - quarter, nan, nan),
    ]


def test_the_whole_table_of_two_passes() -> None:
    """Two passes and one layer: every estimate and its interval by hand."""
    x = {
        name: np.array(values, np.float32)
        for name, values in (
            ("entropy", [[1], [3]]),
            ("kl_to_final_bits", [[0.5], [0.25]]),
            ("answer_rank", [[1], [8]]),
            ("p_answer", [[0.75], [0.125]]),
            ("is_answer", [[1], [0]]),
        )
    }
    layers = {
        name: np.array(values, np.float32)
        for name, values in (
            ("L_copy", [0, np.nan]),
            ("L_semantic", [4, 8]),
            ("delta_layers", [4, np.nan]),
            ("first_kl_below_0.5", [np.nan, np.nan]),
            ("first_rank_le_1", [4, np.nan]),
        )
    }
    control = {
        "answer_rank": x["answer_rank"],
        "p_answer": x["p_answer"],
        "is_answer": x["is_answer"],
    }
    numbers = Numbers(
        ["a", "b"],
        {"all": [0, 1]},
        {"norm": x},
        {"norm": layers},
        {"norm": {"all": ([1, 0], {name: values[::-1] for name, values in control.items()})}},
    )

    def of_answers(answer: str) -> list[tuple[Any, ...]]:
        return [
            ("all", 0, "answer_rank", answer, "median", *both(1, 8)),
            ("all", 0, "p_answer", answer, "mean", *both(0.75, 0.125)),
            ("all", 0, "p_answer", answer, "median", *both(0.75, 0.125)),
            ("all", 0, "is_answer", answer, "share", *of_two(1)),
        ]

    expected = [
        ("all", 0, "entropy", None, "mean", *both(1, 3)),
        ("all", 0, "entropy", None, "median", *both(1, 3)),
        ("all", 0, "kl_to_final_bits", None, "mean", *both(0.5, 0.25)),
        ("all", 0, "kl_to_final_bits", None, "median", *both(0.5, 0.25)),
        *of_answers("own"),
        *milestone("L_copy", None, 0),
        *milestone("L_semantic", "own", 4, 8),
        *milestone("delta_layers", "own", 4),
        *milestone("first_kl_below_0.5", None),
        *milestone("first_rank_le_1", "own", 4),
        *of_answers("control"),
        *milestone("L_semantic", "control", 0),
        *milestone("first_rank_le_1", "control", 0),
        *milestone("first_rank_le_5", "control", 0),
        *milestone("first_rank_le_10", "control", 0, 0),
    ]
    rows = battery_rows(numbers)
    assert {one.lens for one in rows} == {"norm"}
    heads = [(r.group, r.layer, r.quantity, r.answer, r.estimate) for r in rows]
    assert heads == [line[:5] for line in expected]
    obtained = [(r.n, r.n_prompts, r.value, r.low, r.high) for r in rows]
    np.testing.assert_allclose(
        np.array(obtained, float), np.array([line[5:] for line in expected], float), rtol=1e-12
    )


def test_what_an_estimate_lacks_is_no_number_of_the_table() -> None:
    estimate = Estimate(*np.array([[1.5, np.nan], [1.0, np.nan], [np.nan, 2.0]]))
    assert at(estimate, 0) == [1.5, 1.0, None]
    assert at(estimate, 1) == [None, None, 2.0]
