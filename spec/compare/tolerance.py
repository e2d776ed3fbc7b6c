"""How far an obtained number may be from the expected one. Everything that is not a float compares exactly.

Class fp32: |obtained − expected| ≤ 2e-6 + 1e-4 · |expected|, ranks exact. Two float32 forward passes of one model
differ by about 1e-5 relative in the logits; no decision of a golden case lies nearer than 1e-4 to its threshold.

A saved residual is a vector: its components are sums of terms of the vector's size, so their rounding errors follow
that size and not their own, and a component near zero is as uncertain as its neighbours. The relative part therefore
applies to the larger of |expected| and the root mean square of the vector, about 1 after a norm.

Class bf16: bfloat16 has 8 significant bits, so each stored activation is off by up to 2^-8 ≈ 0.4%. Through a block's
dozen roundings the final residual, and with it every logit (|z| up to about 8), moves by about
8 · sqrt(12) · 2^-9 ≈ 0.05, and a logit that is itself stored in bfloat16 (test prompts, final prediction) by one last
place more, 2^-5 … 2^-4: δ = 0.1. What follows from δ for each quantity:

  probability, rest, margin   ∂p/∂z = p (1 − p): off by at most 2δ · p (1 − p), hence 0.2 · p (1 − p); a difference of
                              two probabilities has no such bound of its own and gets 1e-3 + 0.1 · |margin|
  entropy                     Σ of the above times log p: 0.05 bits + 5%
  KL                          up to 2δ / ln 2 ≈ 0.3 bits where p and q differ wholly (2% of the 13 bits seen here),
                              second order in δ where they nearly agree: 0.05 bits + 2%
  cosine                      the logits' relative error, both vectors: 0.02
  temperature                 one step of the grid of 25 log-spaced values, a factor of 10^(2/24): 22%
  residual                    one stored bfloat16 value: 2^-6 relative, plus 0.05 where a component is near zero
  rank                        the vocabulary's tail is dense, so a rank over 5 may move by 10%, at least 1; ranks 1 … 5
                              decide milestones and stay exact

  top-k lists                 listed tokens that tie may swap in both classes; what lies below a list is not known, and
                              with 115 tokens in a flat tail some always tie with the last listed: bf16 lets such a
                              token in, fp32 does not, else a wrong last token would never be found

Measured on `fact`: the same weights in float32 instead stay within 0.13 · p (1 − p), 0.06 bits of entropy, 0.09 bits of
KL, 0.003 of cosine. Flags, milestones and layers are exact in both classes.

Class bf16-wide: the same reckoning for models whose logits reach 18, a Gemma with tied embeddings among them, and for
lists at a low temperature. The final residual moves a logit by 18 · sqrt(12) · 2^-9 ≈ 0.12, and a logit that is itself
stored in bfloat16 is off by one last place more, 2^-4 … 2^-3: δ = 0.2. What differs from class bf16:

  probability, rest           2δ · p (1 − p) = 0.4 · p (1 − p)
  entropy                     0.1 bits + 5%
  rank                        of 115 tokens some six stand within 2δ of the answer: a rank over 5 may move by 30%, over
                              20 by 6 places, over 60 by 10%
  a list at temperature T     its logits are divided by T, and so are what they and their entropy may be off by
  decisions                   those that one number makes against a fixed threshold are open where the captured number
                              stands within its tolerance of it, see thresholds.py; all others are exact

Measured against the captures, the same weights in float32, which are nearer to what the model computes: `gemma-bf16`
stays within 0.29 · p (1 − p), 0.11 bits of entropy, 3 ranks; `layernorm-bf16` within 0.16 · p (1 − p), at a temperature
of 0.1 within 0.33. Class bf16 refuses both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from types import MappingProxyType

from ..runs import columns


@dataclass(frozen=True)
class Bound:
    """Allowed distance = atol + rtol · |expected|, times (1 − |expected|) too where the quantity saturates at 1."""

    rtol: float
    atol: float
    saturates: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.rtol < inf and 0 <= self.atol < inf):
            raise ValueError(
                f"a bound needs finite rtol, atol ≥ 0, got {self.rtol}, {self.atol}; use 0 for exact"
            )

    def times(self, factor: float) -> "Bound":
        return replace(self, rtol=self.rtol * factor, atol=self.atol * factor)

    def allowed(self, expected: float) -> float:
        size = abs(expected)
        return self.atol + self.rtol * size * (max(0.0, 1 - size) if self.saturates else 1)


EXACT = Bound(0.0, 0.0)
TAIL = 6  # tokens of the vocabulary's tail that may pass an answer


@dataclass(frozen=True)
class Tolerance:
    """A named class of bounds, one per quantity of `columns.quantity`, and the slack of ranks over 5.

    A rank may move by `tail_slack`, at most TAIL places, and by `rank_slack` where that is more.
    `open_end`: a token from below a top-k list may replace one that ties with its last.
    `open_thresholds`: a number near a threshold may decide either way.
    `scales_with_temperature`: a list at a temperature T below 1 is held to 1 / T times the bounds.
    """

    name: str
    default: Bound
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    rank_slack: float = 0.0
    tail_slack: float = 0.0
    open_end: bool = False
    open_thresholds: bool = False
    scales_with_temperature: bool = False

    def __post_init__(self) -> None:
        if unknown := set(self.bounds) - columns.FLOATS:
            raise ValueError(
                f"bounds are keyed by quantities, got {sorted(unknown)}; use {', '.join(sorted(columns.FLOATS))}"
            )
        for name in ("rank_slack", "tail_slack"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is a share in [0, 1), got {getattr(self, name)}; 0 means exact"
                )
        object.__setattr__(
            self, "bounds", MappingProxyType({columns.EXACT_FLOAT: EXACT, **self.bounds})
        )

    def allowed(self, quantity: str, expected: float) -> float:
        """The largest |obtained − expected| that passes, in the quantity's own unit."""
        return self.bounds.get(quantity, self.default).allowed(expected)

    def fraction(
        self, quantity: str, expected: float, obtained: float, scale: float = 0.0
    ) -> float:
        """|obtained − expected| as a share of what is allowed: ≤ 1 passes. NaN equals nothing.

        The relative part applies to |expected|, or to `scale` where that is larger.
        """
        if obtained == expected:
            return 0.0
        if not (isfinite(obtained) and isfinite(expected)):
            return inf
        allowed = self.allowed(quantity, max(abs(expected), scale))
        return abs(obtained - expected) / allowed if allowed else inf

    def ties(self, quantity: str, a: float, b: float) -> bool:
        """Whether two expected values are closer than the tolerance, so that their order means nothing."""
        return min(self.fraction(quantity, a, b), self.fraction(quantity, b, a)) <= 1

    def rank_moves(self, expected: int) -> int:
        """How far a rank may move."""
        if expected <= 5 or not self.rank_slack:
            return 0
        tail = min(TAIL, int(self.tail_slack * expected))
        return max(1, tail, int(self.rank_slack * expected))

    def at_temperature(self, temperature: float) -> "Tolerance":
        """The class for lists of logits divided by `temperature`; below 1 it widens, where the class has it so."""
        if not self.scales_with_temperature:
            return self
        factor = max(1.0, 1 / temperature) if temperature > 0 else 1.0
        warmed = {
            name: self.bounds[name].times(factor)
            for name in (columns.PROBABILITY, columns.ENTROPY)
            if name in self.bounds
        }
        return replace(self, bounds={**self.bounds, **warmed})


