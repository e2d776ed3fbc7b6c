"""Two runs of one model, column by column and layer by layer: how far they are apart, and where that begins."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from sys import float_info
from typing import NamedTuple

from .recorder import Recorder
from .runs import Mismatch
from .stages import column_name, column_of, general, part_of
from .tolerance import Tolerance

ROW = re.compile(r"(.*?/.*?) layer (\d+)(?= |$)")
RESIDUAL = re.compile(r"_(\d\d+)_resid\.pt$")
Spot = tuple[str, str, int]  # table, pass, layer


class Entry(NamedTuple):
    """One compared value: where, |error|, its share of what is allowed, and whether both sides write it alike."""

    row: str
    column: str
    error: float
    fraction: float
    same: bool


@dataclass(frozen=True)
class Note:
    """A value that no runner is held to and that the runs have not in common, as JSON."""

    file: str
    place: str
    a: str
    b: str


class ValueRecorder(Recorder):
    """A recorder that keeps every compared value too, for medians and layers, and what is not judged."""

    def __init__(self, file: str, tolerance: Tolerance) -> None:
        super().__init__(file, tolerance)
        self.entries: list[Entry] = []
        self.notes: list[Note] = []

    def undemanded(self, place: str, expected: str, obtained: str) -> None:
        if expected != obtained:
            self.notes.append(Note(self.file, place, expected, obtained))

    def tally(
        self, row: str, column: str, error: float = 0.0, fraction: float = 0.0, same: bool = True
    ) -> None:
        super().tally(row, column, error, fraction, same)
        self.entries.append(Entry(row, column, error, fraction, same))


@dataclass(frozen=True)
class ColumnDiff:
    """How a column fared: errors in its unit, over all values compared. `layer`: the first one beyond tolerance.

    `differing` values are not written alike, `beyond` of them beyond the tolerance.
    """

    name: str
    compared: int
    differing: int
    beyond: int
    median_error: float
    worst_error: float
    worst_fraction: float
    worst_row: str
    layer: int | None

    @property
    def differs(self) -> bool:
        return self.beyond > 0 or self.differing > 0


@dataclass(frozen=True)
class FirstDivergence:
    """Where a pass of a table begins to differ, and to differ by more than the tolerance; `column` the worst there."""

    table: str
    where: str
    first_difference: int | None
    first_beyond: int | None
    column: str


@lru_cache(maxsize=4096)
def spot(file: str, row: str) -> Spot | None:
    """Table, pass and layer of a value; None where it belongs to none."""
    if found := RESIDUAL.search(file):
        return "residual", "pos/orig", int(found[1])
    found = ROW.match(row)
    return (part_of(file), found[1], int(found[2])) if found else None


def column_diffs(
    recorders: Sequence[ValueRecorder], mismatches: Sequence[Mismatch]
) -> list[ColumnDiff]:
    """Every column of every kind of file, those beyond tolerance first, then by their worst share of it."""
    entries: dict[str, list[tuple[str, Entry]]] = defaultdict(list)
    wrong: dict[str, list[Mismatch]] = defaultdict(list)
    for recorder in recorders:
        for entry in recorder.entries:
            entries[f"{part_of(recorder.file)}: {general(entry.column)}"].append(
                (recorder.file, entry)
            )
    for mismatch in mismatches:
        wrong[column_name(mismatch)].append(mismatch)
    found = [column_diff(name, values, wrong.get(name, [])) for name, values in entries.items()]
    return sorted(found, key=lambda column: (not column.beyond, -column.worst_fraction))


def column_diff(
    name: str, values: Sequence[tuple[str, Entry]], wrong: Sequence[Mismatch]
) -> ColumnDiff:
    """One column; what is no number has no error, only a count of values beyond."""
    numbers = [entry for _, entry in values]
    worst = max(numbers, key=lambda entry: (entry.fraction, entry.error))
    beyond = max(sum(not entry.fraction <= 1 for entry in numbers), len(wrong))
    row = worst.row if worst.fraction else wrong[0].row if wrong else ""
    places = [spot(file, entry.row) for file, entry in values if not entry.fraction <= 1]
    places += [spot(mismatch.file, mismatch.row) for mismatch in wrong]
    layers = [place[2] for place in places if place]
    errors = [entry.error for entry in numbers]
    largest = max(errors)
    return ColumnDiff(
        name,
        len(errors),
        sum(not entry.same for entry in numbers),
        beyond,
        median(errors),
        largest,
        worst.fraction,
        row,
        min(layers, default=None),
    )


def located(
    recorders: Sequence[ValueRecorder], mismatches: Sequence[Mismatch]
) -> Iterator[tuple[Spot, str, float]]:
    """Every value that belongs to a layer: where, its column, its share of the tolerance; inf for a mismatched text."""
    for recorder in recorders:
        for entry in recorder.entries:
            if place := spot(recorder.file, entry.row):
                least = 0.0 if entry.same else float_info.min
                yield place, general(entry.column), entry.fraction or least
    for mismatch in mismatches:
        if mismatch.column and (place := spot(mismatch.file, mismatch.row)):
            yield place, column_of(mismatch), float("inf") if mismatch.kind != "value" else 1.0


def partings(
    recorders: Sequence[ValueRecorder], mismatches: Sequence[Mismatch]
) -> list[FirstDivergence]:
    """One line for each pass of each table, in the files' order. Rows that only one run has are told elsewhere."""
    beyond = {
        (place, column_of(m)) for m in mismatches if m.column and (place := spot(m.file, m.row))
    }
    worst: dict[tuple[str, str], dict[int, tuple[bool, float, str]]] = defaultdict(dict)
    for (table, where, layer), column, fraction in located(recorders, mismatches):
        found = (((table, where, layer), column) in beyond or not fraction <= 1, fraction, column)
        worst[table, where][layer] = max(worst[table, where].get(layer, found), found)
    return [parting(table, where, layers) for (table, where), layers in worst.items()]


def parting(table: str, where: str, layers: dict[int, tuple[bool, float, str]]) -> FirstDivergence:
    differing = [layer for layer, (beyond, fraction, _) in layers.items() if beyond or fraction]
    broken = [layer for layer, (beyond, _, _) in layers.items() if beyond]
    first, last = min(differing, default=None), min(broken, default=None)
    named = last if last is not None else first
    return FirstDivergence(table, where, first, last, layers[named][2] if named is not None else "")
