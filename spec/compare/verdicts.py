"""Two files of one name → one verdict: identical bytes, equal within tolerance, changed, missing, extra."""

from ..runs.run import Run
from .bytewise import same_bytes
from .runs import Comparison, not_understood

IDENTICAL, NOT_UNDERSTOOD, EQUAL, CHANGED, MISSING, EXTRA = (
    "identical",
    "identical (not understood)",
    "equal within tolerance",
    "changed",
    "missing",
    "extra",
)
VERDICTS = (IDENTICAL, NOT_UNDERSTOOD, EQUAL, CHANGED, MISSING, EXTRA)


def file_verdicts(expected: Run, obtained: Run, comparison: Comparison) -> dict[str, str]:
    """The verdict of each file that was compared, given the comparison of the two runs."""
    differing = {mismatch.file for mismatch in comparison.mismatches}
    alike = not_understood(expected, obtained)
    return {
        file: NOT_UNDERSTOOD
        if file in alike
        else verdict(expected, obtained, file, file in differing)
        for file in sorted(expected.compared | obtained.compared)
    }


def verdict(expected: Run, obtained: Run, file: str, differs: bool) -> str:
    if file not in obtained.compared:
        return MISSING
    if file not in expected.compared:
        return EXTRA
    if same_bytes(expected.paths[file], obtained.paths[file]):
        return IDENTICAL
    return CHANGED if differs else EQUAL
