"""Mismatches of many cases → classes, each with where it begins, how large it is and what to look at. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isclose, log

from ..runs.places import TableRow
from .column import Column, column_of
from .kinds import Kind
from .runs import Mismatch
from .stages import FLOW, STAGES, UNKNOWN, Meaning, meaning_of

RATIOS = {
    log(2): "ln 2 (nats where bits belong?)",
    1 / log(2): "1 / ln 2 (bits where nats belong?)",
    -1.0: "−1 (a reversed difference?)",
}
RATIO_RTOL = 1e-3
BUILT_IN = {"pos/orig", "pos/no_filler", "ctl/orig"}
NEEDED = 3  # the least number of values for a common ratio


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
    def rows(self) -> list[TableRow]:
        """The rows of tables that differ, a row for each mismatch in one."""
        spots = (mismatch.place.spot for _, mismatch in self.mismatches)
        return [spot for spot in spots if isinstance(spot, TableRow)]

    @property
    def layers(self) -> tuple[int, ...]:
        indices = {row.layer_index for row in self.rows}
        return tuple(sorted(index for index in indices if index is not None))

    @property
    def passes(self) -> tuple[str, ...]:
        """Prompts and variants of the rows."""
        named = (row.pass_name for row in self.rows if row.prompt_id and row.prompt_variant)
        return tuple(dict.fromkeys(named))

    @property
    def worst(self) -> tuple[str, Mismatch]:
        """The example: the largest numeric difference, the first one where none is a number."""
        return max(self.mismatches, key=lambda pair: error(pair[1]))

    @property
    def ratio(self) -> float | None:
        """obtained / expected where it is the same in all of at least three values."""
        pairs = filter(None, (numbers(mismatch) for _, mismatch in self.mismatches))
        ratios = [obtained / expected for expected, obtained in pairs if expected]
        if len(ratios) < max(NEEDED, len(self.mismatches)):
            return None
        middle = sorted(ratios)[len(ratios) // 2]
        same = all(isclose(ratio, middle, rel_tol=RATIO_RTOL) for ratio in ratios)
        return middle if same else None


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
    """What the numbers themselves show: a common ratio, and the passes that are touched."""
    return "; ".join(filter(None, (ratio_hint(group.ratio), passes_hint(group.passes))))


def ratio_hint(ratio: float | None) -> str:
    """The common ratio, with its likely cause where it is a known one."""
    if ratio is None:
        return ""
    causes = (
        f" = {cause}"
        for value, cause in RATIOS.items()
        if isclose(value, ratio, rel_tol=RATIO_RTOL)
    )
    return f"obtained / expected = {ratio:.6g} in every one of them{next(causes, '')}"


def passes_hint(passes: Sequence[str]) -> str:
    """Which passes, or how many, a class touches."""
    if not passes:
        return ""
    if len(passes) < 3:
        return f"in {', '.join(passes)} only"
    return "in all three passes" if set(passes) == BUILT_IN else f"in {len(passes)} passes"
