"""A check's report as text for people and as JSON for machines. Nothing is compared here."""

import json
import re
from collections.abc import Iterable
from math import isfinite
from typing import Any

from .check import CaseResult, Report
from .compare import Mismatch, Statistic
from .explain import part_of
from .render_classes import first_screen, machine_classes, verdict_counts
from .schema import Violation
from .text import Line, aligned, indent, mismatch_line, printable

SHOWN = 20  # mismatches printed per case


def text(report: Report, shown: int = SHOWN) -> str:
    """What changed and where to look, tables of files and columns, mismatches; the verdict as the last line.

    At most `shown` mismatches and violations of a case are printed.
    """
    blocks = [
        first_screen(found(report), len(report.results)),
        report.note,
        files_table(report),
        columns_table(report),
    ]
    blocks += (case_block(r, shown) for r in report.results if not r.matches)
    if report.outcome.problem or report.outcome.problems:
        tail = report.outcome.log_tail or "it printed nothing"
        blocks.append(
            f"{report.outcome.problem or 'some cases failed'}; the end of the output:\n"
            + indent(tail)
        )
    return "\n\n".join(block for block in (*blocks, verdict(report)) if block)


def found(report: Report) -> list[tuple[str, Mismatch]]:
    """Every mismatch with its case."""
    return [
        (result.case, mismatch)
        for result in report.results
        for mismatch in result.comparison.mismatches
    ]


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
        verdict_counts([result.verdicts for result in results]),
        f"{sum(result.comparison.compared for result in results):,} values compared",
        f"{report.outcome.seconds:.1f} s",
    ]
    return ", ".join(parts)


def share(fraction: float) -> str:
    """A fraction of the tolerance as people read it."""
    if not isfinite(fraction):
        return "any difference is too much"
    return f"{fraction:.1%}" if fraction else "exact"


def files_table(report: Report) -> str:
    """case × file: values, mismatches, the worst column against its tolerance, seconds of the case."""
    header = (
        "case",
        "file",
        "verdict",
        "worst column",
        "of tolerance",
        "values",
        "mismatches",
        "time",
    )
    return aligned(
        header, [line for result in report.results for line in case_lines(result)], left=4
    )


def case_lines(result: CaseResult) -> list[Line]:
    mismatches = result.comparison.mismatches
    files = sorted({*result.comparison.values, *result.verdicts, *(m.file for m in mismatches)})
    lines = []
    for file in files:
        worst = max(
            (s for s in result.comparison.statistics if s.file == file),
            key=lambda s: s.worst_fraction,
            default=None,
        )
        differs = worst is not None and worst.worst_fraction > 0
        found = (worst.column, share(worst.worst_fraction)) if worst and differs else ("", "")
        counts = (
            f"{result.comparison.values.get(file, 0):,}",
            str(sum(m.file == file for m in mismatches)),
        )
        lines.append((file or "(the run)", result.verdicts.get(file, ""), *found, *counts))
    if result.violations:
        lines.append(("(schema)", "", "", "", "", str(len(result.violations))))
    if not lines:
        lines.append(("(nothing)", "", "", "", "0", "0"))
    seconds = "" if result.seconds is None else f"{result.seconds:.2f} s"
    return [
        (result.case if i == 0 else "", *line, seconds if i == 0 else "")
        for i, line in enumerate(lines)
    ]


def group(statistic: Statistic) -> str:
    """A column's name over all cases: without the model's name and without top-k numbers."""
    return part_of(statistic.file) + ": " + re.sub(r"^(top|prob)[0-9]+$", r"\1*", statistic.column)


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
        (
            n,
            ", ".join(filter(None, (case, s.worst_row))),
            f"{s.worst_error:.2e}",
            share(s.worst_fraction),
        )
        for n, (s, case) in ranked
    ]
    table = (
        aligned(("column", "worst in", "error", "of tolerance"), lines, left=2) + "\n"
        if lines
        else ""
    )
    return f"{table}{len(names) - len(lines)} columns are equal throughout" if names else ""


def case_block(result: CaseResult, shown: int) -> str:
    """The mismatches and violations of a case, one a line."""
    lines = [*map(mismatch_line, result.comparison.mismatches), *map(str, result.violations)]
    more = [f"and {len(lines) - shown} more; --json lists all"] if len(lines) > shown else []
    return f"{result.case}:\n" + indent(
        "\n".join(printable(line) for line in [*lines[:shown], *more])
    )


def plain(items: Iterable[Statistic | Mismatch]) -> list[dict[str, Any]]:
    """Dataclasses as JSON objects; what is not finite becomes null."""
    return [
        {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in vars(i).items()}
        for i in items
    ]


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
            "verdicts": dict(result.verdicts),
            "violations": [violation_object(violation) for violation in result.violations],
            "columns": plain(result.comparison.statistics),
        }
        for result in report.results
    ]
    outcome = {
        "status": report.outcome.status,
        "log_tail": report.outcome.log_tail,
        "seconds": report.outcome.seconds,
    }
    whole = {
        "matches": report.matches,
        "verdict": verdict(report),
        "note": report.note,
        "classes": machine_classes(found(report)),
        "runner": outcome,
        "cases": cases,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
