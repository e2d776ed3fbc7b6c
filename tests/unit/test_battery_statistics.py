"""Intervals of a battery: 95% of them cover the truth, by resampling prompts and not rows."""

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from statistics import NormalDist, fmean

import numpy as np
import pytest

from lenses_min.output.battery import statistics
from lenses_min.output.battery.statistics import (
    Estimate,
    Floats,
    Resampling,
    by_prompt,
    mean,
    median,
    share,
)

REPETITIONS = 1000


def coverage(estimate: Estimate, truth: float) -> float:
    return float(np.mean((estimate.low <= truth) & (truth <= estimate.high)))


def battery(prompts: int, variants: int, seed: int) -> tuple[Floats, np.ndarray]:
    """Repetitions [N, 1000] of a battery whose prompts differ more than the variants of one; all are N(0, 1)."""
    random = np.random.default_rng(seed)
    between = random.normal(size=(prompts, 1, REPETITIONS))
    within = random.normal(size=(prompts, variants, REPETITIONS))
    x = np.sqrt(0.7) * between + np.sqrt(0.3) * within
    return x.reshape(prompts * variants, REPETITIONS), np.repeat(np.arange(prompts), variants)


KINDS: dict[
    str, tuple[Callable[[Floats], Floats], Callable[[Floats, Resampling], Estimate], float]
] = {
    "mean": (lambda x: x, mean, 0.0),
    "median": (np.exp, median, 1.0),
    "share": (lambda x: (x > 0.5244005).astype(float), share, 0.3),
}


