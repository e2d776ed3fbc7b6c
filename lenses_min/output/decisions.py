"""One row under the condition of a milestone: its margin, and whether moved thresholds or rounding turn it.

The margin is the least change of the row's number that turns the decision, ≥ 0; of a copy, which needs both of its
numbers, the change that both of them are allowed. Thresholds are moved by 10%:

| condition | number, unit | loosest … tightest |
|---|---|---|
| copy | p(top-1), or its lead over top-2; probability | 0.9 t … 1.1 t, at most 1 − 0.9 (1 − t) |
| entropy, KL | bits | 1.1 t … 0.9 t |
| the top-1 is the answer | log2 of p(answer) / p(best other token); bits | a ratio of 0.9, and rank 2 … 1.1 |
| rank ≤ r | ranks | r ± 10%, rounded up to whole ranks, not below 1 |

Rounding: two right computations of a model in one dtype differ in a logit by at most δ nats. bfloat16 has 8
significant bits, so storing an activation changes it by up to 2^-9 of its size. Through a block's dozen roundings a
logit of 18 moves by 18 · sqrt(12) · 2^-9 ≈ 0.12, and by a last place more where it is itself stored: δ = 0.2. float16
has three bits more. In float32 the order of sums counts more than the last bit: logits differ by about 1e-5 relative,
δ = 18 · 1e-5. Source: the reckoning at the head of `spec/compare/tolerance.py`, classes bf16-wide and fp32. So:

- log2 of a ratio of two probabilities is off by at most 2δ / ln 2;
- p(top-1) and its lead are least where its logit is δ lower and all others δ higher, and largest the other way round;
- entropy by 0.1 bits + 5%, KL by 0.05 bits + 2%, both at δ = 0.2 as measured there, and in proportion to δ;
- a rank is off by 30%, at least by 1, and passes r only if the answer and the token there are closer than a ratio may
  be off. Where the row does not list that token, a rank in float32 is exact.

The top-1 of a row is taken as it is. Whether one that was not sure enough to be a copy stands in the prompt is not in
the tables: it is taken to, where its text without blanks is part of the prompt's text.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, inf, isfinite, log, log2

from ..core.rows import PureRow
from ..options import ENTROPY_COLLAPSE_BITS

SHARE = 0.1  # by which thresholds are moved
LOGIT_ERROR = {"bfloat16": 0.2, "float16": 0.2 / 8, "float32": 18 * 1e-5}  # δ, nats
LEAST_P = 2.0**-149  # the smallest positive float32


@dataclass(frozen=True)
class Thresholds:
    """What a run decided by: the thresholds of the copy rule, and its dtype, empty where it is not known."""

    copy: float
    copy_lead: float
    dtype: str

    @property
    def logit_error(self) -> float | None:
        """δ in nats; None of a dtype without a bound."""
        return LOGIT_ERROR.get(self.dtype)


@dataclass(frozen=True)
class Decision:
    """Whether a row holds under the loosest, the run's and the tightest threshold.

    `margin` is infinite where no change of the number turns it, None where the number is not known, or is not what the
    run's flag follows from. `turns` is whether rounding turns it, None where that is not known.
    """

    layer: int
    loose: bool
    holds: bool
    tight: bool
    margin: int | float | None  # whole ranks
    turns: bool | None


Decide = Callable[[PureRow, Thresholds], Decision]


def unknown(row: PureRow, holds: bool) -> Decision:
    return Decision(row.layer, holds, holds, holds, None, None)


def within(distance: float, error: float | None, share: float = 1.0) -> bool | None:
    """Whether a distance is at most `share` times δ."""
    return None if error is None else distance <= share * error


def copies(row: PureRow, t: Thresholds, prompt: str) -> Decision:
    """The top-1 repeats the prompt, surely (p > t.copy) and clearly (p − p(top-2) > t.copy_lead).

    `prompt` is its text, empty where it is not known.
    """
    p, second = [*(p for _, p in row.top[:2]), 0.0, 0.0][:2]
    lead = p - second
    slack = min(p - t.copy, lead - t.copy_lead)
    if not row.top or not isfinite(slack) or (row.copy_collapse and slack <= 0):
        return unknown(row, row.copy_collapse)
    if not row.copy_collapse and (slack > 0 or (prompt and not in_prompt(row.top[0][0], prompt))):
        return Decision(row.layer, False, False, False, inf, False)
    loose, tight = (p > move(t.copy) and lead > move(t.copy_lead) for move in (lowered, raised))
    turns = copy_turns(p, second, t)
    if row.copy_collapse or prompt:
        return Decision(row.layer, loose, slack > 0, tight, abs(slack), turns)
    return unknown(row, False) if loose or turns is not False else far(row)


def far(row: PureRow) -> Decision:
    """It does not hold, and neither thresholds nor rounding change that."""
    return Decision(row.layer, False, False, False, None, False)


def lowered(threshold: float) -> float:
    return threshold * (1 - SHARE)


def raised(probability: float) -> float:
    """A tenth more, but no more than a tenth of what is left to 1."""
    return min(probability * (1 + SHARE), 1 - (1 - probability) * (1 - SHARE))


def in_prompt(token: str, prompt: str) -> bool:
    """Whether a token may be a copy: it is more than blanks and punctuation, and its text is part of the prompt's."""
    text = token.strip()
    return text in prompt and not all(c.isspace() or c in string.punctuation for c in text)


