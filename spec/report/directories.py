"""Two directories of runs as text for people and as JSON for machines: a verdict for each run, then what changed."""

import json
from collections.abc import Collection
from typing import Any

from ..compare.diff_directories import DirectoryDiff
from ..compare.verdicts import CHANGED, EQUAL, IDENTICAL
from . import diff as render_diff
from .differences import mismatch_lines
from .text import aligned, indent, printable


def text(found: DirectoryDiff, accepted: Collection[str]) -> str:
    """Every run with its verdict, files of no run, the full diff of each run that differs, the verdict of all."""
    blocks = [f"A: {found.a}\nB: {found.b}", runs_table(found)]
    if found.files:
        blocks.append("files of no run alone:\n" + indent(render_diff.files_table(found.files)))
    blocks += ["\n".join(render_diff.notes(found.files)), mismatch_lines(found.mismatches)]
    blocks += [
        f"{printable(name)}:\n" + indent(render_diff.text(diff, accepted))
        for name, diff in found.runs.items()
        if diff.verdict != IDENTICAL
    ]
    return "\n\n".join([*filter(None, blocks), printable(verdict(found))])


def runs_table(found: DirectoryDiff) -> str:
    lines = [(name, render_diff.verdict(diff)) for name, diff in found.runs.items()]
    lines += [(name, "only in A") for name in found.only_a]
    lines += [(name, "only in B") for name in found.only_b]
    return aligned(("run", "verdict"), lines, left=2)


def verdict(found: DirectoryDiff) -> str:
    """The last line: of the runs, and of the files of no run alone."""
    counts = [
        (sum(diff.verdict == CHANGED for diff in found.runs.values()), "changed"),
        (
            sum(diff.verdict == EQUAL for diff in found.runs.values()),
            f"equal within {found.tolerance}",
        ),
        (sum(diff.verdict == IDENTICAL for diff in found.runs.values()), "identical"),
        (len(found.only_a), "only in A"),
        (len(found.only_b), "only in B"),
    ]
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    files = render_diff.same(found.files) if found.files else ""
    runs = len(found.runs) + len(found.only_a) + len(found.only_b)
    shared = f"; of no run alone: {files}" if files else ""
    return f"{found.verdict}: of {runs} run{'s' * (runs != 1)} {told}{shared}"


def machine(found: DirectoryDiff) -> str:
    """Everything, as one JSON object."""
    whole: dict[str, Any] = {
        "verdict": found.verdict,
        "sentence": verdict(found),
        "tolerance": found.tolerance,
        "a": str(found.a),
        "b": str(found.b),
        "runs": {name: json.loads(render_diff.machine(diff)) for name, diff in found.runs.items()},
        "only_a": list(found.only_a),
        "only_b": list(found.only_b),
        "files": [render_diff.plain(file) for file in found.files],
        "mismatches": [render_diff.plain(mismatch) for mismatch in found.mismatches],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
