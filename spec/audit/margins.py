"""A decision and its margin: the distance, in tolerances, of its numbers from the point where it flips.

A number against a fixed threshold flips the decision when it moves by its own tolerance; two numbers against each other
may both move, so their tolerances add up. A decision with a margin of 1 or less is fragile: a runner whose numbers are
all within tolerance could decide otherwise, and fail.
"""

from dataclasses import dataclass

from ..compare.thresholds import DECISIONS
from ..compare.tolerance import Tolerance
from ..runs import columns


@dataclass(frozen=True)
class Decision:
    """One decision: case, kind of file, row as text, name; the value, its threshold or other value, the margin.

    `forgiven` marks an order of tied tokens, or a number near a threshold that its class leaves open: the comparison
    accepts both outcomes.
    """

    case: str
    file: str
    row: str
    name: str
    value: float
    threshold: float
    margin: float
    forgiven: bool = False

    def __post_init__(self) -> None:
        if not self.margin >= 0:
            raise ValueError(
                f"a margin is ≥ 0 tolerances, got {self.margin}; divide distances by allowed distances"
            )

    @property
    def fragile(self) -> bool:
        return self.margin <= 1 and not self.forgiven

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.case, self.file, self.row, self.name


@dataclass(frozen=True)
class Place:
    """The place of decisions: case, kind of file, row; and the case's tolerance."""

    case: str
    file: str
    row: str
    tolerance: Tolerance

    def threshold(self, name: str, quantity: str, value: float, threshold: float) -> Decision:
        """Return the decision of a number of a quantity against a fixed threshold."""
        margin = abs(value - threshold) / self.tolerance.allowed(quantity, value)
        forgiven = self.tolerance.open_thresholds and name in DECISIONS and margin <= 1
        return Decision(self.case, self.file, self.row, name, value, threshold, margin, forgiven)

    def order(
        self, name: str, a: float, b: float, forgivable: bool = False, quantity: str = ""
    ) -> Decision:
        """Return the decision of two numbers of one quantity, by default probabilities, against each other."""
        kind = quantity or columns.PROBABILITY
        forgiven = forgivable and self.tolerance.ties(kind, a, b)
        margin = abs(a - b) / (self.tolerance.allowed(kind, a) + self.tolerance.allowed(kind, b))
        return Decision(self.case, self.file, self.row, name, a, b, margin, forgiven)
