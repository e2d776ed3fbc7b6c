"""Single rows exactly at a threshold, or a little to one side of it, under the conditions of the milestones."""

from math import inf, log2
from typing import Any

import pytest
from stub_passes import row

from lenses_min.output.decisions import (
    Decision,
    Thresholds,
    at_most,
    copies,
    copy_turns,
    gap,
    is_answer,
    is_first,
    is_ranked,
    lowered,
    raised,
    rank_turns,
    within,
)

FLOAT32, BFLOAT16 = Thresholds(0.6, 0.4, "float32"), Thresholds(0.6, 0.4, "bfloat16")
LOW, HIGH = lowered(0.5), raised(0.5)


def decision(loose: bool, holds: bool, tight: bool, margin: Any, turns: bool | None) -> Decision:
    return Decision(0, loose, holds, tight, margin, turns)


UNKNOWN = {holds: decision(holds, holds, holds, None, None) for holds in (False, True)}


@pytest.mark.parametrize(
    ("thresholds", "top", "copied", "prompt", "expected"),
    [
        # p and the lead over the next token, which is the nearer one to its threshold
        ((0.5, 0.375), (0.75, 0.25), True, "", decision(True, True, True, 0.125, False)),
        ((0.5, 0.375), (0.75,), True, "", decision(True, True, True, 0.25, False)),
        # exactly at the threshold, where the flag contradicts the numbers and where it does not
        ((0.75, 0.25), (0.75,), True, "Italy", UNKNOWN[True]),
        ((0.75, 0.25), (0.75,), False, "Italy", decision(True, False, False, 0.0, True)),
        # exactly at the lowered threshold and exactly at the raised one
        ((0.5, 0.25), (LOW,), False, "Italy", decision(False, False, False, 0.5 - LOW, False)),
        ((0.1, 0.5), (LOW,), False, "Italy", decision(False, False, False, 0.5 - LOW, False)),
        ((0.5, 0.25), (HIGH,), True, "Italy", decision(True, True, False, HIGH - 0.5, False)),
        ((0.1, 0.5), (HIGH,), True, "Italy", decision(True, True, False, HIGH - 0.5, False)),
        # without the prompt's text: it may be a copy under lower thresholds, and under none
        ((0.6, 0.4), (0.55,), False, "", UNKNOWN[False]),
        ((0.6, 0.4), (0.4,), False, "", decision(False, False, False, None, False)),
        # sure and clear, and still no copy
        ((0.5, 0.25), (0.75,), False, "Italy", decision(False, False, False, inf, False)),
        ((0.5, 0.25), (0.4,), False, "Rome", decision(False, False, False, inf, False)),
        ((0.5, 0.25), (), False, "Italy", UNKNOWN[False]),
    ],
)
def test_a_copy_at_its_thresholds(
    thresholds: tuple[float, float],
    top: tuple[float, ...],
    copied: bool,
    prompt: str,
    expected: Decision,
) -> None:
    one = row(top=tuple((" Italy", p) for p in top), copy_collapse=copied)
    assert copies(one, Thresholds(*thresholds, "float32"), prompt) == expected


@pytest.mark.parametrize(
    ("p", "second", "thresholds", "turns"),
    [
        (0.61, 0.1, (0.6, 0.4), True),  # 0.512 at the least
        (0.58, 0.1, (0.6, 0.4), True),  # 0.673 at most
        (0.5, 0.4, (0.4, 0.3), False),  # the lead is 0.278 at most
        (0.9, 0.05, (0.6, 0.4), False),
        (1.0, 0.0, (1.0, 0.5), False),  # no rounding lifts a probability over 1
        (1.0, 0.0, (0.5, 1.0), False),
    ],
)
def test_whether_rounding_turns_a_copy(
    p: float, second: float, thresholds: tuple[float, float], turns: bool
) -> None:
    """In bfloat16 the logit of the top token is 0.2 nats off and those of the others 0.2 the other way."""
    assert copy_turns(p, second, Thresholds(*thresholds, "bfloat16")) is turns
    assert copy_turns(p, second, Thresholds(*thresholds, "")) is None


@pytest.mark.parametrize(
    ("bits", "loose", "holds", "tight", "turns"),
    [
        (0.85, True, True, True, False),
        (0.9, True, True, True, True),
        (0.91, True, True, False, True),
        (1.0, True, True, False, True),
        (1.01, True, False, False, True),
        (1.1, True, False, False, False),  # 1.1 - 1 is a little over a tenth
        (1.11, False, False, False, False),
        (1.5, False, False, False, False),
    ],
)
def test_bits_of_at_most_one(
    bits: float, loose: bool, holds: bool, tight: bool, turns: bool
) -> None:
    """Rounding changes the number by half of 0.2."""
    expected = decision(loose, holds, tight, abs(1 - bits), turns)
    assert at_most(row(), bits, 1.0, 0.5, BFLOAT16) == expected


