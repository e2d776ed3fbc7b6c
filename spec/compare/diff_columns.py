"""Two runs of one model, column by column and layer by layer: how far they are apart, and where that begins."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from sys import float_info
from typing import NamedTuple

from ..runs.columns import without_numbers
from ..runs.listing import RESIDUAL_PART, part_of, residual_layer
from ..runs.places import Path, Place, Row, TableRow
from .column import column_of
from .kinds import Kind
from .recorder import Recorder
from .runs import Mismatch
from .tolerance import Tolerance


class PassLayer(NamedTuple):
    """A layer of a pass in a table, or of the residual."""

    table: str
    pass_name: str
    layer: int


class Entry(NamedTuple):
    """One value that differs: its place, |error|, its share of what is allowed, whether both sides write it alike."""

    place: Place
    column: str
    error: float
    fraction: float
    same: bool


@dataclass(frozen=True)
class Note:
    """A value of a document that the contract does not demand and that differs between the runs; both as JSON."""

    file: str
    path: Path
    a: str
    b: str


class ValueRecorder(Recorder):
    """A recorder that stores every value that differs too, for medians and layers, and what is not judged.

    `passes` are those of which both sides have a row with a layer; of a residual, the one that it belongs to.
    """

    def __init__(self, file: str, tolerance: Tolerance) -> None:
        super().__init__(file, tolerance)
        self.entries: list[Entry] = []
        self.notes: list[Note] = []
        residual = pass_layer(Place(file))
        self.passes: dict[tuple[str, str], None] = dict.fromkeys([residual[:2]] if residual else [])

    def compared_rows(self, rows: Collection[Row]) -> None:
        part = part_of(self.file)
        layers = [row for row in rows if isinstance(row, TableRow) and row.layer_index is not None]
        self.passes |= {(part, row.pass_name): None for row in layers}

    def undemanded(self, path: Path, expected: str, obtained: str) -> None:
        if expected != obtained:
            self.notes.append(Note(self.file, path, expected, obtained))

    def tally(
        self,
        place: Place,
        column: str,
        error: float = 0.0,
        fraction: float = 0.0,
        same: bool = True,
    ) -> None:
        super().tally(place, column, error, fraction, same)
        if fraction or not same:
            self.entries.append(Entry(place, column, error, fraction, same))


@dataclass(frozen=True)
class ColumnDiff:
    """The errors of a column in its unit, over all values compared. `layer`: the first one beyond tolerance.

    `differing` values are not written alike, `beyond` of them beyond the tolerance.
    """

    name: str
    compared: int
    differing: int
    beyond: int
    median_error: float
    worst_error: float
    worst_fraction: float
    worst_place: Place | None
    layer: int | None

    @property
    def differs(self) -> bool:
        return self.beyond > 0 or self.differing > 0

    @property
    def worst_row(self) -> str:
        """The row of the worst value as printed."""
        return self.worst_place.row_text if self.worst_place else ""


@dataclass(frozen=True)
class FirstDivergence:
    """Where a pass of a table begins to differ, and to differ by more than the tolerance; `column` the worst there."""

    table: str
    pass_name: str
    first_difference: int | None
    first_beyond: int | None
    column: str


def pass_layer(place: Place) -> PassLayer | None:
    """Table, pass and layer of a value; None where it belongs to none."""
    layer = residual_layer(place.file)
    if layer is not None:
        return PassLayer(RESIDUAL_PART, "pos/orig", layer)
    row = place.spot
    if not isinstance(row, TableRow) or row.layer_index is None:
        return None
    return PassLayer(part_of(place.file), row.pass_name, row.layer_index)


def column_diffs(
    recorders: Sequence[ValueRecorder], mismatches: Sequence[Mismatch]
) -> list[ColumnDiff]:
    """Every column of every kind of file, those beyond tolerance first, then by their worst share of it."""
    compared: Counter[str] = Counter()
    entries: dict[str, list[Entry]] = defaultdict(list)
    mismatches_of: dict[str, list[Mismatch]] = defaultdict(list)
    for recorder in recorders:
        part = part_of(recorder.file)
        for column, tally in recorder.tallies.items():
            compared[f"{part}: {without_numbers(column)}"] += tally.compared
        for entry in recorder.entries:
            entries[f"{part}: {without_numbers(entry.column)}"].append(entry)
    for mismatch in mismatches:
        mismatches_of[str(column_of(mismatch))].append(mismatch)
    columns = [
        column_diff(name, count, entries.get(name, []), mismatches_of.get(name, []))
        for name, count in compared.items()
    ]
    return sorted(columns, key=lambda column: (not column.beyond, -column.worst_fraction))


def column_diff(
    name: str, compared: int, entries: Sequence[Entry], mismatches: Sequence[Mismatch]
) -> ColumnDiff:
    """One column; what is no number has no error, only a count of values beyond.

    `entries` are those of the `compared` values that differ.
    """
    errors = [entry.error for entry in entries]
    worst = max(entries, key=lambda entry: (entry.fraction, entry.error), default=None)
    beyond = [entry.place for entry in entries if not entry.fraction <= 1]
    places = [*beyond, *(mismatch.place for mismatch in mismatches)]
    layers = [located.layer for place in places if (located := pass_layer(place))]
    first = mismatches[0].place if mismatches else None
    return ColumnDiff(
        name,
        compared,
        sum(not entry.same for entry in entries),
        max(len(beyond), len(mismatches)),
        median_of(errors, compared),
        max(errors, default=0.0),
        worst.fraction if worst else 0.0,
        worst.place if worst and worst.fraction else first,
        min(layers, default=None),
    )


def median_of(errors: Sequence[float], compared: int) -> float:
    """The median of `compared` numbers ≥ 0, of which all but `errors` are 0."""
    if 2 * len(errors) < compared:
        return 0.0
    return median([*errors, *[0.0] * (compared - len(errors))])


def located(
    recorders: Sequence[ValueRecorder], mismatches: Sequence[Mismatch]
) -> Iterator[tuple[PassLayer, str, float]]:
    """Every value of a layer that differs: where, its column, its share of the tolerance; inf for a mismatched text."""
    for recorder in recorders:
        for entry in recorder.entries:
            if place := pass_layer(entry.place):
                least = 0.0 if entry.same else float_info.min
                yield place, without_numbers(entry.column), entry.fraction or least
    for mismatch in mismatches:
        if mismatch.place.column and (place := pass_layer(mismatch.place)):
            fraction = 1.0 if mismatch.kind == Kind.VALUE else float("inf")
            yield place, column_of(mismatch).name, fraction


def first_divergences(
    recorders: Sequence[ValueRecorder], mismatches: Sequence[Mismatch]
) -> list[FirstDivergence]:
    """One line for each pass of each table, in the files' order. Rows that only one run has are left out."""
    beyond = {
        (place, column_of(mismatch).name)
        for mismatch in mismatches
        if mismatch.place.column and (place := pass_layer(mismatch.place))
    }
    worst: dict[tuple[str, str], dict[int, tuple[bool, float, str]]] = defaultdict(dict)
    worst |= {name: {} for recorder in recorders for name in recorder.passes}
    for place, column, fraction in located(recorders, mismatches):
        value = ((place, column) in beyond or not fraction <= 1, fraction, column)
        layers = worst[place.table, place.pass_name]
        layers[place.layer] = max(layers.get(place.layer, value), value)
    return [first_divergence(table, name, layers) for (table, name), layers in worst.items()]


def first_divergence(
    table: str, pass_name: str, layers: dict[int, tuple[bool, float, str]]
) -> FirstDivergence:
    """The first layer that differs, and the first beyond the tolerance, with the worst column there."""
    differing = [layer for layer, (beyond, fraction, _) in layers.items() if beyond or fraction]
    broken = [layer for layer, (beyond, _, _) in layers.items() if beyond]
    first, first_beyond = min(differing, default=None), min(broken, default=None)
    layer = first_beyond if first_beyond is not None else first
    column = layers[layer][2] if layer is not None else ""
    return FirstDivergence(table, pass_name, first, first_beyond, column)