def copy_turns(p: float, second: float, t: Thresholds) -> bool | None:
    """Whether rounding makes a sure and clear top-1 another, or another one sure and clear."""
    if t.logit_error is None:
        return None
    sure = p > t.copy and p - second > t.copy_lead
    shifted, lead = shift_top(p, second, -t.logit_error if sure else t.logit_error)
    return (shifted > t.copy and lead > t.copy_lead) != sure


def shift_top(p: float, second: float, error: float) -> tuple[float, float]:
    """p(top-1) and its lead where its logit is `error` nats higher and every other one as much lower."""
    top, other = p * exp(error), exp(-error)
    total = top + (1 - p) * other
    return top / total, (top - second * other) / total


def is_sure(row: PureRow, t: Thresholds) -> Decision:
    """Entropy of at most a bit."""
    share = 0.5 + 0.25 * row.entropy
    decision = at_most(row, row.entropy, ENTROPY_COLLAPSE_BITS, share, t)
    return (
        decision if decision.holds == row.entropy_collapse else unknown(row, row.entropy_collapse)
    )


def is_near(row: PureRow, t: Thresholds, bits: float) -> Decision:
    """KL to the final output of at most so many bits."""
    kl = row.kl_to_final_bits
    return unknown(row, False) if kl is None else at_most(row, kl, bits, 0.25 + 0.1 * kl, t)


def at_most(row: PureRow, value: float, level: float, share: float, t: Thresholds) -> Decision:
    """A number of bits of at most a level; rounding changes it by `share` times δ."""
    if not isfinite(value):
        return unknown(row, value <= level)
    loose, holds, tight = (value <= level * by for by in (1 + SHARE, 1, 1 - SHARE))
    distance = abs(level - value)
    return Decision(
        row.layer, loose, holds, tight, distance, within(distance, t.logit_error, share)
    )


def gap(row: PureRow, level: int) -> float | None:
    """log2 of p(answer) over that of the token which decides whether its rank is at most `level`; None if unknown.

    That token is the one at that rank where the answer stands below it, else the next one. An answer without an id
    is that of `is_answer`.
    """
    rank = row.answer_rank
    holds = row.is_answer if rank is None else rank <= level
    p = row.p_answer if rank is not None else row.top[0][1] if row.top and holds else None
    place = level if holds else level - 1
    if p is None or place >= len(row.top):
        return None
    ratio = max(p, LEAST_P) / max(row.top[place][1], LEAST_P)
    return log2(ratio) if 0 < ratio < inf else None


def is_answer(row: PureRow, t: Thresholds) -> Decision:
    """The top-1 is the answer, by the gap of their probabilities."""
    bits = gap(row, 1)
    if bits is None or (bits > 0 and not row.is_answer) or (bits < 0 and row.is_answer):
        return unknown(row, row.is_answer)
    loose = row.is_answer or (bits >= log2(1 - SHARE) and row.answer_rank == 2)
    tight = row.is_answer and bits >= log2(1 + SHARE)
    return Decision(row.layer, loose, row.is_answer, tight, abs(bits), rank_turns(row, 1, t))


def is_first(row: PureRow, t: Thresholds) -> Decision:
    """The top-1 is the answer, by its rank."""
    decision = is_ranked(row, t, 1)
    return decision if decision.holds == row.is_answer else unknown(row, row.is_answer)


def is_ranked(row: PureRow, t: Thresholds, level: int) -> Decision:
    """A rank of the answer of at most a level."""
    rank = row.answer_rank
    if rank is None:
        return unknown(row, False)
    step = ceil(SHARE * level)
    holds = rank <= level
    margin = level + 1 - rank if holds else rank - level
    loose, tight = rank <= level + step, rank <= max(1, level - step)
    return Decision(row.layer, loose, holds, tight, margin, rank_turns(row, level, t))


def rank_turns(row: PureRow, level: int, t: Thresholds) -> bool | None:
    """Whether rounding moves the rank over a level: it is near enough, and so is the gap where that is known."""
    rank = row.answer_rank or 1
    if max(level + 1 - rank, rank - level) > max(1.0, 0.3 * rank):
        return False
    bits = gap(row, level)
    if bits is not None or t.logit_error is None:
        return None if bits is None else within(abs(bits), t.logit_error, 2 / log(2))
    return t.dtype != "float32"
