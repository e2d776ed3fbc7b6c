"""Validations as text for people and as JSON for machines."""

import json
from collections import defaultdict
from collections.abc import Sequence

from ..schema.rule_sources import checks_of
from ..schema.validate import Rule, Violation
from ..schema.validating import Validation
from .objects import violation_object
from .text import aligned, indent, printable

SHOWN = 5  # places printed for each rule and run


def text(results: Sequence[Validation]) -> str:
    """Table of runs, the violations of each by rule, and the verdict as the last line."""
    header = ("directory", "run", "files", "violations")
    lines = [(str(r.folder), r.file_stem, str(r.files), f"{len(r.violations):,}") for r in results]
    further = [f"{r.folder}, {r.file_stem}: {r.further}" for r in results if r.further]
    blocks = [rule_blocks(result, len(results) > 1) for result in results if not result.valid]
    parts = [aligned(header, lines, left=2), printable_lines(further), *blocks, verdict(results)]
    return "\n\n".join(filter(None, parts))


def printable_lines(lines: Sequence[str]) -> str:
    return "\n".join(map(printable, lines))


def verdict(results: Sequence[Validation]) -> str:
    """The last line."""
    valid = sum(result.valid for result in results)
    count = sum(len(result.violations) for result in results)
    keep = "run keeps" if len(results) == 1 else "runs keep"
    later = sum(bool(result.further) for result in results)
    more = f", {later} with a later layout" if later else ""
    sentence = f"{valid} of {len(results)} {keep} the contract{more}"
    return f"{sentence}, {count:,} violation{'s' * (count != 1)}"


def rule_blocks(result: Validation, named: bool) -> str:
    """The broken rules of a run, the rarest first, each with its first places; under the run's name where `named`."""
    by_rule: dict[Rule, list[Violation]] = defaultdict(list)
    for violation in result.violations:
        by_rule[violation.rule].append(violation)
    rarest_first = sorted(by_rule.items(), key=lambda item: len(item[1]))
    blocks = [rule_block(rule, violations) for rule, violations in rarest_first]
    if not named:
        return "\n".join(blocks)
    return "\n".join([f"{result.folder}, {result.file_stem}:", *map(indent, blocks)])


def rule_block(rule: Rule, violations: Sequence[Violation]) -> str:
    """One rule, how often it is broken, and where."""
    count = len(violations)
    lines = [violation_line(violation) for violation in violations[:SHOWN]]
    if count > SHOWN:
        lines.append(f"and {count - SHOWN:,} more; --json lists all")
    times = f" ({count:,} times)" if count > 1 else ""
    return f"{rule}{times}: {rule.sentence}\n" + indent("\n".join(lines))


def rule_lines(violations: Sequence[tuple[str, Violation]]) -> list[str]:
    """What the schema does not allow, a line for each rule: how often, the first case and place, and the code of it.

    Violations come with their case; nothing is returned where there is none.
    """
    by_rule: dict[Rule, list[tuple[str, Violation]]] = defaultdict(list)
    for pair in violations:
        by_rule[pair[1].rule].append(pair)
    lines = []
    for rule, broken in by_rule.items():
        case, first = broken[0]
        times = f"{len(broken):,} place{'s' * (len(broken) != 1)}"
        code = ", ".join(f"spec/schema/{check}" for check in checks_of(rule))
        place = f"first {case}: {violation_line(first)}"
        lines.append(f"{rule}: {times}, {place}; Rule.{rule.name} in spec/schema/rules.py, {code}")
    title = f"What breaks the schema: {len(violations):,} places, {len(by_rule)} rules"
    return [title + "\n" + indent("\n".join(lines))] if lines else []


def violation_line(violation: Violation) -> str:
    """File, row, column: value, on one line."""
    place = str(violation.place)
    return printable(f"{place}: {violation.value}" if place else violation.value)


def machine(results: Sequence[Validation]) -> str:
    """Everything, as one JSON object."""
    runs = [
        {
            "directory": str(result.folder),
            "run": result.file_stem,
            "files": result.files,
            "valid": result.valid,
            "further": result.further,
            "violations": [violation_object(violation) for violation in result.violations],
        }
        for result in results
    ]
    whole = {
        "valid": all(result.valid for result in results),
        "verdict": verdict(results),
        "runs": runs,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
