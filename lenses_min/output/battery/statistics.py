"""Numbers of passes → estimates with 95% intervals; pure functions of arrays, nothing of a model.

Axes: N passes, C columns that are judged alike (layers, say), U prompts, V passes of one prompt at most, B resamples.
NaN is an absent value. The bootstrap (Efron, "Bootstrap methods: another look at the jackknife", 1979;
`scipy.stats.bootstrap`) draws whole prompts with all their passes and takes percentiles. Shares have the interval of
Wilson ("Probable inference, the law of succession, and statistical inference", 1927), with the effective number of
passes of Korn and Graubard (1998) where a prompt has several.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000
BLOCK = 2**22  # values, resamples × passes × columns, that are held at once
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Statistic = Callable[..., Floats]


@dataclass(frozen=True)
class Estimate:
    """An estimate of each column and the ends of its interval, all [C]; NaN where there is none."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Resampling:
    """Which prompt each of N passes is of, and the seed by which prompts are drawn."""

    prompts: NDArray[np.intp]  # [N], codes 0 … U - 1
    seed: int
    resamples: int = RESAMPLES

    @classmethod
    def of(cls, prompts: ArrayLike, seed: int, resamples: int = RESAMPLES) -> "Resampling":
        """From the names of prompts [N]; passes of one name are always drawn together."""
        return cls(np.unique(np.asarray(prompts), return_inverse=True)[1], seed, resamples)


def mean(x: Floats, resampling: Resampling) -> Estimate:
    """The mean of each column of x [N, C], in the unit of x."""
    return estimated(x, resampling, np.mean, np.nanmean)


def median(x: Floats, resampling: Resampling) -> Estimate:
    """The median of each column of x [N, C], in the unit of x: the mean of the two middle values of an even number."""
    return estimated(x, resampling, np.median, np.nanmedian)


def estimated(
    x: Floats, resampling: Resampling, statistic: Statistic, nan_statistic: Statistic
) -> Estimate:
    """A statistic of each column of x [N, C], by the passes that have a value there; `nan_statistic` skips NaN.

    There is no interval where fewer than two prompts have a value.
    """
    value, low, high = np.full((3, x.shape[1]), np.nan)
    for known, columns in patterns(x):
        values = by_prompt(x[np.ix_(known, columns)], resampling.prompts[known])
        of_values = nan_statistic if np.isnan(values).any() else statistic
        value[columns] = of_values(values, axis=(0, 1))
        if len(values) > 1:
            low[columns], high[columns] = bootstrap(values, of_values, resampling)
    return Estimate(value, low, high)


def patterns(x: Floats) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The columns of x [N, C] by which passes have a value: these passes, and their columns; none without a value."""
    known, of_column = np.unique(~np.isnan(x), axis=1, return_inverse=True)
    for pattern in range(known.shape[1]):
        if known[:, pattern].any():
            yield np.flatnonzero(known[:, pattern]), np.flatnonzero(of_column == pattern)


def by_prompt(x: Floats, prompts: NDArray[np.intp]) -> Floats:
    """The passes x [N, C] by prompt, [U, V, C]; NaN where a prompt has fewer than V passes."""
    codes, counts = np.unique(prompts, return_inverse=True, return_counts=True)[1:]
    order = np.argsort(codes, kind="stable")
    within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    values = np.full((len(counts), counts.max(), x.shape[1]), np.nan)
    values[codes[order], within] = x[order]
    return values


def bootstrap(
    values: Floats, statistic: Statistic, resampling: Resampling
) -> tuple[Floats, Floats]:
    """The ends [C], [C] of the intervals of a statistic of the columns of values [U, V, C], U > 1."""
    from scipy import stats

    def resampled(prompts: NDArray[np.intp], axis: int) -> Floats:
        """Of the passes of drawn prompts [B, U], the statistic [C, B]."""
        return statistic(values[prompts], axis=(1, 2)).T

    interval = stats.bootstrap(
        (np.arange(len(values)),),
        resampled,
        n_resamples=resampling.resamples,
        batch=max(1, BLOCK // values.size),
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(resampling.seed),
    ).confidence_interval
    return interval.low, interval.high


def prompt_counts(known: Flags, resampling: Resampling) -> NDArray[np.intp]:
    """Of how many prompts each column [N, C] has a value."""
    present = np.zeros((int(resampling.prompts.max(initial=-1)) + 1, known.shape[1]), dtype=bool)
    np.logical_or.at(present, resampling.prompts, known)
    return present.sum(0)


def share(flags: Floats, resampling: Resampling) -> Estimate:
    """The share of 1 among the 0 and 1 of each column [N, C], in 0 … 1, by Wilson's interval.

    It begins at 0 where no flag is 1 and ends at 1 where all are, which rounding would miss.
    """
    known = ~np.isnan(flags)
    n, prompts = known.sum(0).astype(float), prompt_counts(known, resampling)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.where(known, flags, 0.0).sum(0) / n
        size = effective_size(np.where(known, flags - p, 0.0), p, n, prompts, resampling)
        z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
        centre = (p + z**2 / (2 * size)) / (1 + z**2 / size)
        half = z / (1 + z**2 / size) * np.sqrt(p * (1 - p) / size + z**2 / (4 * size**2))
    low, high = np.clip((centre - half, centre + half), 0, 1)
    return Estimate(p, np.where(p == 0, 0, low), np.where(p == 1, 1, high))


def effective_size(
    residuals: Floats, p: Floats, n: Floats, prompts: NDArray[np.intp], resampling: Resampling
) -> Floats:
    """How many independent passes would tell as much as n passes of some prompts, at most n, [C].

    Where all passes agree, nothing is known of how alike those of a prompt are, and each prompt counts as one pass.
    """
    sums = np.zeros((int(resampling.prompts.max(initial=-1)) + 1, residuals.shape[1]))
    np.add.at(sums, resampling.prompts, residuals)
    variance = prompts / (prompts - 1) * (sums**2).sum(0) / n**2
    alone = p * (1 - p) / (n - 1)
    size = np.where(prompts == n, n, np.where(alone > 0, n * alone / variance, prompts))
    return np.clip(np.where(np.isfinite(size), size, prompts), 1, n)
