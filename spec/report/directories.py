"""Two directories of runs as text for people and as JSON for machines: a verdict for each run, then what changed."""

import json
from collections.abc import Collection
from typing import Any

from ..compare.diff_directories import DirectoryDiff
from ..compare.verdicts import CHANGED, EQUAL, IDENTICAL
from . import diff as render_diff
from .differences import mismatch_lines
from .objects import file_object, mismatch_object
from .text import aligned, indent, printable


def text(diff: DirectoryDiff, accepted: Collection[str]) -> str:
    """Every run with its verdict, files of no run, the full diff of each run that differs, the verdict of all."""
    blocks = [f"A: {diff.a}\nB: {diff.b}", runs_table(diff)]
    if diff.files:
        blocks.append("files of no run alone:\n" + indent(render_diff.files_table(diff.files)))
    blocks += ["\n".join(render_diff.notes(diff.files)), mismatch_lines(diff.mismatches)]
    blocks += [
        f"{printable(name)}:\n" + indent(render_diff.text(run, accepted))
        for name, run in diff.runs.items()
        if run.verdict != IDENTICAL
    ]
    return "\n\n".join([*filter(None, blocks), printable(verdict(diff))])


def runs_table(diff: DirectoryDiff) -> str:
    lines = [(name, render_diff.verdict(run)) for name, run in diff.runs.items()]
    lines += [(name, "only in A") for name in diff.only_a]
    lines += [(name, "only in B") for name in diff.only_b]
    return aligned(("run", "verdict"), lines, left=2)


def verdict(diff: DirectoryDiff) -> str:
    """The last line: of the runs, and of the files of no run alone."""
    counts = [
        (sum(run.verdict == CHANGED for run in diff.runs.values()), "changed"),
        (
            sum(run.verdict == EQUAL for run in diff.runs.values()),
            f"equal within {diff.tolerance}",
        ),
        (sum(run.verdict == IDENTICAL for run in diff.runs.values()), "identical"),
        (len(diff.only_a), "only in A"),
        (len(diff.only_b), "only in B"),
    ]
    summary = ", ".join(f"{count} {what}" for count, what in counts if count)
    files = render_diff.same(diff.files) if diff.files else ""
    runs = len(diff.runs) + len(diff.only_a) + len(diff.only_b)
    shared = f"; of no run alone: {files}" if files else ""
    return f"{diff.verdict}: of {runs} run{'s' * (runs != 1)} {summary}{shared}"


def machine(diff: DirectoryDiff) -> str:
    """Everything, as one JSON object."""
    whole: dict[str, Any] = {
        "verdict": diff.verdict,
        "sentence": verdict(diff),
        "tolerance": diff.tolerance,
        "a": str(diff.a),
        "b": str(diff.b),
        "runs": {name: json.loads(render_diff.machine(run)) for name, run in diff.runs.items()},
        "only_a": list(diff.only_a),
        "only_b": list(diff.only_b),
        "files": [file_object(file) for file in diff.files],
        "mismatches": [mismatch_object(mismatch) for mismatch in diff.mismatches],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
