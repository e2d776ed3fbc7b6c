"""What a comparison finds, and the one ledger that every comparer writes to."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import astuple, dataclass, field
from functools import partial
from math import isfinite
from types import MappingProxyType

from ..runs import columns
from ..runs.values import is_float, is_integer
from .tolerance import Tolerance
from .topk import order_faults


@dataclass(frozen=True)
class Mismatch:
    """One difference. `row` names the row in words; `kind` says what differs: value, format, order, missing, …"""

    file: str
    row: str
    column: str
    expected: str
    obtained: str
    kind: str


@dataclass(frozen=True)
class Statistic:
    """How a column of a file fared. `worst_error` in the column's unit, `worst_fraction` of what is allowed.

    `differing` counts the values that are not written the same, within the tolerance or beyond it.
    """

    file: str
    column: str
    compared: int = 0
    differing: int = 0
    worst_error: float = 0.0
    worst_fraction: float = 0.0
    worst_row: str = ""


@dataclass(slots=True)
class Tally:
    """The numbers of a Statistic while its column is being compared."""

    compared: int = 0
    differing: int = 0
    worst_error: float = 0.0
    worst_fraction: float = 0.0
    worst_row: str = ""

    def add(self, row: str, error: float, fraction: float, same: bool) -> None:
        self.compared += 1
        self.differing += not same
        if fraction > self.worst_fraction or error > self.worst_error:
            self.worst_row = row if fraction >= self.worst_fraction else self.worst_row
            self.worst_error = max(error, self.worst_error)
            self.worst_fraction = max(fraction, self.worst_fraction)


@dataclass(frozen=True)
class Comparison:
    """Everything found between two runs; they match where there is no mismatch."""

    mismatches: tuple[Mismatch, ...]
    statistics: tuple[Statistic, ...]
    values: Mapping[str, int] = field(default_factory=dict)  # values compared, by file

    def __post_init__(self) -> None:
        if any(count < 0 for count in self.values.values()):
            raise ValueError(
                f"counts of values are ≥ 0, got {dict(self.values)}; count what was compared"
            )
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    @property
    def matches(self) -> bool:
        return not self.mismatches

    @property
    def compared(self) -> int:
        return sum(self.values.values())


class Recorder:
    """Collects the mismatches and statistics of one file."""

    def __init__(self, file: str, tolerance: Tolerance) -> None:
        self.file = file
        self.tolerance = tolerance
        self.mismatches: list[Mismatch] = []
        self.tallies: dict[str, Tally] = {}

    @property
    def statistics(self) -> list[Statistic]:
        """How each column fared, in the order in which they were compared."""
        return [Statistic(self.file, name, *astuple(t)) for name, t in self.tallies.items()]

    def under(self, tolerance: Tolerance) -> "Recorder":
        """The same ledger, judging by another tolerance: what it collects, both hold."""
        other = copy(self)
        other.tolerance = tolerance
        return other

    def mismatch(self, row: str, column: str, expected: str, obtained: str, kind: str) -> None:
        self.mismatches.append(Mismatch(self.file, row, column, expected, obtained, kind))

    def undemanded(self, place: str, expected: str, obtained: str) -> None:
        """Take note of two values that no runner is held to; here they may be anything."""

    def tally(
        self, row: str, column: str, error: float = 0.0, fraction: float = 0.0, same: bool = True
    ) -> None:
        """Count one compared value; `same` where both sides write it alike."""
        if column not in self.tallies:
            self.tallies[column] = Tally()
        self.tallies[column].add(row, error, fraction, same)

    def value(
        self, row: str, column: str, expected: str, obtained: str, quantity: str, name: str = ""
    ) -> None:
        """Compare two written values of a quantity; the statistic is kept under `name`, by default the column."""
        verdict, error, fraction = judge(expected, obtained, quantity, self.tolerance)
        self.tally(row, name or column, error, fraction, expected == obtained)
        if verdict:
            self.mismatch(row, column, expected, obtained, verdict)


def topk_faults(
    recorder: Recorder, expected: Sequence[str], listed: Sequence[float], obtained: Sequence[str]
) -> list[int]:
    """Positions at which a top-k list has a wrong token, by the ledger's tolerance."""
    tolerance = recorder.tolerance
    ties = partial(tolerance.ties, columns.PROBABILITY)
    return order_faults(expected, listed, obtained, ties, tolerance.open_end)


def judge(
    expected: str, obtained: str, quantity: str, tolerance: Tolerance
) -> tuple[str, float, float]:
    """The kind of mismatch between two written values ("" for none), |error|, and its share of what is allowed."""
    if expected == obtained:
        return "", 0.0, 0.0
    if not expected or not obtained:
        return "absent", 0.0, 0.0
    if quantity in (columns.TEXT, columns.FLAG):
        return "value", 0.0, 0.0
    whole = quantity in (columns.INTEGER, columns.RANK)
    if not (is_integer(obtained) if whole else is_float(obtained)):
        return "format", 0.0, 0.0
    if not (is_integer(expected) if whole else is_float(expected)):
        return "value", 0.0, 0.0
    a, b = float(expected), float(obtained)
    if whole:
        moves = tolerance.rank_moves(int(a)) if quantity == columns.RANK else 0
        fraction = abs(a - b) / moves if moves else float("inf")
    else:
        fraction = tolerance.fraction(quantity, a, b)
    error = abs(a - b) if isfinite(a) and isfinite(b) else float("inf")
    return ("" if fraction <= 1 else "value"), error, fraction
