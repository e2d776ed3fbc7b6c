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
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from types import MappingProxyType

from . import columns


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

    def allowed(self, expected: float) -> float:
        size = abs(expected)
        return self.atol + self.rtol * size * (max(0.0, 1 - size) if self.saturates else 1)


EXACT = Bound(0.0, 0.0)


@dataclass(frozen=True)
class Tolerance:
    """A named class of bounds, one per quantity of `columns.quantity`, and the slack of ranks over 5."""

    name: str
    default: Bound
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    rank_slack: float = 0.0
    open_end: bool = (
        False  # whether a token from below a top-k list may replace one that ties with its last
    )

    def __post_init__(self) -> None:
        if unknown := set(self.bounds) - columns.FLOATS:
            raise ValueError(
                f"bounds are keyed by quantities, got {sorted(unknown)}; use {', '.join(sorted(columns.FLOATS))}"
            )
        if not 0 <= self.rank_slack < 1:
            raise ValueError(
                f"rank_slack is a share in [0, 1), got {self.rank_slack}; 0 means exact"
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
        return max(1, int(self.rank_slack * expected)) if self.rank_slack and expected > 5 else 0


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
CLASSES: Mapping[str, Tolerance] = MappingProxyType({t.name: t for t in (FP32, BF16)})


def by_name(name: str) -> Tolerance:
    """The class of that name; raises ValueError listing the known ones."""
    if name not in CLASSES:
        raise ValueError(
            f"a tolerance class is one of {', '.join(CLASSES)}, got {name!r}; use one of them"
        )
    return CLASSES[name]
