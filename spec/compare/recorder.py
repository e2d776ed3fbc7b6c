"""The result of a comparison, and the recorder that every comparer writes to."""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from math import inf, isfinite
from types import MappingProxyType

from ..runs import columns
from ..runs.places import Path, Place, Row
from ..runs.values import is_float, is_integer
from .kinds import Kind
from .tolerance import Tolerance
from .topk import order_faults


@dataclass(frozen=True)
class Mismatch:
    """One difference: where it is, both values as text, and its kind."""

    place: Place
    expected: str
    obtained: str
    kind: Kind

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Kind(self.kind))

    @property
    def file(self) -> str:
        return self.place.file


@dataclass(frozen=True)
class Statistic:
    """The errors of a column of a file. `worst_error` in the column's unit, `worst_fraction` of what is allowed.

    `differing` counts the values that are not written the same, within the tolerance or beyond it. `column` is the
    column of a table, or the path of a JSON value with `[]` for list indices.
    """

    file: str
    column: str
    compared: int = 0
    differing: int = 0
    worst_error: float = 0.0
    worst_fraction: float = 0.0
    worst_place: Place | None = None

    @property
    def worst_row(self) -> str:
        """The row of the worst value as printed."""
        return self.worst_place.row_text if self.worst_place else ""


@dataclass(slots=True)
class Tally:
    """The numbers of a Statistic while its column is being compared."""

    compared: int = 0
    differing: int = 0
    worst_error: float = 0.0
    worst_fraction: float = 0.0
    worst_place: Place | None = None

    def add(self, place: Place, error: float, fraction: float, same: bool) -> None:
        self.compared += 1
        self.differing += not same
        if fraction > self.worst_fraction or error > self.worst_error:
            self.worst_place = place if fraction >= self.worst_fraction else self.worst_place
            self.worst_error = max(error, self.worst_error)
            self.worst_fraction = max(fraction, self.worst_fraction)

    def statistic(self, file: str, column: str) -> Statistic:
        return Statistic(
            file,
            column,
            self.compared,
            self.differing,
            self.worst_error,
            self.worst_fraction,
            self.worst_place,
        )


@dataclass(frozen=True)
class Comparison:
    """All mismatches and statistics of two runs; they match where there is no mismatch."""

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
        """The statistic of each column, in the order in which they were compared."""
        return [tally.statistic(self.file, name) for name, tally in self.tallies.items()]

    def under(self, tolerance: Tolerance) -> "Recorder":
        """A recorder of the same file and the same lists that judges by another tolerance."""
        other = copy(self)
        other.tolerance = tolerance
        return other

    def mismatch(self, place: Place, expected: str, obtained: str, kind: Kind) -> None:
        self.mismatches.append(Mismatch(place, expected, obtained, kind))

    def undemanded(self, path: Path, expected: str, obtained: str) -> None:
        """Take two JSON values that the contract does not demand; this recorder ignores them."""

    def compared_rows(self, rows: Collection[Row]) -> None:
        """Take rows of a table that both sides have, at least one of each layer; this recorder ignores them."""

    def equal(self, column: str, count: int = 1) -> None:
        """Count compared values of a column that both sides write alike."""
        self.tallies.setdefault(column, Tally()).compared += count

    def tally(
        self,
        place: Place,
        column: str,
        error: float = 0.0,
        fraction: float = 0.0,
        same: bool = True,
    ) -> None:
        """Count one compared value of a column; `same` where both sides write it alike."""
        self.tallies.setdefault(column, Tally()).add(place, error, fraction, same)

    def value(self, place: Place, column: str, expected: str, obtained: str, quantity: str) -> None:
        """Compare two written values of a quantity and count them for `column`."""
        kind, error, fraction = judge(expected, obtained, quantity, self.tolerance)
        self.tally(place, column, error, fraction, expected == obtained)
        if kind is not None:
            self.mismatch(place, expected, obtained, kind)


def topk_faults(
    recorder: Recorder, expected: Sequence[str], listed: Sequence[float], obtained: Sequence[str]
) -> list[int]:
    """Positions at which a top-k list has a wrong token, by the recorder's tolerance."""
    tolerance = recorder.tolerance
    ties = partial(tolerance.ties, columns.PROBABILITY)
    return order_faults(expected, listed, obtained, ties, tolerance.open_end)


def judge(
    expected: str, obtained: str, quantity: str, tolerance: Tolerance
) -> tuple[Kind | None, float, float]:
    """The kind of mismatch between two written values (None for none), |error|, and its share of what is allowed."""
    if expected == obtained:
        return None, 0.0, 0.0
    if not expected or not obtained:
        return Kind.ABSENT, 0.0, 0.0
    if quantity in (columns.TEXT, columns.FLAG):
        return Kind.VALUE, 0.0, 0.0
    whole = quantity in (columns.INTEGER, columns.RANK)
    is_number = is_integer if whole else is_float
    if not is_number(obtained):
        return Kind.FORMAT, 0.0, 0.0
    if not is_number(expected):
        return Kind.VALUE, 0.0, 0.0
    error, fraction = distance(float(expected), float(obtained), quantity, tolerance)
    return (None if fraction <= 1 else Kind.VALUE), error, fraction


def absolute_error(expected: float, obtained: float) -> float:
    """|obtained − expected| of two different numbers, infinite where one of them is not finite."""
    both_finite = isfinite(expected) and isfinite(obtained)
    return abs(obtained - expected) if both_finite else inf


def distance(
    expected: float, obtained: float, quantity: str, tolerance: Tolerance
) -> tuple[float, float]:
    """|obtained − expected| of two different numbers, and its share of what is allowed."""
    error = absolute_error(expected, obtained)
    if quantity not in (columns.INTEGER, columns.RANK):
        return error, tolerance.fraction(quantity, expected, obtained)
    moves = tolerance.rank_moves(int(expected)) if quantity == columns.RANK else 0
    return error, error / moves if moves else inf