_BF16 = {
    columns.PROBABILITY: Bound(0.2, 1e-5, saturates=True),
    columns.REST: Bound(0.2, 1e-4, saturates=True),
    columns.MARGIN: Bound(0.1, 1e-3),
    columns.ENTROPY: Bound(0.05, 0.05),
    columns.KL: Bound(0.02, 0.05),
    columns.COSINE: Bound(0.0, 0.02),
    columns.TEMPERATURE: Bound(0.22, 0.0),
    columns.RESIDUAL: Bound(2**-6, 0.05),
}
FP32 = Tolerance("fp32", Bound(1e-4, 2e-6))
BF16 = Tolerance("bf16", Bound(0.05, 1e-3), _BF16, rank_slack=0.1, open_end=True)
BF16_WIDE = Tolerance(
    "bf16-wide",
    Bound(0.05, 1e-3),
    {
        **_BF16,
        columns.PROBABILITY: Bound(0.4, 1e-5, saturates=True),
        columns.REST: Bound(0.4, 1e-4, saturates=True),
        columns.ENTROPY: Bound(0.05, 0.1),
    },
    rank_slack=0.1,
    tail_slack=0.3,
    open_end=True,
    open_thresholds=True,
    scales_with_temperature=True,
)
CLASSES: Mapping[str, Tolerance] = MappingProxyType({t.name: t for t in (FP32, BF16, BF16_WIDE)})


def by_name(name: str) -> Tolerance:
    """The class of that name; raises ValueError listing the known ones."""
    if name not in CLASSES:
        raise ValueError(
            f"a tolerance class is one of {', '.join(CLASSES)}, got {name!r}; use one of them"
        )
    return CLASSES[name]
