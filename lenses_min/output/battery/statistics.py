"""Numbers of passes → estimates with 95% intervals; pure functions of arrays, nothing of a model.

Axes: N passes, C columns that are judged alike (layers, say), B resamples, U prompts. NaN is an absent value. The
bootstrap (Efron, "Bootstrap methods: another look at the jackknife", 1979) draws whole prompts with all their passes,
by percentiles; shares have the interval of Wilson ("Probable inference, the law of succession, and statistical
inference", 1927) with the effective number of passes of Korn and Graubard (1998) where a prompt has several.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000
BLOCK = 2**22  # weights, resamples × passes, that are held at once
Floats = NDArray[np.float64]


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

    @property
    def alone(self) -> bool:
        """Whether each prompt has one pass, so that all passes are drawn alike."""
        return len(np.unique(self.prompts)) == len(self.prompts)

    def weights(self) -> Iterator[Floats]:
        """How often each pass is drawn, in blocks [≤ B, N]; the same at every call."""
        count = int(self.prompts.max(initial=-1)) + 1
        random = np.random.default_rng(self.seed)
        step = max(1, BLOCK // max(1, len(self.prompts)))
        for start in range(0, self.resamples, step):
            rows = min(step, self.resamples - start)
            drawn = random.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
            times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
            yield times[:, self.prompts].astype(np.float64)


def mean(x: Floats, resampling: Resampling) -> Estimate:
    """The mean of each column of x [N, C], in the unit of x."""
    known = ~np.isnan(x)
    filled = np.where(known, x, 0.0)
    with np.errstate(invalid="ignore"):
        drawn = [(w @ filled) / (w @ known) for w in resampling.weights()]
        value = filled.sum(0) / known.sum(0)
    return between(value, np.concatenate(drawn), known, resampling)


def median(x: Floats, resampling: Resampling) -> Estimate:
    """The median of each column of x [N, C], in the unit of x: the mean of the two middle values of an even number."""
    known = ~np.isnan(x)
    order, counts = np.argsort(x, axis=0), known.sum(0)
    ranked = np.take_along_axis(x, order, axis=0)
    drawn = [
        resampled_medians(ranked, order, counts, w, resampling.alone) for w in resampling.weights()
    ]
    value = np.full(x.shape[1], np.nan)
    if (some := counts > 0).any():
        value[some] = np.nanmedian(x[:, some], axis=0)
    return between(value, np.concatenate(drawn), known, resampling)


def resampled_medians(
    ranked: Floats, order: NDArray[np.intp], counts: NDArray[np.intp], weights: Floats, alone: bool
) -> Floats:
    """The medians [b, C] of columns in rising order, of which the i-th pass is drawn `weights[:, i]` times.

    Where all passes are drawn alike, the first m weights serve every column with m values, whatever their order.
    """
    medians = np.full((len(weights), ranked.shape[1]), np.nan)
    middles: dict[int, tuple[Floats, Floats, Floats]] = {}
    for column, m in enumerate(counts.tolist()):
        if m == 0:
            continue
        if not alone or m not in middles:
            middles[m] = middle(weights[:, :m] if alone else weights[:, order[:m, column]])
        lower, upper, total = middles[m]
        values = ranked[:m, column]
        halves = (values[lower.astype(int)] + values[upper.astype(int)]) / 2
        medians[:, column] = np.where(total > 0, halves, np.nan)
    return medians


def middle(weights: Floats) -> tuple[Floats, Floats, Floats]:
    """The places [b] of the two middle values among m in rising order, drawn `weights` [b, m] times; and how many."""
    reached = np.cumsum(weights, axis=1)
    total, last = reached[:, -1], weights.shape[1] - 1
    half = total[:, None] / 2
    lower, upper = (reached < half).sum(1), (reached <= half).sum(1)
    return np.minimum(lower, last).astype(float), np.minimum(upper, last).astype(float), total


def between(value: Floats, drawn: Floats, known: NDArray[np.bool_], by: Resampling) -> Estimate:
    """The percentiles of resampled values [B, C]; no interval where a column is of fewer than two prompts."""
    tail = (1 - CONFIDENCE) / 2
    ends = np.full((2, len(value)), np.nan)
    some = prompt_counts(known, by) > 1
    if some.any():
        ends[:, some] = np.nanquantile(drawn[:, some], (tail, 1 - tail), axis=0)
    return Estimate(value, ends[0], ends[1])


def prompt_counts(known: NDArray[np.bool_], by: Resampling) -> NDArray[np.intp]:
    """Of how many prompts each column [N, C] has a value."""
    present = np.zeros((int(by.prompts.max(initial=-1)) + 1, known.shape[1]), dtype=bool)
    np.logical_or.at(present, by.prompts, known)
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
    residuals: Floats, p: Floats, n: Floats, prompts: NDArray[np.intp], by: Resampling
) -> Floats:
    """How many independent passes would tell as much as n passes of some prompts, at most n, [C].

    Where all passes agree, nothing is known of how alike those of a prompt are, and each prompt counts as one pass.
    """
    sums = np.zeros((int(by.prompts.max(initial=-1)) + 1, residuals.shape[1]))
    np.add.at(sums, by.prompts, residuals)
    variance = prompts / (prompts - 1) * (sums**2).sum(0) / n**2
    alone = p * (1 - p) / (n - 1)
    size = np.where(prompts == n, n, np.where(alone > 0, n * alone / variance, prompts))
    return np.clip(np.where(np.isfinite(size), size, prompts), 1, n)
