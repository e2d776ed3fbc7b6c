"""The first commit that changed a column, in at most ⌈log2 n⌉ + 2 captures, and the smallest case that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..compare.runs import Mismatch
from ..errors import SpecError
from .capture_cache import CaptureCache, Captured
from .commits import Commit
from .history import Pair, Screen, compared, judged, names, pairs


@dataclass(frozen=True)
class Bisection:
    """The commit, how many captures were judged, and one mismatch of the smallest case that shows the change.

    `skipped` are commits that fail and may have changed the column before it.
    """

    commit: Commit
    captures: int
    case: str
    mismatch: Mismatch
    skipped: tuple[Commit, ...]


def bisect(cache: CaptureCache, span: str, column: str, screen: Screen) -> Bisection:
    """Find the first commit after which a column is other than at the start of the range.

    Raises SpecError where the column is the same at both ends, or one of them fails.
    """
    commits = cache.repository.between(span, first_parents=True)
    start = working(cache, commits[0])
    shown = working(cache, commits[-1])
    if not differs(cache, start, shown, column, screen):
        raise SpecError(
            f"{column} is the same in {commits[0].short} and {commits[-1].short}; give another range or "
            "column: `history` lists those that change"
        )
    low, high, captures = 0, len(commits) - 1, 2
    failing: set[int] = set()
    while open_between := [i for i in range(low + 1, high) if i not in failing]:
        middle = open_between[len(open_between) // 2]
        captures += 1
        captured = cache.of(commits[middle])
        if not captured.works:
            failing.add(middle)
        elif differs(cache, start, captured, column, screen):
            high, shown = middle, captured
        else:
            low = middle
    case, mismatch = smallest(pairs(judged(cache, start, shown)), column)
    skipped = tuple(commits[i] for i in sorted(failing) if low < i < high)
    return Bisection(commits[high], captures, case, mismatch, skipped)


def working(cache: CaptureCache, commit: Commit) -> Captured:
    """The capture of a commit; raises SpecError where it fails."""
    captured = cache.of(commit)
    if not captured.works:
        raise SpecError(f"{commit.short} fails: {captured.problem}; give a range without it")
    return captured


def differs(
    cache: CaptureCache, start: Captured, captured: Captured, column: str, screen: Screen
) -> bool:
    """Whether a column is other than in the first commit."""
    return column in compared(cache, start, captured, screen).names


def smallest(every: Sequence[Pair], column: str) -> Pair:
    """The first mismatch of a column, in the case with the fewest of them."""
    shown = [pair for pair in every if column in names([pair])]
    cases = [case for case, _ in shown]
    case = min(dict.fromkeys(cases), key=cases.count)
    return next(pair for pair in shown if pair[0] == case)
