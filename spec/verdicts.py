"""Two files of one name → one verdict: identical bytes, equal within tolerance, changed, missing, extra."""

import filecmp
from collections.abc import Iterable
from pathlib import Path

from .compare import Comparison

IDENTICAL, EQUAL, CHANGED, MISSING, EXTRA = (
    "identical",
    "equal within tolerance",
    "changed",
    "missing",
    "extra",
)
VERDICTS = (IDENTICAL, EQUAL, CHANGED, MISSING, EXTRA)


def file_verdicts(
    expected: Path, obtained: Path, comparison: Comparison, files: Iterable[str]
) -> dict[str, str]:
    """The verdict of each file of two run directories, given what comparing them found."""
    wrong = {mismatch.file for mismatch in comparison.mismatches}
    return {
        file: verdict(expected / file, obtained / file, file in wrong) for file in sorted(files)
    }


def verdict(expected: Path, obtained: Path, wrong: bool) -> str:
    if not obtained.exists():
        return MISSING
    if not expected.exists():
        return EXTRA
    if filecmp.cmp(expected, obtained, shallow=False):
        return IDENTICAL
    return CHANGED if wrong else EQUAL
