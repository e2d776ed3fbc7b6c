"""Two functions of the logits, fitted to log-probabilities row by row: a temperature and a soft cap. Pure.

A row holds (ln p expected, ln p obtained) of the listed tokens of one distribution. Log-probabilities are logits up to
a constant that the files do not have, so each row has constants of its own; the temperature or the cap is one for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import acosh, cosh, exp, log, sinh, tanh

LogRow = Sequence[tuple[float, float]]

LOG_ATOL = 2e-4  # of a logarithm: more than what float32 rounds the least listed probabilities by
VISIBLE = 50 * LOG_ATOL  # less than that is no sign of a function
SPARE = 2  # numbers beyond the fitted parameters, which are too few to show anything
WIDEST = 8  # rows that the cap is fitted to; all rows are held to it
CAPS = (1.0, 1000.0)  # the range of caps; in the captured families they are 15 … 50
STEPS = 80
REFINEMENTS = 60


@dataclass(frozen=True)
class Fit:
    """A temperature or a cap, and the largest error that it leaves of a log-probability, in nats."""

    value: float
    misfit: float


def fit_temperature(rows: Sequence[LogRow]) -> float | None:
    """The T of ln p' = ln p / T + c, one c a row; None where a number deviates, or where T is 1."""
    fit = best_temperature(rows)
    if fit is None or fit.misfit > LOG_ATOL:
        return None
    change = max(abs((1 / fit.value - 1) * x) for row in rows for x, _ in centre(row))
    return None if change < VISIBLE else fit.value


def best_temperature(rows: Sequence[LogRow]) -> Fit | None:
    """The T of least squares; None of too few numbers, or where one side falls as the other rises."""
    if not enough(rows, constants=1):
        return None
    centred = [pair for row in rows for pair in centre(row)]
    slope = sum(x * y for x, y in centred) / sum(x * x for x, _ in centred)
    if slope <= 0:
        return None
    return Fit(1 / slope, max(abs(y - slope * x) for x, y in centred))


def fit_soft_cap(rows: Sequence[LogRow]) -> float | None:
    """The K of ln p' = K tanh((ln p + c) / K) + c', one c and one c' a row.

    None where a number deviates, and where a straight line for each row explains the numbers as well.
    """
    if not enough(rows, constants=2) or not all(map(contracts, rows)):
        return None
    if max(map(bend, rows)) < VISIBLE:
        return None
    fit = best_soft_cap(rows)
    return None if fit is None or fit.misfit > LOG_ATOL else fit.value


def best_soft_cap(rows: Sequence[LogRow]) -> Fit | None:
    """The K with the least error of the widest rows, in the range of caps; None of too few numbers."""
    if not enough(rows, constants=2):
        return None
    cap = nearest_cap(sorted(rows, key=width)[-WIDEST:])
    return Fit(cap, max(cap_error(row, cap) for row in rows))


def cap_range(rows: Sequence[LogRow], cap: float, misfit: float) -> tuple[float, float]:
    """The least and the largest cap that leave at most a misfit, of which `cap` is one."""
    ends = []
    for end in (min(cap, CAPS[0]), max(cap, CAPS[1])):
        inside, outside = log(cap), log(end)
        for _ in range(REFINEMENTS):
            middle = (inside + outside) / 2
            fits = all(cap_error(row, exp(middle)) <= misfit for row in rows)
            inside, outside = (middle, outside) if fits else (inside, middle)
        ends.append(exp(inside))
    return ends[0], ends[1]


def enough(rows: Sequence[LogRow], constants: int) -> bool:
    """Whether more different numbers than parameters, and half of all numbers, are in rows that can refute a fit."""
    counts = [len({x for x, _ in row}) for row in rows]
    judging = [count for count in counts if count > constants]
    spare = sum(judging) - constants * len(judging) - 1
    return spare > SPARE and 2 * sum(judging) >= sum(counts)


def centre(row: LogRow) -> list[tuple[float, float]]:
    """The row less the means of both its sides."""
    mean_x, mean_y = (sum(side) / len(row) for side in zip(*row, strict=True))
    return [(x - mean_x, y - mean_y) for x, y in row]


def contracts(row: LogRow) -> bool:
    """Whether both sides have one order, and no two numbers are farther apart than before."""
    return all(
        -LOG_ATOL <= y2 - y1 <= x2 - x1 + LOG_ATOL for (x1, y1), (x2, y2) in pairwise(sorted(row))
    )


def width(row: LogRow) -> float:
    """The distance of the largest and the least expected number."""
    return max(row)[0] - min(row)[0]


def bend(row: LogRow) -> float:
    """The largest distance of a number from the line through the first and the last one."""
    (x1, y1), (x2, y2) = min(row), max(row)
    slope = (y2 - y1) / (x2 - x1) if x2 > x1 else 0.0
    return max(abs(y - y1 - slope * (x - x1)) for x, y in row)


def nearest_cap(rows: Sequence[LogRow]) -> float:
    """The cap with the least error of the worst row: a grid, then golden section, both of ln K."""
    low, high = map(log, CAPS)
    step = (high - low) / STEPS

    def error(log_cap: float) -> float:
        return max(cap_error(row, exp(log_cap)) for row in rows)

    best = min((low + i * step for i in range(STEPS + 1)), key=error)
    a, b = best - step, best + step
    ratio = (5**0.5 - 1) / 2
    for _ in range(REFINEMENTS):
        c, d = b - ratio * (b - a), a + ratio * (b - a)
        a, b = (a, d) if error(c) < error(d) else (c, b)
    return exp((a + b) / 2)


def cap_error(row: LogRow, cap: float) -> float:
    """The largest error of a row under a cap, with the constants that fit its first and last number.

    With u half the distance of their logits and v the middle, both in caps, tanh(v + u) − tanh(v − u) =
    2 sinh 2u / (cosh 2v + cosh 2u), which gives v but for its sign: logits may be over or under zero.
    """
    (x1, y1), (x2, y2) = min(row), max(row)
    distance, difference = (x2 - x1) / cap, (y2 - y1) / cap
    if distance <= 0 or difference <= 0:
        return abs(y2 - y1)
    middle = acosh(max(1.0, 2 * sinh(distance) / difference - cosh(distance))) / 2
    return min(shape_error(row, cap, v - distance / 2) for v in (middle, -middle))


def shape_error(row: LogRow, cap: float, least: float) -> float:
    """The largest error of a row whose least logit is `least` caps."""
    x1, y1 = min(row)
    base = tanh(least)
    return max(abs(cap * (tanh(least + (x - x1) / cap) - base) - (y - y1)) for x, y in row)
