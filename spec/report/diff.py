"""A diff as text for people and as JSON for machines: first what changed and where to look, then the numbers."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ..compare.diff import MADE_OTHERWISE, SAME_BUT_TIMES, Diff, FileDiff, Side
from ..compare.diff_facts import JUDGED, Change
from ..compare.verdicts import CHANGED, EQUAL, EXTENDED, IDENTICAL, NOT_UNDERSTOOD
from ..runs.places import dotted
from .additions import additions_text, is_addition
from .columns import columns_table, layers_table, share
from .differences import mismatch_lines
from .objects import (
    change_object,
    column_object,
    divergence_object,
    file_object,
    mismatch_object,
    note_object,
)
from .text import aligned, printable, shown

ACCEPTED = (IDENTICAL, EQUAL)  # verdicts that a caller takes for no difference


def text(diff: Diff, accepted: Collection[str] = ACCEPTED) -> str:
    """Both runs, files, milestones, layers, columns, mismatches, and the verdict as the last line.

    Where the verdict is none of the `accepted`, a line names the remaining difference between the runs.
    """
    blocks = [
        heading(diff),
        files_table(diff.files),
        "\n".join([*notes(diff.files), *beside(diff)]),
        milestones(diff.milestones),
        layers_table(diff.first_divergences),
    ]
    blocks += [
        columns_table(diff.columns),
        additions_text([("", mismatch) for mismatch in diff.mismatches]),
        mismatch_lines([m for m in diff.mismatches if not is_addition(m)]),
        hint(diff),
        rounding(diff) if diff.verdict not in accepted else "",
        printable(verdict(diff)),
    ]
    return "\n\n".join(filter(None, blocks))


def heading(diff: Diff) -> str:
    """Which two runs these are, and in what they were made otherwise."""
    names = [
        name
        for name in ("model", "device", "dtype")
        if name in diff.a.facts or name in diff.b.facts
    ]
    lines = [f"{label}: {side_line(side, names)}" for label, side in (("A", diff.a), ("B", diff.b))]
    lines += [f"{change_line(c)}{' (not judged)' * (c.name not in JUDGED)}" for c in diff.settings]
    lines += [printable(f"{dotted(n.path)}: {n.a} → {n.b} (not judged)") for n in diff.notes]
    return "\n".join(lines)


def side_line(side: Side, names: Iterable[str]) -> str:
    facts = [side.facts[name] for name in names if name in side.facts]
    return printable(", ".join([str(side.folder), *facts]))


def change_line(change: Change) -> str:
    return printable(f"{change.name}: {shown(change.a)} → {shown(change.b)}")


def files_table(files: Sequence[FileDiff]) -> str:
    lines = [(f.file, f.verdict, f"{f.values:,}", f"{f.mismatches:,}") for f in files]
    return aligned(("file", "verdict", "values", "beyond"), lines, left=2)


def notes(files: Sequence[FileDiff]) -> list[str]:
    """The values of manifests and summaries that were left out of the comparison, or not judged."""
    labels = {SAME_BUT_TIMES: "not compared", MADE_OTHERWISE: "not judged"}
    return [
        printable(f"{labels.get(file.verdict, file.verdict)}: {file.file}: {', '.join(file.notes)}")
        for file in files
        if file.notes
    ]


def beside(diff: Diff) -> list[str]:
    """The files in the folders that belong to neither run alone."""
    more = f" and {len(diff.left_out) - 1} more" if len(diff.left_out) > 1 else ""
    line = f"not compared, of no run alone: {', '.join(diff.left_out[:1])}{more}"
    return [printable(line)] if diff.left_out else []


def milestones(changes: Sequence[Change]) -> str:
    """The milestones that moved, A → B."""
    moved = [change for change in changes if change.moved]
    if not changes:
        return "no milestone was compared: a document is missing or cannot be read"
    if not moved:
        return f"no milestone or summary moved, {len(changes)} compared"
    lines = [(change.name, shown(change.a), shown(change.b)) for change in moved]
    return aligned(
        (f"milestones and summaries that moved: {len(moved)} of {len(changes)}", "A", "B"),
        lines,
        left=1,
    )


def hint(diff: Diff) -> str:
    """The option to try where one run computed in half precision and the other did not."""
    halves = {change.name for change in diff.settings} & {"dtype", "use_fp32_unembed"}
    helps = diff.verdict == CHANGED and diff.tolerance == "fp32" and halves
    return (
        "the runs computed in different precision: --tolerance bf16 allows for its rounding"
        if helps
        else ""
    )


def rounding(diff: Diff) -> str:
    """That nothing but rounding, or how the runs were made, is left between them; "" where more is."""
    if diff.verdict != EQUAL:
        return ""
    differing = sum(column.differing for column in diff.columns)
    some = f"{differing:,} of {diff.compared:,} values differ, none beyond {diff.tolerance}"
    difference = some if differing else "every value is the same, but not every byte"
    return f"not identical: {difference}; --tolerance {diff.tolerance} accepts that"


def verdict(diff: Diff) -> str:
    """The last line."""
    values = f"{diff.compared:,} values compared"
    if diff.verdict == IDENTICAL:
        return f"{IDENTICAL}: {same(diff.files)}, {values}"
    if diff.verdict == EQUAL:
        worst = max(diff.columns, key=lambda column: column.worst_fraction, default=None)
        if worst is None or not worst.worst_fraction:
            return f"{EQUAL} {diff.tolerance}: every number is the same, {values}"
        at = f", {worst.worst_row}" if worst.worst_row else ""
        return f"{EQUAL} {diff.tolerance}: at worst {share(worst.worst_fraction)} of it ({worst.name}{at}), {values}"
    wrong = [file for file in diff.files if not fits(file)]
    if diff.verdict == EXTENDED:
        more = f"{len(wrong)} of {len(diff.files)} files are new or have more"
        return f"{EXTENDED}: all of A is in B and equal {diff.tolerance}, {more}, {values}"
    moved = sum(change.moved for change in diff.milestones)
    parts = [
        f"{len(wrong)} of {len(diff.files)} files",
        f"{moved} of {len(diff.milestones)} milestones and summaries",
        *first(diff),
    ]
    how = f"beyond {diff.tolerance}" if diff.verdict == CHANGED else "in part"
    return f"{diff.verdict} {how}: " + ", ".join([*parts, values])


def fits(file: FileDiff) -> bool:
    """Whether nothing in a file, or of the file, speaks against two runs being equal."""
    return not file.judged or file.verdict in (IDENTICAL, NOT_UNDERSTOOD, EQUAL)


def same(files: Sequence[FileDiff]) -> str:
    """How many files have the same bytes, and which of them could not be read."""
    alike = sum(file.verdict in (IDENTICAL, NOT_UNDERSTOOD) for file in files)
    strange = [file.file for file in files if file.verdict == NOT_UNDERSTOOD]
    remarks = f" (not understood: {', '.join(strange)})" if strange else ""
    times = [file.file for file in files if file.verdict == SAME_BUT_TIMES]
    remarks += f", but for times in {', '.join(times)}" if times else ""
    return f"the same bytes in {alike} of {len(files)} files{remarks}"


def first(diff: Diff) -> list[str]:
    """The earliest layer beyond tolerance: where to look."""
    beyond = [d for d in diff.first_divergences if d.first_beyond is not None]
    if not beyond:
        return []
    start = min(beyond, key=lambda d: (d.pass_name != "pos/orig", d.first_beyond))
    return [
        f"first at layer {start.first_beyond} of {start.pass_name} ({start.table}: {start.column})"
    ]


def machine(diff: Diff) -> str:
    """Everything, as one JSON object; what is not finite becomes null."""
    whole = {
        "verdict": diff.verdict,
        "sentence": verdict(diff),
        "tolerance": diff.tolerance,
        "a": side_object(diff.a),
        "b": side_object(diff.b),
        "settings": list(map(change_object, diff.settings)),
        "files": list(map(file_object, diff.files)),
        "milestones": list(map(change_object, diff.milestones)),
        "partings": list(map(divergence_object, diff.first_divergences)),
        "columns": list(map(column_object, diff.columns)),
        "mismatches": list(map(mismatch_object, diff.mismatches)),
        "notes": list(map(note_object, diff.notes)),
        "not_compared": list(diff.left_out),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def side_object(side: Side) -> dict[str, Any]:
    return {"directory": str(side.folder), "run": side.file_stem, "facts": side.facts}
