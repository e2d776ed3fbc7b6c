"""Mismatches of many cases → classes, each with where it begins, how large it is and what to look at. Pure."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ..runs.columns import without_numbers
from ..runs.places import ITEM, NamedRow, Place, Row, TableRow, steps_of
from .column import Column, column_of
from .kinds import Kind
from .recorder import Mismatch
from .relations import Value, relation, swapped
from .stages import FLOW, STAGES, UNKNOWN, Meaning, meaning_of

LISTED = "prob*"  # the column of the probabilities of top-k lists
BUILT_IN = {"pos/orig", "pos/no_filler", "ctl/orig"}


@dataclass(frozen=True)
class MismatchClass:
    """All mismatches of one kind in one column of one kind of file. `layers` are those of the rows."""

    name: str
    kind: Kind
    meaning: Meaning
    mismatches: tuple[tuple[str, Mismatch], ...]  # case, mismatch; in the order of the files

    def __post_init__(self) -> None:
        if not self.mismatches:
            raise ValueError(f"a class needs a mismatch, got none for {self.name}; leave it out")

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(case for case, _ in self.mismatches))

    @property
    def rows(self) -> list[Row]:
        """The rows of tables that differ, a row for each mismatch in one."""
        spots = (mismatch.place.spot for _, mismatch in self.mismatches)
        return [spot for spot in spots if isinstance(spot, (TableRow, NamedRow))]

    @property
    def layers(self) -> tuple[int, ...]:
        indices = {row.layer_index for row in self.rows}
        return tuple(sorted(index for index in indices if index is not None))

    @property
    def passes(self) -> tuple[str, ...]:
        """Prompts and variants of the rows."""
        named = (row.pass_name for row in self.rows if all(row.pass_name.partition("/")[::2]))
        return tuple(dict.fromkeys(named))

    @property
    def worst(self) -> tuple[str, Mismatch]:
        """The example: the largest numeric difference, the first one where none is a number."""
        return max(self.mismatches, key=lambda pair: error(pair[1]))

    @property
    def values(self) -> list[Value]:
        """The mismatches of numbers; none where one of the class is no number."""
        values = []
        for case, mismatch in self.mismatches:
            pair, place = numbers(mismatch), mismatch.place
            if pair is None:
                return []
            row = place.spot if isinstance(place.spot, Row) else None
            values.append(Value(row, *pair, distribution_of(case, place)))
        return values


def distribution_of(case: str, place: Place) -> Hashable:
    """What the probabilities of one list share: case, file, and row or path; None for what is in no list."""
    if without_numbers(place.column) == LISTED:
        return case, place.file, place.spot
    path = place.path
    return (case, place.file, path[:-2]) if steps_of(path)[-2:] == (ITEM, "p") else None


def numbers(mismatch: Mismatch) -> tuple[float, float] | None:
    """Both values where both are numbers."""
    try:
        return float(mismatch.expected), float(mismatch.obtained)
    except ValueError:
        return None


def error(mismatch: Mismatch) -> float:
    """|obtained − expected|, −1 where one is no number."""
    pair = numbers(mismatch)
    return abs(pair[1] - pair[0]) if pair else -1.0


def classes(mismatches: Iterable[tuple[str, Mismatch]]) -> list[MismatchClass]:
    """Group (case, mismatch) pairs; classes come in the order in which a run computes their columns."""
    groups: dict[tuple[Column, Kind], list[tuple[str, Mismatch]]] = {}
    for case, mismatch in mismatches:
        groups.setdefault((column_of(mismatch), mismatch.kind), []).append((case, mismatch))
    grouped = [
        MismatchClass(str(column), kind, meaning_of(column), tuple(group))
        for (column, kind), group in groups.items()
    ]
    return sorted(grouped, key=lambda group: (FLOW.index(group.meaning), group.name))


def stages_reached(grouped: Sequence[MismatchClass]) -> tuple[str, tuple[str, ...]]:
    """The first known stage that differs, and the stages before it that are equal throughout.

    What is unknown may belong to any stage: beside it no stage is called equal, and alone it is of stage `unknown`.
    """
    reached = {STAGES.index(group.meaning.stage) for group in grouped}
    first = min(reached, default=0)
    return STAGES[first], () if STAGES.index(UNKNOWN) in reached else STAGES[:first]


def hint(group: MismatchClass) -> str:
    """What the numbers themselves show: how they follow from the expected ones, and the passes that are touched."""
    return "; ".join(filter(None, (relation_of(group), passes_hint(group.passes))))


def relation_of(group: MismatchClass) -> str:
    """The relation that holds in every case of a class."""
    by_case: dict[str, list[tuple[str, Mismatch]]] = {}
    for case, mismatch in group.mismatches:
        by_case.setdefault(case, []).append((case, mismatch))
    sentences = {
        relation(MismatchClass(group.name, group.kind, group.meaning, tuple(pairs)).values)
        for pairs in by_case.values()
    }
    whole = relation(group.values) if len(by_case) > 1 else ""
    return whole or (sentences.pop() if len(sentences) == 1 else "")


def swapped_columns(grouped: Sequence[MismatchClass]) -> list[tuple[str, str]]:
    """The pairs of columns of one kind of file that have each other's numbers."""
    rows = {
        group.name: {
            (case, mismatch.place.spot): value
            for (case, mismatch), value in zip(group.mismatches, group.values, strict=True)
        }
        for group in grouped
        if group.kind == Kind.VALUE and group.values
    }
    return [
        (a, b)
        for a, b in combinations(rows, 2)
        if a.split(":")[0] == b.split(":")[0] and swapped(rows[a], rows[b])
    ]


def passes_hint(passes: Sequence[str]) -> str:
    """Which passes, or how many, a class touches."""
    if not passes:
        return ""
    if len(passes) < 3:
        return f"in {', '.join(passes)} only"
    return "in all three passes" if set(passes) == BUILT_IN else f"in {len(passes)} passes"
