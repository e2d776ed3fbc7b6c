"""A check's report as text for people and as JSON for machines. Nothing is compared here."""

import json
from collections import Counter, defaultdict
from math import isfinite

from ..compare.runs import Mismatch, Statistic
from ..runners.check import CaseResult, Report
from ..runs.columns import without_numbers
from ..runs.listing import part_of
from .classes import first_screen, machine_classes, verdict_counts
from .objects import mismatch_object, statistic_object, violation_object
from .text import Line, aligned, indent, mismatch_line, printable

SHOWN = 20  # mismatches printed per case


def text(report: Report, shown: int = SHOWN) -> str:
    """What changed and where to look, tables of files and columns, mismatches; the verdict as the last line.

    At most `shown` mismatches and violations of a case are printed.
    """
    blocks = [
        first_screen(case_mismatches(report), len(report.results)),
        report.note,
        files_table(report),
        columns_table(report),
        left_out(report),
    ]
    blocks += (case_block(r, shown) for r in report.results if not r.matches)
    if report.outcome.problem or report.outcome.problems:
        tail = report.outcome.log_tail or "it printed nothing"
        blocks.append(
            f"{report.outcome.problem or 'some cases failed'}; the end of the output:\n"
            + indent(tail)
        )
    return "\n\n".join(block for block in (*blocks, verdict(report)) if block)


def case_mismatches(report: Report) -> list[tuple[str, Mismatch]]:
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


def left_out(report: Report) -> str:
    """The files that were not compared and the violations that were not counted."""
    files = [name for result in report.results for name in result.not_compared]
    excused = sum(result.excused for result in report.results)
    lines = []
    if files:
        named = files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        lines.append(f"not compared: {named}, which tell how a run was made, and when")
    further = [
        printable(f"{result.case}: {result.further}") for result in report.results if result.further
    ]
    lines += further[:SHOWN]
    if len(further) > SHOWN:
        lines.append(f"and {len(further) - SHOWN} cases more with a later layout")
    if excused:
        rules = f"{excused:,} violation{'s' * (excused != 1)} of the schema"
        lines.append(f"not counted: {rules} that the capture shows in the same places")
    return "\n".join(lines)


def share(fraction: float) -> str:
    """A fraction of the tolerance as text."""
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
    mismatches = Counter(mismatch.file for mismatch in result.comparison.mismatches)
    worst: dict[str, Statistic] = {}
    for statistic in result.comparison.statistics:
        known = worst.setdefault(statistic.file, statistic)
        if statistic.worst_fraction > known.worst_fraction:
            worst[statistic.file] = statistic
    lines = []
    for file in sorted({*result.comparison.values, *result.verdicts, *mismatches}):
        most = worst.get(file)
        differs = most is not None and most.worst_fraction > 0
        error = (most.column, share(most.worst_fraction)) if most and differs else ("", "")
        counts = (f"{result.comparison.values.get(file, 0):,}", str(mismatches[file]))
        lines.append((file or "(the run)", result.verdicts.get(file, ""), *error, *counts))
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
    return f"{part_of(statistic.file)}: {without_numbers(statistic.column)}"


def columns_table(report: Report) -> str:
    """The worst error of every column that is not equal throughout, over all cases."""
    columns: dict[str, list[tuple[Statistic, str]]] = defaultdict(list)
    for result in report.results:
        for statistic in result.comparison.statistics:
            columns[group(statistic)].append((statistic, result.case))
    differing = {
        name: max(entries, key=lambda item: (item[0].worst_fraction, item[0].differing))
        for name, entries in columns.items()
        if any(statistic.differing for statistic, _ in entries)
    }
    if not columns:
        return ""
    ranked = sorted(differing.items(), key=lambda item: -item[1][0].worst_fraction)
    lines = [column_line(name, *worst) for name, worst in ranked]
    header = ("column", "worst in", "error", "of tolerance")
    table = aligned(header, lines, left=2) + "\n" if lines else ""
    return f"{table}{len(columns) - len(lines)} columns are equal throughout"


def column_line(name: str, worst: Statistic, case: str) -> Line:
    """A column's worst number; where texts, flags or ties differ there is none."""
    place = ", ".join(filter(None, (case, worst.worst_row)))
    if not worst.worst_fraction:
        return name, place, "", "no number"
    return name, place, f"{worst.worst_error:.2e}", share(worst.worst_fraction)


def case_block(result: CaseResult, shown: int) -> str:
    """The mismatches and violations of a case, one a line."""
    lines = [*map(mismatch_line, result.comparison.mismatches), *map(str, result.violations)]
    more = [f"and {len(lines) - shown} more; --json lists all"] if len(lines) > shown else []
    return f"{result.case}:\n" + indent(
        "\n".join(printable(line) for line in [*lines[:shown], *more])
    )


def machine(report: Report) -> str:
    """Everything, as one JSON object."""
    cases = [
        {
            "case": result.case,
            "matches": result.matches,
            "verdict": result.verdict,
            "further": result.further,
            "seconds": result.seconds,
            "values": dict(result.comparison.values),
            "mismatches": list(map(mismatch_object, result.comparison.mismatches)),
            "verdicts": dict(result.verdicts),
            "not_compared": list(result.not_compared),
            "excused": result.excused,
            "violations": list(map(violation_object, result.violations)),
            "columns": list(map(statistic_object, result.comparison.statistics)),
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
        "classes": machine_classes(case_mismatches(report)),
        "runner": outcome,
        "cases": cases,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
