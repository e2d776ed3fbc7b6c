"""An audit as text for people and as JSON for machines."""

import json
from collections.abc import Sequence
from typing import Any

from ..audit.decisions import Audit, CaseAudit
from ..audit.margins import Decision
from .text import aligned

KEY = ("case", "file", "row", "decision")  # of a decision, as the list has it


def text(audit: Audit) -> str:
    """Table of cases, the seeds' promise, the known fragile decisions by reason, what is wrong, and the verdict."""
    blocks = [
        cases_table(audit.cases),
        promise(audit.cases),
        known(audit),
        new(audit.new),
        stale(audit),
        verdict(audit),
    ]
    return "\n\n".join(filter(None, blocks))


def cases_table(cases: Sequence[CaseAudit]) -> str:
    header = (
        "case",
        "tolerance",
        "decisions",
        "ties forgiven",
        "ranks unseen",
        "fragile",
        "least other margin",
    )
    return aligned(header, [case_line(case) for case in cases], left=2)


def case_line(case: CaseAudit) -> tuple[str, ...]:
    """The case's counts, and the least margin of a decision that is neither fragile nor forgiven."""
    margins = [d.margin for d in case.decisions if not d.fragile and not d.forgiven]
    counts = [
        len(case.decisions),
        sum(d.forgiven for d in case.decisions),
        case.unseen,
        len(case.fragile),
    ]
    return case.case, case.tolerance, *map(str, counts), f"{min(margins, default=0):.2f}"


def promise(cases: Sequence[CaseAudit]) -> str:
    """What the seeds were chosen for, in the cases of tolerance fp32."""
    fp32_cases = [case for case in cases if case.tolerance == "fp32"]
    if not fp32_cases:
        return ""
    gap = min(fp32_cases, key=lambda case: case.gap[0])
    distance = min(fp32_cases, key=lambda case: case.distance[0])
    return (
        f"fp32 cases: listed neighbours are at least {gap.gap[0]:.2e} relative apart ({gap.case}: {gap.gap[1]});\n"
        f"KL, entropy and copy thresholds at least {distance.distance[0]:.2e} away "
        f"({distance.case}: {distance.distance[1]})"
    )


def known(audit: Audit) -> str:
    """Each reason once, with the number of decisions it covers and the least margin among them."""
    margins: dict[str, list[float]] = {}
    for decision in audit.fragile:
        if reason := audit.known.get(decision.key):
            margins.setdefault(reason, []).append(decision.margin)
    lines = [
        f"{len(m)} known, margins from {min(m):.2f}: {reason}" for reason, m in margins.items()
    ]
    return "\n".join(lines)


def new(decisions: Sequence[Decision]) -> str:
    """Fragile decisions that no one has reviewed."""
    if not decisions:
        return ""
    header = ("new fragile decision", "file", "row", "decision", "value", "against", "margin")
    lines = [
        (d.case, d.file, d.row, d.name, f"{d.value:.6g}", f"{d.threshold:.6g}", f"{d.margin:.2f}")
        for d in decisions
    ]
    return aligned(header, lines, left=4)


def stale(audit: Audit) -> str:
    """Listed decisions that are not fragile, or not there."""
    lines = audit.stale
    return (
        aligned(("listed but not fragile", "file", "row", "decision"), lines, left=4)
        if lines
        else ""
    )


def verdict(audit: Audit) -> str:
    """The last line."""
    decisions = sum(len(case.decisions) for case in audit.cases)
    counts = f"{decisions:,} decisions in {len(audit.cases)} cases"
    listed = len(audit.fragile) - len(audit.new)
    summary = f"{listed} known to be fragile, {len(audit.new)} new, {len(audit.stale)} listed but not fragile"
    advice = "" if audit.passes else "; review the list in spec/audit/fragile.json"
    return f"{counts}: {summary}{advice}"


def machine(audit: Audit) -> str:
    """Everything but the decisions that hold, as one JSON object."""
    cases = [
        {
            "case": case.case,
            "tolerance": case.tolerance,
            "decisions": len(case.decisions),
            "forgiven": sum(decision.forgiven for decision in case.decisions),
            "ranks_unseen": case.unseen,
            "least_gap": {"relative": case.gap[0], "place": case.gap[1]},
            "least_distance": {"distance": case.distance[0], "place": case.distance[1]},
        }
        for case in audit.cases
    ]
    fragile = [fragile_object(decision, audit) for decision in audit.fragile]
    unlisted = [dict(zip(KEY, key, strict=True)) for key in audit.stale]
    whole = {
        "passes": audit.passes,
        "verdict": verdict(audit),
        "cases": cases,
        "fragile": fragile,
        "stale": unlisted,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def fragile_object(decision: Decision, audit: Audit) -> dict[str, Any]:
    key = dict(zip(KEY, decision.key, strict=True))
    numbers = {"value": decision.value, "threshold": decision.threshold, "margin": decision.margin}
    return {**key, **numbers, "reason": audit.known.get(decision.key)}
