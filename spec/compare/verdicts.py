"""Verdicts of a file, a case and a run: identical, equal within tolerance, extended, changed, unreadable."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from ..runs.run import Run, same_bytes
from .kinds import ADDITIONS, UNREADABLE, Kind
from .runs import Comparison, not_understood

IDENTICAL = "identical"  # the same bytes
NOT_UNDERSTOOD = "identical (not understood)"
EQUAL = "equal within tolerance"
EXTENDED = "extended"  # all that was there is there and equal; there is more
CHANGED = "changed"
MISSING, EXTRA = "missing", "extra"  # of a file that only one run has
BROKEN = "unreadable"
VERDICTS = (IDENTICAL, NOT_UNDERSTOOD, EQUAL, EXTENDED, CHANGED, MISSING, EXTRA, BROKEN)
STATUS = {
    IDENTICAL: 0,
    EQUAL: 0,
    EXTENDED: 3,
    CHANGED: 1,
    BROKEN: 1,
}  # exit status of a run's verdict


def of_kinds(kinds: Collection[Kind], same: bool) -> str:
    """The verdict by the kinds of the mismatches, and by whether the bytes are the same where there is none."""
    if UNREADABLE & set(kinds):
        return BROKEN
    if kinds:
        return EXTENDED if ADDITIONS.issuperset(kinds) else CHANGED
    return IDENTICAL if same else EQUAL


def worst(verdicts: Iterable[str]) -> str:
    """The verdict of a whole by those of its parts: a file of the expected run alone is a change."""
    known = set(verdicts)
    for verdict, parts in (
        (BROKEN, {BROKEN}),
        (CHANGED, {CHANGED, MISSING}),
        (EXTENDED, {EXTENDED, EXTRA}),
        (EQUAL, {EQUAL}),
    ):
        if known & parts:
            return verdict
    return IDENTICAL


def exit_status(verdict: str, allow_extended: bool) -> int:
    """0 identical or equal, 3 extended (0 where that is allowed), 1 changed or unreadable."""
    return 0 if verdict == EXTENDED and allow_extended else STATUS[verdict]


def file_verdicts(expected: Run, obtained: Run, comparison: Comparison) -> dict[str, str]:
    """The verdict of each file that was compared, given the comparison of the two runs."""
    kinds: dict[str, set[Kind]] = defaultdict(set)
    for mismatch in comparison.mismatches:
        kinds[mismatch.file].add(mismatch.kind)
    alike = not_understood(expected, obtained)
    return {
        file: NOT_UNDERSTOOD if file in alike else verdict(expected, obtained, file, kinds[file])
        for file in sorted(expected.compared | obtained.compared)
    }


def verdict(expected: Run, obtained: Run, file: str, kinds: Collection[Kind]) -> str:
    """The verdict of a file that one of the runs has."""
    if UNREADABLE & set(kinds):
        return BROKEN
    if file not in obtained.compared:
        return MISSING
    if file not in expected.compared:
        return EXTRA
    return of_kinds(kinds, same_bytes(expected.paths[file], obtained.paths[file]))