@pytest.mark.parametrize("variants", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_of_95_in_100_intervals_the_truth_lies_inside(kind: str, variants: int) -> None:
    values, estimate, truth = KINDS[kind]
    x, prompts = battery(80, variants, seed=7)
    intervals = estimate(values(x), Resampling.of(prompts, seed=1, resamples=400))
    assert 0.92 <= coverage(intervals, truth) <= 0.98
    assert np.mean(intervals.value) == pytest.approx(truth, abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_resampled_by_rows_they_would_cover_it_too_seldom(kind: str) -> None:
    """What the test above would refuse: every pass drawn by itself, as if the variants of a prompt were independent."""
    values, estimate, truth = KINDS[kind]
    x, prompts = battery(80, 3, seed=7)
    rows = Resampling.of(np.arange(len(prompts)), seed=1, resamples=400)
    assert coverage(estimate(values(x), rows), truth) < 0.9


def test_absent_values_are_left_out() -> None:
    x = np.array([[1.0, np.nan], [2.0, 5.0], [6.0, np.nan], [7.0, np.nan]])
    by = Resampling.of(["a", "b", "c", "d"], seed=0)
    assert mean(x, by).value.tolist() == [4.0, 5.0]
    assert median(x, by).value.tolist() == [4.0, 5.0]
    assert np.isnan([mean(x, by).low[1], median(x, by).high[1]]).all(), "one prompt has no interval"
    nothing = np.full((4, 1), np.nan)
    assert np.isnan([e(nothing, by).value[0] for e in (mean, median, share)]).all()


@pytest.mark.parametrize("variants", [1, 3])
def test_the_interval_is_of_resamples_written_out(variants: int) -> None:
    """Prompts are drawn with all their passes, of which the last has one fewer."""
    x, prompts = battery(9, variants, seed=3)
    x, prompts = x[: max(9, len(x) - 1)], prompts[: max(9, len(x) - 1)]
    draws = np.random.default_rng(4).integers(0, 9, (200, 9))
    by = Resampling.of(prompts, seed=4, resamples=200)
    for estimate, statistic in ((mean, np.mean), (median, np.median)):
        passes = [np.concatenate([np.flatnonzero(prompts == p) for p in draw]) for draw in draws]
        drawn = [statistic(x[rows, 0]) for rows in passes]
        interval = estimate(x[:, :1], by)
        expected = np.quantile(drawn, (0.025, 0.975))
        assert (interval.low[0], interval.high[0]) == pytest.approx(expected, rel=1e-12)
        assert interval.value[0] == pytest.approx(statistic(x[:, 0]), rel=1e-12)


def test_a_column_has_the_same_interval_whatever_stands_beside_it() -> None:
    """Absent values in one column change no other."""
    x, prompts = battery(9, 3, seed=3)
    x = x[:, :2].copy()
    x[4, 1] = x[20:, 1] = np.nan
    by = Resampling.of(prompts, seed=4, resamples=200)
    for estimate in (mean, median):
        both = estimate(x, by)
        for column in (0, 1):
            known = ~np.isnan(x[:, column])
            alone = estimate(x[known][:, [column]], replace(by, prompts=by.prompts[known]))
            for name in ("value", "low", "high"):
                assert getattr(both, name)[column] == pytest.approx(getattr(alone, name)[0])


@pytest.mark.parametrize("block", [1, 1000])
def test_blocks_of_resamples_change_no_number(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, prompts = battery(9, 3, seed=3)
    by = Resampling.of(prompts, seed=4, resamples=50)
    at_once = median(x[:, :3], by)
    monkeypatch.setattr(statistics, "BLOCK", block)
    assert np.array_equal(median(x[:, :3], by).low, at_once.low)


def test_wilson_s_interval() -> None:
    """Its ends are the shares from which the observed one is z standard errors away; z = 1.959964."""
    flags = np.repeat([1.0, 0.0], [45, 55])[:, None]
    estimate = share(flags, Resampling.of(np.arange(100), seed=0))
    for end in (estimate.low[0], estimate.high[0]):
        assert abs(end - 0.45) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / 100))
    none = share(np.zeros((10, 1)), Resampling.of(np.arange(10), seed=0))
    assert none.high[0] == pytest.approx(0.277533, abs=1e-6)
    every = share(np.ones((10, 1)), Resampling.of(np.arange(10), seed=0))
    assert (none.low[0], every.high[0]) == (0, 1), "exactly, as Wilson's formula has it"
    twice = share(np.zeros((20, 1)), Resampling.of(np.repeat(np.arange(10), 2), seed=0))
    assert twice.high[0] == pytest.approx(none.high[0]), "ten prompts, whatever their variants"


@pytest.mark.parametrize(
    ("flags", "prompts"),
    [
        ([1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]),
        ([1, 0, 1, 0, 0, 0, 1], [0, 0, 1, 1, 1, 2, 3]),
        ([1, 0, 1, 0], [0, 0, 1, 1]),
    ],
)
def test_several_passes_of_a_prompt_count_as_fewer(flags: list[int], prompts: list[int]) -> None:
    """Korn and Graubard: n times the variance of n independent passes over that of sums by prompt; 1 … n."""
    n, p = len(flags), fmean(flags)
    sums = [sum(f - p for f, of in zip(flags, prompts, strict=True) if of == u) for u in {*prompts}]
    u = len(sums)
    variance = u / (u - 1) * sum(s * s for s in sums) / n**2
    size = n * p * (1 - p) / (n - 1) / variance if variance else u
    size = min(max(size, 1), n)
    z = NormalDist().inv_cdf(0.975)
    centre = (p + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * sqrt(p * (1 - p) / size + z * z / (4 * size**2))
    estimate = share(np.array(flags, dtype=float)[:, None], Resampling.of(prompts, seed=0))
    assert (estimate.low[0], estimate.high[0]) == pytest.approx((centre - half, centre + half))


def test_two_prompts_have_an_interval_from_the_one_to_the_other() -> None:
    """A quarter of all resamples has one of them twice; each column by itself."""
    x = np.array([[1.0, 10.0], [3.0, 40.0]])
    for estimate in (mean, median):
        obtained = estimate(x, Resampling.of(["a", "b"], seed=0))
        assert obtained.value.tolist() == [2.0, 25.0]
        assert (obtained.low.tolist(), obtained.high.tolist()) == ([1.0, 10.0], [3.0, 40.0])


def test_the_passes_of_a_prompt_keep_their_order() -> None:
    """A sum of floats depends on the order, so that a stable one gives the same number on every machine."""
    prompts = np.arange(3000) % 7
    values = by_prompt(np.arange(3000.0)[:, None], prompts)[:, :, 0]
    for prompt, passes in enumerate(values):
        own = np.arange(prompt, 3000, 7)
        assert passes[: len(own)].tolist() == own.tolist()
        assert np.isnan(passes[len(own) :]).all()


def test_a_share_is_of_the_passes_that_have_a_flag() -> None:
    """Column by column the same as of these passes alone."""
    nan = np.nan
    x = np.array([[1, 1], [nan, 0], [0, 1], [0, nan], [1, 0], [nan, nan], [0, 1], [1, 1]])
    prompts = np.array([0, 0, 1, 1, 2, 2, 2, 3])
    both = share(x, Resampling.of(prompts, seed=0))
    for column in (0, 1):
        known = ~np.isnan(x[:, column])
        alone = share(x[known][:, [column]], Resampling.of(prompts[known], seed=0))
        for name in ("value", "low", "high"):
            assert getattr(both, name)[column] == pytest.approx(getattr(alone, name)[0], rel=1e-12)


def test_of_any_number_of_passes_that_all_agree_the_interval_ends_exactly_there() -> None:
    """Column c has c + 1 passes; the formula by itself misses some ends by a rounding."""
    ones = np.where(np.arange(60)[:, None] <= np.arange(60), 1.0, np.nan)
    by = Resampling.of(np.arange(60), seed=0)
    assert share(ones, by).high.tolist() == [1.0] * 60
    assert share(ones - 1, by).low.tolist() == [0.0] * 60


def test_no_passes_have_no_share() -> None:
    nothing = share(np.zeros((0, 2)), Resampling.of(np.zeros(0), seed=0))
    for values in (nothing.value, nothing.low, nothing.high):
        assert np.isnan(values).tolist() == [True, True]
