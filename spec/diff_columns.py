"""Two runs of one model, column by column and layer by layer: how far they are apart, and where that begins."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from .compare import Mismatch
from .compare_ledger import Ledger
from .tolerance import Tolerance

ROW = re.compile(r"([^\s/]+/[^\s/]+) layer (\d+) pos \d+")
RESIDUAL = re.compile(r"_(\d\d+)_resid\.pt$")
Spot = tuple[str, str, int]  # table, pass, layer


@dataclass(frozen=True)
class Entry:
    """One compared value: where, |error|, and its share of what is allowed."""

    row: str
    column: str
    error: float
    fraction: float


class Recorder(Ledger):
    """A ledger that keeps every compared value too, for medians and layers."""

    def __init__(self, file: str, tolerance: Tolerance) -> None:
        super().__init__(file, tolerance)
        self.entries: list[Entry] = []

    def tally(self, row: str, column: str, error: float = 0.0, fraction: float = 0.0) -> None:
        super().tally(row, column, error, fraction)
        self.entries.append(Entry(row, column, error, fraction))


@dataclass(frozen=True)
class ColumnDiff:
    """How a column fared: errors in its unit, over all values compared. `layer`: the first one beyond tolerance."""

    name: str
    compared: int
    beyond: int
    median_error: float
    worst_error: float
    worst_fraction: float
    worst_row: str
    layer: int | None

    @property
    def differs(self) -> bool:
        return self.beyond > 0 or self.worst_error > 0 or self.worst_fraction > 0


@dataclass(frozen=True)
class Parting:
    """Where a pass of a table begins to differ, and to differ by more than the tolerance; `column` the worst there."""

    table: str
    where: str
    first_difference: int | None
    first_beyond: int | None
    column: str


def part(file: str) -> str:
    """What a file holds: a table's kind, residual or json."""
    kind = re.search(r"-((?:records|pure-next-token)(?:-[a-z]+)?)\.csv$", file)
    return kind[1] if kind else "residual" if file.endswith(".pt") else "json"


def general(name: str) -> str:
    """A column or place without the numbers of lists and top-k pairs."""
    return re.sub(r"\[\d+\]", "[]", re.sub(r"^(top|prob)\d+$", r"\1*", name))


def column_of(mismatch: Mismatch) -> str:
    """The column that a mismatch counts for."""
    inside = part(mismatch.file) == "json"
    return general(
        ".".join(filter(None, (mismatch.row, mismatch.column))) if inside else mismatch.column
    )


def spot(file: str, row: str) -> Spot | None:
    """Table, pass and layer of a value; None where it belongs to none."""
    if found := RESIDUAL.search(file):
        return "residual", "pos/orig", int(found[1])
    found = ROW.match(row)
    return (part(file), found[1], int(found[2])) if found else None


def column_diffs(recorders: Sequence[Recorder], mismatches: Sequence[Mismatch]) -> list[ColumnDiff]:
    """Every column of every kind of file, those beyond tolerance first, then by their worst share of it."""
    entries: dict[str, list[tuple[str, Entry]]] = defaultdict(list)
    wrong: dict[str, list[Mismatch]] = defaultdict(list)
    for recorder in recorders:
        for entry in recorder.entries:
            entries[f"{part(recorder.file)}: {general(entry.column)}"].append(
                (recorder.file, entry)
            )
    for mismatch in mismatches:
        wrong[f"{part(mismatch.file)}: {column_of(mismatch)}"].append(mismatch)
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
        beyond,
        median(errors),
        largest,
        worst.fraction,
        row,
        min(layers, default=None),
    )


def located(
    recorders: Sequence[Recorder], mismatches: Sequence[Mismatch]
) -> Iterator[tuple[Spot, str, float]]:
    """Every value that belongs to a layer: where, its column, its share of the tolerance; inf for a mismatched text."""
    for recorder in recorders:
        for entry in recorder.entries:
            if place := spot(recorder.file, entry.row):
                yield place, general(entry.column), entry.fraction
    for mismatch in mismatches:
        if mismatch.column and (place := spot(mismatch.file, mismatch.row)):
            yield place, column_of(mismatch), float("inf") if mismatch.kind != "value" else 1.0


def partings(recorders: Sequence[Recorder], mismatches: Sequence[Mismatch]) -> list[Parting]:
    """One line for each pass of each table, in the files' order. Rows that only one run has are told elsewhere."""
    beyond = {
        (place, column_of(m)) for m in mismatches if m.column and (place := spot(m.file, m.row))
    }
    worst: dict[tuple[str, str], dict[int, tuple[bool, float, str]]] = defaultdict(dict)
    for (table, where, layer), column, fraction in located(recorders, mismatches):
        found = (((table, where, layer), column) in beyond or not fraction <= 1, fraction, column)
        worst[table, where][layer] = max(worst[table, where].get(layer, found), found)
    return [parting(table, where, layers) for (table, where), layers in worst.items()]


def parting(table: str, where: str, layers: dict[int, tuple[bool, float, str]]) -> Parting:
    differing = [layer for layer, (beyond, fraction, _) in layers.items() if beyond or fraction]
    broken = [layer for layer, (beyond, _, _) in layers.items() if beyond]
    first, last = min(differing, default=None), min(broken, default=None)
    named = last if last is not None else first
    return Parting(table, where, first, last, layers[named][2] if named is not None else "")
