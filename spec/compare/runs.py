"""(expected run, obtained run, tolerance) → Comparison. Pure: nothing is read, printed or stored here.

Checks run in the order keys → type → shape → values and in both directions: nothing missing, nothing extra.
"""

from collections import defaultdict

from ..runs.places import Place
from ..runs.run import Run, same_bytes
from .documents import compare_documents
from .further_files import compare_further
from .kinds import Kind
from .recorder import Comparison, Mismatch, Recorder, Statistic
from .residuals import compare_residual
from .tables import compare_known
from .thresholds import without_open
from .tolerance import Tolerance

__all__ = ["Comparison", "Mismatch", "Statistic", "compare"]


def compare(expected: Run, obtained: Run, tolerance: Tolerance) -> Comparison:
    """Compare two runs file by file, files that the contract does not know too; the manifest is left to diff.

    Findings of either run (unreadable, failed) are mismatches too, but for a file that no run could read and that has
    the same bytes in both.
    """
    shared = sorted(expected.compared & obtained.compared)
    recorders = [Recorder(file, tolerance) for file in shared]
    for recorder in recorders:
        compare_file(recorder, expected, obtained)
    mismatches = [
        *file_mismatches(expected, obtained),
        *(m for recorder in recorders for m in recorder.mismatches),
    ]
    mismatches = without_open(mismatches, expected, obtained, tolerance)
    statistics = [statistic for recorder in recorders for statistic in recorder.statistics]
    values: dict[str, int] = defaultdict(int)
    for statistic in statistics:
        values[statistic.file] += statistic.compared
    return Comparison(tuple(mismatches), tuple(statistics), values)


def file_mismatches(expected: Run, obtained: Run) -> list[Mismatch]:
    """Missing, extra and unreadable files."""
    alike = not_understood(expected, obtained)
    unreadable = [
        Mismatch(Place(finding.file), "", finding.sentence, kind)
        for run, kind in ((expected, Kind.EXPECTED_RUN), (obtained, Kind.OBTAINED_RUN))
        for finding in run.findings
        if finding.file not in alike
    ]
    missing = [
        Mismatch(Place(file), "file", "", Kind.MISSING_FILE)
        for file in sorted(expected.compared - obtained.compared)
    ]
    extra = [
        Mismatch(Place(file), "", "file", Kind.EXTRA_FILE)
        for file in sorted(obtained.compared - expected.compared)
    ]
    return [*unreadable, *missing, *extra]


def not_understood(expected: Run, obtained: Run) -> frozenset[str]:
    """Files that have the same bytes in both runs and could not be read in one of them, or in both.

    Only in one: where the documents name two contracts, and with them two dialects of the tables.
    """
    return frozenset(
        file
        for file in expected.unreadable | obtained.unreadable
        if file in expected.paths
        and file in obtained.paths
        and same_bytes(expected.paths[file], obtained.paths[file])
    )


def compare_file(recorder: Recorder, expected: Run, obtained: Run) -> None:
    """Compare the file that the recorder is for; an unreadable one is reported by file_mismatches."""
    file = recorder.file
    if file in expected.unreadable | obtained.unreadable:
        return
    if (
        expected.document is not None
        and obtained.document is not None
        and file == expected.document_name
    ):
        texts = (expected.document_text, obtained.document_text)
        compare_documents(recorder, expected.document, obtained.document, texts)
    elif file in expected.residuals:
        compare_residual(recorder, expected.residuals[file], obtained.residuals[file])
    elif kind := next((k for k in expected.tables if file == expected.table_name(k)), None):
        compare_known(recorder, expected.tables[kind], obtained.tables[kind])
    else:
        compare_further(recorder, expected.paths[file], obtained.paths[file])