def test_a_distance_of_exactly_the_error_is_within_it() -> None:
    assert [within(d, 0.25) for d in (0.2, 0.25, 0.26)] == [True, True, False]
    assert [within(d, 0.25, 0.5) for d in (0.125, 0.126)] == [True, False]
    assert within(0.0, None) is None


TOP = ((" x", 0.5), (" y", 0.4), (" z", 0.3))


@pytest.mark.parametrize(
    ("values", "level", "expected"),
    [
        ({"answer_rank": 2, "p_answer": 0.4}, 2, log2(0.4 / 0.3)),
        ({"answer_rank": 3, "p_answer": 0.3}, 2, log2(0.3 / 0.4)),
        ({"answer_rank": 3, "p_answer": 0.3}, 3, None),
        ({"is_answer": True}, 1, log2(0.5 / 0.4)),
        ({"is_answer": False}, 1, None),
        ({"answer_rank": 2, "p_answer": 0.5, "top": ((" x", inf),)}, 1, None),
        ({"answer_rank": 2, "p_answer": inf}, 1, None),
    ],
)
def test_the_gap_is_to_the_token_that_decides_the_rank(
    values: dict[str, Any], level: int, expected: float | None
) -> None:
    assert gap(row(**{"top": TOP, **values}), level) == expected


@pytest.mark.parametrize(
    ("values", "p", "expected"),
    [
        # as likely as the top token: the order of the two decides
        ({"answer_rank": 2}, (0.5, 0.5), decision(True, False, False, 0.0, True)),
        ({"answer_rank": 1, "is_answer": True}, (0.5, 0.5), decision(True, True, False, 0.0, True)),
        # a twentieth and a tenth likelier than the next token
        (
            {"answer_rank": 1, "is_answer": True},
            (0.525, 0.5),
            decision(True, True, False, pytest.approx(log2(1.05)), False),
        ),
        (
            {"answer_rank": 1, "is_answer": True},
            (0.55, 0.5),
            decision(True, True, True, pytest.approx(log2(1.1)), False),
        ),
        # a flag that contradicts the probabilities
        ({"answer_rank": 2}, (0.6, 0.5), UNKNOWN[False]),
        ({"answer_rank": 1, "is_answer": True}, (0.4, 0.5), UNKNOWN[True]),
    ],
)
def test_the_answer_against_the_best_other_token(
    values: dict[str, Any], p: tuple[float, float], expected: Decision
) -> None:
    answer, other = p
    first = ((" x", answer),) if values["answer_rank"] == 1 else ()
    one = row(**values, p_answer=answer, top=(*first, (" y", other)))
    assert is_answer(one, FLOAT32) == expected


def test_a_rank_that_contradicts_the_flag_decides_nothing() -> None:
    assert is_first(row(answer_rank=1), FLOAT32) == UNKNOWN[False]
    assert is_first(row(answer_rank=2, is_answer=True), FLOAT32) == UNKNOWN[True]
    first = row(answer_rank=1, is_answer=True)
    assert is_first(first, FLOAT32) == decision(True, True, True, 1, False)


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        (22, decision(True, True, True, 4, False)),
        (23, decision(True, True, False, 3, False)),
        (25, decision(True, True, False, 1, False)),
        (26, decision(True, False, False, 1, False)),
        (28, decision(True, False, False, 3, False)),
        (29, decision(False, False, False, 4, False)),
    ],
)
def test_a_tenth_of_a_level_is_rounded_up_to_whole_ranks(rank: int, expected: Decision) -> None:
    """A tenth of 25 is 2.5: the levels 28 and 22."""
    assert is_ranked(row(answer_rank=rank), FLOAT32, 25) == expected


@pytest.mark.parametrize(
    ("rank", "dtype", "turns"),
    [
        (4, "bfloat16", False),  # two ranks from 6, and 30% of 4 are 1.2
        (5, "bfloat16", True),
        (6, "bfloat16", True),
        (7, "bfloat16", True),  # two ranks from 5, and 30% of 7 are 2.1
        (8, "bfloat16", False),
        (6, "float32", False),
        (6, "", None),
        (8, "", False),
    ],
)
def test_whether_rounding_moves_a_rank_over_5(rank: int, dtype: str, turns: bool | None) -> None:
    """By 30%, at least by one rank; in float32 a token that the row does not list is no neighbour."""
    assert rank_turns(row(answer_rank=rank), 5, Thresholds(0.6, 0.4, dtype)) is turns
