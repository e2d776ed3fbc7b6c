"""Mismatches of many cases → classes, each with where it begins, how large it is and what to look at. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isclose, log

from .runs import Mismatch
from .stages import FLOW, STAGES, UNKNOWN, Meaning, column_name, meaning_of

RATIOS = {
    log(2): "ln 2 (nats where bits belong?)",
    1 / log(2): "1 / ln 2 (bits where nats belong?)",
    -1.0: "−1 (a reversed difference?)",
}
RATIO_RTOL = 1e-3
BUILT_IN = {"pos/orig", "pos/no_filler", "ctl/orig"}
NEEDED = 3  # values from which a common ratio says something


@dataclass(frozen=True)
class MismatchClass:
    """All mismatches of one kind in one column of one kind of file. `layers` are those that a row names."""

    name: str
    kind: str
    meaning: Meaning
    mismatches: tuple[tuple[str, Mismatch], ...]  # case, mismatch; in the order of the files

    def __post_init__(self) -> None:
        if not self.mismatches:
            raise ValueError(f"a class needs a mismatch, got none for {self.name}; leave it out")

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(case for case, _ in self.mismatches))

    @property
    def layers(self) -> tuple[int, ...]:
        found = {
            int(match[1])
            for _, m in self.mismatches
            if (match := re.search(r"\blayer (\d+)", m.row))
        }
        return tuple(sorted(found))

    @property
    def passes(self) -> tuple[str, ...]:
        """Prompts and variants that rows name."""
        found = (
            match[1] for _, m in self.mismatches if (match := re.match(r"(\S+/\S+) layer", m.row))
        )
        return tuple(dict.fromkeys(found))

    @property
    def worst(self) -> tuple[str, Mismatch]:
        """The example: the largest numeric difference, the first one where none is a number."""
        return max(self.mismatches, key=lambda found: error(found[1]))

    @property
    def ratio(self) -> float | None:
        """obtained / expected where it is the same in all of at least three values."""
        found = [b / a for _, m in self.mismatches if (pair := numbers(m)) for a, b in [pair] if a]
        if len(found) < max(NEEDED, len(self.mismatches)):
            return None
        middle = sorted(found)[len(found) // 2]
        return middle if all(isclose(r, middle, rel_tol=RATIO_RTOL) for r in found) else None


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


def classes(found: Iterable[tuple[str, Mismatch]]) -> list[MismatchClass]:
    """Group (case, mismatch) pairs; classes come in the order in which a run computes their columns."""
    groups: dict[tuple[str, str], list[tuple[str, Mismatch]]] = {}
    for case, mismatch in found:
        name = column_name(mismatch)
        groups.setdefault((name, mismatch.kind), []).append((case, mismatch))
    built = [
        MismatchClass(name, kind, meaning_of(name), tuple(group))
        for (name, kind), group in groups.items()
    ]
    return sorted(built, key=lambda one: (FLOW.index(one.meaning), one.name))


def stages_reached(found: Sequence[MismatchClass]) -> tuple[str, tuple[str, ...]]:
    """The first known stage that differs, and the stages before it that are equal throughout.

    What is unknown may belong to any stage: beside it no stage is called equal, and alone it is of stage `unknown`.
    """
    reached = {STAGES.index(one.meaning.stage) for one in found}
    first = min(reached, default=0)
    return STAGES[first], () if STAGES.index(UNKNOWN) in reached else STAGES[:first]


def hint(one: MismatchClass) -> str:
    """What the numbers themselves say: a common ratio, the passes and the layers that are touched."""
    ratio = one.ratio
    told = []
    if ratio is not None:
        name = next(
            (
                f" = {text}"
                for value, text in RATIOS.items()
                if isclose(value, ratio, rel_tol=RATIO_RTOL)
            ),
            "",
        )
        told.append(f"obtained / expected = {ratio:.6g} in every one of them{name}")
    if one.passes:
        few, three = len(one.passes) < 3, set(one.passes) == BUILT_IN
        told.append(
            f"in {', '.join(one.passes)} only"
            if few
            else "in all three passes"
            if three
            else f"in {len(one.passes)} passes"
        )
    return "; ".join(told)
