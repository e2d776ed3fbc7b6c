"""A check's report as text for people and as JSON for machines. Nothing is compared here."""

import json
import re
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from .check import CaseResult, Report
from .compare import Mismatch, Statistic
from .schema import Violation

SHOWN = 20  # mismatches printed per case
Line = tuple[str, ...]


def text(report: Report) -> str:
    """Table of files, table of columns, mismatches, and the verdict as the last line."""
    blocks = [files_table(report), columns_table(report), *(case_block(r) for r in report.results if not r.matches)]
    if report.outcome.problem:
        tail = report.outcome.log_tail or "it printed nothing"
        blocks.append(f"{report.outcome.problem}; the end of its output:\n" + indent(tail))
    return "\n\n".join(block for block in (*blocks, verdict(report)) if block)


def verdict(report: Report) -> str:
    """The last line."""
    results = report.results
    matching = sum(result.matches for result in results)
    mismatches = sum(len(result.comparison.mismatches) for result in results)
    violations = sum(len(result.violations) for result in results)
    parts = [
        f"{matching} of {len(results)} " + ("case matches" if len(results) == 1 else "cases match"),
        f"{mismatches:,} mismatch{'es' * (mismatches != 1)}",
        *([f"{violations:,} schema violation{'s' * (violations != 1)}"] if violations else []),
        *([report.outcome.problem] if report.outcome.problem else []),
        f"{sum(result.comparison.compared for result in results):,} values compared",
        f"{report.outcome.seconds:.1f} s",
    ]
    return ", ".join(parts)


def aligned(header: Line, lines: Sequence[Line], left: int) -> str:
    """Columns padded to their widest cell; the first `left` columns to the left, the others to the right."""
    widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]
    rows = (
        "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths)))
        for line in (header, tuple("-" * w for w in widths), *lines)
    )
    return "\n".join(row.rstrip() for row in rows)


def indent(block: str) -> str:
    return "\n".join(f"    {line}" for line in block.splitlines())


def share(fraction: float) -> str:
    """A fraction of the tolerance as people read it."""
    if not isfinite(fraction):
        return "any difference is too much"
    return f"{fraction:.1%}" if fraction else "exact"


def files_table(report: Report) -> str:
    """case × file: values, mismatches, the worst column against its tolerance, seconds of the case."""
    header = ("case", "file", "worst column", "of tolerance", "values", "mismatches", "time")
    return aligned(header, [line for result in report.results for line in case_lines(result)], left=3)


def case_lines(result: CaseResult) -> list[Line]:
    mismatches = result.comparison.mismatches
    files = sorted({*result.comparison.values, *(m.file for m in mismatches)})
    lines = []
    for file in files:
        worst = max(
            (s for s in result.comparison.statistics if s.file == file), key=lambda s: s.worst_fraction, default=None
        )
        differs = worst is not None and worst.worst_fraction > 0
        found = (worst.column, share(worst.worst_fraction)) if worst and differs else ("", "")
        counts = (f"{result.comparison.values.get(file, 0):,}", str(sum(m.file == file for m in mismatches)))
        lines.append((file or "(the run)", *found, *counts))
    if result.violations:
        lines.append(("(schema)", "", "", "", str(len(result.violations))))
    if not lines:
        lines.append(("(nothing)", "", "", "0", "0"))
    seconds = "" if result.seconds is None else f"{result.seconds:.2f} s"
    return [(result.case if i == 0 else "", *line, seconds if i == 0 else "") for i, line in enumerate(lines)]


def group(statistic: Statistic) -> str:
    """A column's name over all cases: without the model's name and without top-k numbers."""
    kind = re.search(r"-((?:records|pure-next-token)(?:-prism)?)\.csv$", statistic.file)
    part = kind[1] if kind else "residual" if statistic.file.endswith(".pt") else "json"
    return part + ": " + re.sub(r"^(top|prob)[0-9]+$", r"\1*", statistic.column)


def columns_table(report: Report) -> str:
    """The worst error of every column that is not equal throughout, over all cases."""
    worst: dict[str, tuple[Statistic, str]] = {}
    names = set()
    for result in report.results:
        for statistic in result.comparison.statistics:
            name = group(statistic)
            names.add(name)
            known = worst.get(name)
            if statistic.worst_fraction > (known[0].worst_fraction if known else 0.0):
                worst[name] = (statistic, result.case)
    ranked = sorted(worst.items(), key=lambda item: -item[1][0].worst_fraction)
    lines = [
        (n, ", ".join(filter(None, (case, s.worst_row))), f"{s.worst_error:.2e}", share(s.worst_fraction))
        for n, (s, case) in ranked
    ]
    table = aligned(("column", "worst in", "error", "of tolerance"), lines, left=2) + "\n" if lines else ""
    return f"{table}{len(names) - len(lines)} columns are equal throughout" if names else ""


def case_block(result: CaseResult) -> str:
    """The mismatches and violations of a case, one a line."""
    lines = [*map(mismatch_line, result.comparison.mismatches), *map(str, result.violations)]
    more = [f"and {len(lines) - SHOWN} more; --json lists all"] if len(lines) > SHOWN else []
    return f"{result.case}:\n" + indent("\n".join(line.replace("\n", "\\n") for line in [*lines[:SHOWN], *more]))


def mismatch_line(mismatch: Mismatch) -> str:
    where = ", ".join(part for part in (mismatch.file, mismatch.row, mismatch.column) if part)
    told = f"expected {shown(mismatch.expected)}, obtained {shown(mismatch.obtained)} ({mismatch.kind})"
    return f"{where}: {told}" if where else told


def shown(value: str) -> str:
    """A value on one line; an absent one is called nothing."""
    return value.replace("\r", "\\r") if value else "nothing"


def plain(items: Iterable[Statistic | Mismatch]) -> list[dict[str, Any]]:
    """Dataclasses as JSON objects; what is not finite becomes null."""
    return [{k: None if isinstance(v, float) and not isfinite(v) else v for k, v in vars(i).items()} for i in items]


def violation_object(violation: Violation) -> dict[str, str]:
    return {**vars(violation), "sentence": violation.sentence}


def machine(report: Report) -> str:
    """Everything, as one JSON object."""
    cases = [
        {
            "case": result.case,
            "matches": result.matches,
            "seconds": result.seconds,
            "values": dict(result.comparison.values),
            "mismatches": plain(result.comparison.mismatches),
            "violations": [violation_object(violation) for violation in result.violations],
            "columns": plain(result.comparison.statistics),
        }
        for result in report.results
    ]
    outcome = {"status": report.outcome.status, "log_tail": report.outcome.log_tail, "seconds": report.outcome.seconds}
    whole = {"matches": report.matches, "verdict": verdict(report), "runner": outcome, "cases": cases}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
