"""Tolerance classes: what each lets pass."""

from math import inf, nan

import pytest
from changing import captured, with_cell, with_leaf

from spec.compare.runs import compare
from spec.compare.tolerance import BF16, BF16_WIDE, FP32, Bound, Tolerance, by_name
from spec.runs import columns
from spec.runs.run import PURE


def test_bf16_is_loose_on_floats_only() -> None:
    run = captured("bf16")
    for column, text, matches in [
        ("entropy", "1.80", True),
        ("entropy", "2.00", False),
        ("prob1", "0.80", True),
        ("prob1", "0.70", False),
        ("answer_rank", "50", True),
        ("answer_rank", "55", False),
        ("is_answer", "True", False),
        ("cos_to_final", "-0.10", True),
        ("cos_to_final", "-0.20", False),
    ]:
        changed = with_cell(
            run, PURE, 0, column, text if text in ("True", "50", "55") else repr(float(text))
        )
        assert compare(run, changed, BF16).matches is matches, (column, text)
        assert not compare(run, changed, FP32).matches, (column, text)


def test_bf16_keeps_small_ranks_exact() -> None:
    assert [BF16.rank_moves(rank) for rank in (1, 5, 6, 47, 12066)] == [0, 0, 1, 4, 1206]
    assert [BF16_WIDE.rank_moves(rank) for rank in (1, 5, 6, 47, 12066)] == [0, 0, 1, 6, 1206]
    assert [FP32.rank_moves(rank) for rank in (1, 6, 12066)] == [0, 0, 0]


def test_tolerances_are_validated() -> None:
    with pytest.raises(ValueError, match=r"finite rtol, atol ≥ 0, got -1.0, 0.0"):
        Bound(-1.0, 0.0)
    with pytest.raises(ValueError, match=r"keyed by quantities, got .'speed'."):
        Tolerance("x", Bound(0.0, 0.0), {"speed": Bound(0.0, 0.0)})
    with pytest.raises(ValueError, match=r"rank_slack is a share in .0, 1., got 2"):
        Tolerance("x", Bound(0.0, 0.0), rank_slack=2)
    with pytest.raises(ValueError, match=r"tail_slack is a share in .0, 1., got -1"):
        Tolerance("x", Bound(0.0, 0.0), tail_slack=-1)
    with pytest.raises(ValueError, match="one of fp32, bf16, bf16-wide, got 'fp64'"):
        by_name("fp64")


def test_unknown_quantities_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="keyed by quantities") as raised:
        Tolerance("x", Bound(0.0, 0.0), {"speed": Bound(0.0, 0.0), "mass": Bound(0.0, 0.0)})
    assert str(raised.value) == (
        "bounds are keyed by quantities, got ['mass', 'speed']; use "
        "cosine, entropy, exact float, kl, margin, probability, residual, rest, temperature"
    )


def test_exact_floats_are_exact_unless_a_bound_is_given() -> None:
    wide = Bound(1.0, 1.0)
    assert Tolerance("x", wide).bounds == {columns.EXACT_FLOAT: Bound(0.0, 0.0)}
    assert Tolerance("x", wide).fraction(columns.EXACT_FLOAT, 0.95, 0.9500001) == inf
    given = Tolerance("x", wide, {columns.EXACT_FLOAT: wide})
    assert given.allowed(columns.EXACT_FLOAT, 0.5) == 1.5


def test_nothing_equals_nan() -> None:
    assert FP32.fraction(columns.KL, nan, nan) == inf
    assert FP32.fraction(columns.KL, 1.0, inf) == inf
    assert FP32.fraction(columns.EXACT_FLOAT, 0.95, 0.9500001) == inf


@pytest.mark.parametrize(
    ("temperature", "factor"), [(0.1, 10), (1.0, 1), (2.0, 1), (0.0, 1), (-1.0, 1)]
)
def test_logits_divided_by_a_temperature_are_off_by_as_much(
    temperature: float, factor: float
) -> None:
    warmed = BF16_WIDE.at_temperature(temperature)
    for quantity in (columns.PROBABILITY, columns.ENTROPY):
        assert warmed.allowed(quantity, 0.5) == pytest.approx(
            factor * BF16_WIDE.allowed(quantity, 0.5)
        )
    assert warmed.allowed(columns.KL, 0.5) == BF16_WIDE.allowed(columns.KL, 0.5)
    assert FP32.at_temperature(temperature) == FP32
    assert BF16.at_temperature(temperature) == BF16


def test_only_the_cold_list_has_the_wider_bound() -> None:
    run = captured("layernorm-bf16")
    for item, matches in (("temperature_exploration", True), ("test_prompts", False)):
        (token, p) = (run.document or {})[item][0]["topk"][0]
        moved = p - 0.9 * BF16_WIDE.at_temperature(0.1).allowed(columns.PROBABILITY, p)
        changed = with_leaf(run, (item, 0, "topk", 0), [token, float(moved)])
        assert compare(run, changed, BF16_WIDE).matches is matches
        assert not compare(run, changed, FP32).matches
