"""(expected run, obtained run, tolerance) → Comparison. Pure: nothing is read, printed or stored here.

Checks run in the order keys → type → shape → values and in both directions: nothing missing, nothing extra.
"""

from collections import defaultdict
from typing import Any

from . import columns
from .compare_json import compare_documents
from .compare_ledger import Comparison, Ledger, Mismatch, Statistic
from .compare_tables import compare_tables
from .compare_thresholds import without_open
from .reading import Run
from .tolerance import Tolerance

__all__ = ["Comparison", "Mismatch", "Statistic", "compare"]


def compare(expected: Run, obtained: Run, tolerance: Tolerance) -> Comparison:
    """Compare two runs file by file. Findings of either run (unreadable, failed, stray) are mismatches too."""
    ledgers = [Ledger(file, tolerance) for file in sorted(expected.files & obtained.files)]
    for ledger in ledgers:
        compare_file(ledger, expected, obtained)
    mismatches = [
        *file_mismatches(expected, obtained),
        *(m for ledger in ledgers for m in ledger.mismatches),
    ]
    mismatches = without_open(mismatches, expected, tolerance)
    statistics = [statistic for ledger in ledgers for statistic in ledger.statistics.values()]
    values: dict[str, int] = defaultdict(int)
    for statistic in statistics:
        values[statistic.file] += statistic.compared
    return Comparison(tuple(mismatches), tuple(statistics), values)


def file_mismatches(expected: Run, obtained: Run) -> list[Mismatch]:
    """Missing, extra and unreadable files."""
    missing = [
        Mismatch(f, "", "", "file", "", "missing file")
        for f in sorted(expected.files - obtained.files)
    ]
    extra = sorted(obtained.files - expected.files) + list(obtained.strays)
    return [
        *(Mismatch(f.file, "", "", "", f.sentence, "expected run") for f in expected.findings),
        *(Mismatch(f.file, "", "", "", f.sentence, "obtained run") for f in obtained.findings),
        *missing,
        *(Mismatch(f, "", "", "", "file", "extra file") for f in extra),
    ]


def compare_file(ledger: Ledger, expected: Run, obtained: Run) -> None:
    """Compare the one file the ledger is for; an unreadable one has been reported already."""
    if ledger.file == expected.document_name:
        if expected.document is not None and obtained.document is not None:
            texts = (expected.document_text, obtained.document_text)
            compare_documents(ledger, expected.document, obtained.document, texts)
    elif ledger.file in expected.residuals and ledger.file in obtained.residuals:
        compare_residuals(ledger, expected.residuals[ledger.file], obtained.residuals[ledger.file])
    else:
        for kind in expected.tables.keys() & obtained.tables.keys():
            if ledger.file == expected.table_name(kind):
                compare_tables(ledger, expected.tables[kind], obtained.tables[kind])


def compare_residuals(ledger: Ledger, expected: Any, obtained: Any) -> None:
    """Two saved tensors: dtype, shape, then every element by the size of its vector; the worst one is named."""
    for name in ("dtype", "shape"):
        a, b = getattr(expected, name), getattr(obtained, name)
        if a != b:
            ledger.mismatch("", name, str(a), str(b), name)
            return
    width = expected.shape[-1] if expected.dim() else 1
    sizes = expected.double().reshape(-1, width).square().mean(-1).sqrt().tolist()
    wrong: list[tuple[float, int, float, float]] = []
    for i, (a, b) in enumerate(zip(expected.flatten().tolist(), obtained.flatten().tolist())):
        fraction = ledger.tolerance.fraction(columns.RESIDUAL, a, b, sizes[i // width])
        ledger.tally(element(i, width), "value", abs(a - b), fraction)
        if not fraction <= 1:
            wrong.append((fraction, i, a, b))
    if wrong:
        _, i, a, b = max(wrong)
        more = f" (and {len(wrong) - 1} more elements)" if len(wrong) > 1 else ""
        ledger.mismatch(element(i, width), "value", repr(a), repr(b) + more, "value")


def element(index: int, width: int) -> str:
    """An element of [1, S, d] by position and component."""
    return f"pos {index // width} component {index % width}"
