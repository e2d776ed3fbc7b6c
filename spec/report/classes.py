"""The first screen of a comparison that failed: what changed, in which order to look, one example each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..compare.classify import MismatchClass, classes, error, hint, stages_reached, swapped_columns
from ..compare.runs import Mismatch
from ..compare.stages import UNKNOWN
from ..compare.verdicts import VERDICTS
from .additions import additions_text, is_addition
from .objects import mismatch_object
from .text import Line, aligned, indent, mismatch_line, printable

SHOWN = 12  # classes with an example on the first screen


def first_screen(mismatches: Sequence[tuple[str, Mismatch]], cases: int) -> str:
    """What was added; what changed, as a table of classes; then where to look first. "" where nothing differs."""
    added = additions_text(mismatches)
    changes = [pair for pair in mismatches if not is_addition(pair[1])]
    grouped = classes(changes)
    if not grouped:
        return f"{added}\n\nWhat changed: nothing" if added else ""
    touched = len({case for case, _ in changes})
    title = f"What changed: {len(changes):,} values of {len(grouped)} kinds, in {touched} of {cases} cases"
    return "\n\n".join(filter(None, (added, title, class_table(grouped), look(grouped))))


def class_table(grouped: Sequence[MismatchClass]) -> str:
    header = ("column", "stage", "difference", "cases", "values", "layers", "largest error")
    lines = [class_line(group) for group in grouped[:SHOWN]]
    left = grouped[SHOWN:]
    unknown = sum(group.meaning.stage == UNKNOWN for group in left)
    rest = f"{unknown} of them of no known stage" if unknown else "all later in the flow"
    more = f"\nand {len(left)} kinds more, {rest}" if left else ""
    return aligned(header, lines, left=3) + more


def class_line(group: MismatchClass) -> Line:
    worst = error(group.worst[1])
    counts = (str(len(group.cases)), f"{len(group.mismatches):,}")
    return (
        group.name,
        group.meaning.stage,
        group.kind,
        *counts,
        spans(group.layers),
        f"{worst:.2e}" if worst >= 0 else "",
    )


def spans(layers: Sequence[int]) -> str:
    """Layers as ranges: 0, 2–4."""
    parts: list[list[int]] = []
    for layer in layers:
        if parts and layer == parts[-1][-1] + 1:
            parts[-1].append(layer)
        else:
            parts.append([layer])
    return ", ".join(f"{part[0]}–{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def look(grouped: Sequence[MismatchClass]) -> str:
    """The first stage that differs, its columns with what they are made of, and an example of each."""
    stage, equal = stages_reached(grouped)
    before = f"; the stages before it ({', '.join(equal)}) are equal throughout" if equal else ""
    unknown = [group for group in grouped if group.meaning.stage == UNKNOWN]
    lines = [f"Look first at stage “{stage}”{before}."] if stage != UNKNOWN else []
    if unknown:
        named = ", ".join(group.name for group in unknown[:SHOWN])
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        line = f"The contract does not know {named}{more}: no stage can be called equal."
        lines.append(printable(line))
    lines += [printable(f"{a} and {b} are swapped.") for a, b in swapped_columns(grouped)]
    for group in [group for group in grouped if group.meaning.stage == stage][:SHOWN]:
        case, mismatch = group.worst
        about = [group.meaning.definition, hint(group), f"{case}: {mismatch_line(mismatch)}"]
        lines.append(f"{printable(group.name)}\n" + indent("\n".join(filter(None, about))))
    return "\n".join(lines)


def verdict_counts(verdicts: Sequence[Mapping[str, str]]) -> str:
    """How many files of all cases are identical, equal, changed, missing, extra."""
    counts = Counter(verdict for case in verdicts for verdict in case.values())
    return "files: " + (", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v]) or "none")


def machine_classes(mismatches: Sequence[tuple[str, Mismatch]]) -> list[dict[str, Any]]:
    """Classes as JSON objects."""
    return [
        {
            "column": group.name,
            "kind": group.kind,
            "stage": group.meaning.stage,
            "definition": group.meaning.definition,
            "cases": list(group.cases),
            "values": len(group.mismatches),
            "layers": list(group.layers),
            "largest_error": worst if (worst := error(group.worst[1])) >= 0 else None,
            "example": {"case": group.worst[0], **mismatch_object(group.worst[1])},
        }
        for group in classes(mismatches)
    ]
