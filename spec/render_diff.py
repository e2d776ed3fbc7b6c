"""A diff as text for people and as JSON for machines: first what changed and where to look, then the numbers."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from .columns import FLOATS, quantity
from .compare import Mismatch
from .diff import Diff, Side
from .diff_columns import ColumnDiff, Parting, column_of
from .diff_facts import JUDGED, Change
from .text import aligned, indent, printable, shown
from .verdicts import CHANGED, EQUAL, IDENTICAL

COLUMNS_SHOWN, MISMATCHES_SHOWN = 12, 10


def text(diff: Diff) -> str:
    """Both runs, files, milestones, layers, columns, mismatches, and the verdict as the last line."""
    blocks = [
        heading(diff),
        files_table(diff),
        milestones(diff.milestones),
        layers_table(diff.partings),
    ]
    blocks += [
        columns_table(diff.columns),
        mismatch_lines(diff.mismatches),
        hint(diff),
        verdict(diff),
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
    return "\n".join(lines)


def side_line(side: Side, names: Iterable[str]) -> str:
    return ", ".join(
        [str(side.folder), *(side.facts[name] for name in names if name in side.facts)]
    )


def change_line(change: Change) -> str:
    return printable(f"{change.name}: {shown(change.a)} → {shown(change.b)}")


def files_table(diff: Diff) -> str:
    lines = [(f.file, f.verdict, f"{f.values:,}", f"{f.mismatches:,}") for f in diff.files]
    return aligned(("file", "verdict", "values", "beyond"), lines, left=2)


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


def layers_table(partings: Sequence[Parting]) -> str:
    """For each pass of each table the layers at which the runs part; nothing where they never do."""
    if not any(line.first_difference is not None for line in partings):
        return ""
    lines = [
        (f"{p.table} {p.where}", number(p.first_difference), number(p.first_beyond), p.column)
        for p in partings
    ]
    header = (
        "layers where they part",
        "first difference",
        "first beyond tolerance",
        "most in column",
    )
    return aligned(header, lines, left=1)


def number(layer: int | None) -> str:
    return "none" if layer is None else str(layer)


def columns_table(columns: Sequence[ColumnDiff]) -> str:
    """The columns that differ, the worst first."""
    differing = [column for column in columns if column.differs]
    header = ("column", "worst in", "median", "worst", "of tolerance", "beyond", "from layer")
    table = (
        [aligned(header, [column_line(c) for c in differing[:COLUMNS_SHOWN]], left=2)]
        if differing
        else []
    )
    more = len(differing) - COLUMNS_SHOWN
    table += [f"{more} more columns differ; --json lists all"] if more > 0 else []
    return "\n".join([*table, f"{len(columns) - len(differing)} columns are equal throughout"])


def column_line(column: ColumnDiff) -> tuple[str, ...]:
    measured = column.worst_error > 0
    errors = [f"{e:.1e}" if measured else "" for e in (column.median_error, column.worst_error)]
    layer = "" if column.layer is None else str(column.layer)
    times = share(column.worst_fraction) if measured else ""
    return (
        column.name,
        column.worst_row,
        *errors,
        times,
        f"{column.beyond} of {column.compared}",
        layer,
    )


def share(fraction: float) -> str:
    """A share of the tolerance as people read it."""
    if not isfinite(fraction):
        return "none allowed"
    return (
        f"{fraction:,.0f} times"
        if fraction >= 10
        else f"{fraction:.1f} times"
        if fraction > 1
        else f"{fraction:.1%}"
    )


def mismatch_lines(mismatches: Sequence[Mismatch]) -> str:
    """The first mismatch of each column, decisions before numbers; names that only one run has come together."""
    groups: dict[tuple[str, str], list[Mismatch]] = defaultdict(list)
    for mismatch in filter(lone, mismatches):
        groups[mismatch.file, mismatch.kind].append(mismatch)
    values = [mismatch for mismatch in mismatches if not lone(mismatch)]
    firsts = {(m.file, m.kind, column_of(m)): m for m in reversed(values)}.values()
    ranked = sorted(firsts, key=lambda m: (is_number(m), values.index(m)))
    lines = [*(group_line(file, kind, found) for (file, kind), found in groups.items())]
    lines += [mismatch_line(mismatch) for mismatch in ranked[:MISMATCHES_SHOWN]]
    more = len(values) - min(len(ranked), MISMATCHES_SHOWN)
    lines += [f"and {more:,} more; --json lists all"] if more > 0 else []
    return (
        "first differences beyond tolerance, column by column:\n" + indent("\n".join(lines))
        if lines
        else ""
    )


def is_number(mismatch: Mismatch) -> bool:
    """Whether only a measured number moved: no flag, rank, token or type."""
    return mismatch.kind == "value" and quantity(mismatch.column.split(".")[-1]) in FLOATS


def lone(mismatch: Mismatch) -> bool:
    """Whether it is a row, column or key of one run only; a file is told in the table of files."""
    return mismatch.kind.startswith(("missing ", "extra "))


def group_line(file: str, kind: str, found: Sequence[Mismatch]) -> str:
    what = kind.split(" ", 1)[1] + "s" * (len(found) > 1)
    side = "A" if kind.startswith("missing ") else "B"
    first = ", ".join(filter(None, (found[0].row, found[0].column)))
    told = f"{file}: {len(found):,} {what} only in {side}" + (f", first {first}" if first else "")
    return printable(told)


def mismatch_line(mismatch: Mismatch) -> str:
    where = ", ".join(filter(None, (mismatch.file, mismatch.row, mismatch.column)))
    if mismatch.kind in ("expected run", "obtained run"):
        side = "AB"[mismatch.kind == "obtained run"]
        return printable(f"{where or 'the run'} in {side}: {shown(mismatch.obtained)}")
    told = f"{where}: A {shown(mismatch.expected)}, B {shown(mismatch.obtained)} ({mismatch.kind})"
    return printable(told)


def hint(diff: Diff) -> str:
    """What to try where one run computed in half precision and the other did not."""
    halves = {change.name for change in diff.settings} & {"dtype", "use_fp32_unembed"}
    asked = diff.verdict == CHANGED and diff.tolerance == "fp32" and halves
    return (
        "the runs computed in different precision: --tolerance bf16 allows for its rounding"
        if asked
        else ""
    )


def verdict(diff: Diff) -> str:
    """The last line."""
    values = f"{diff.compared:,} values compared"
    if diff.verdict == IDENTICAL:
        return (
            f"{IDENTICAL}: the same bytes in {len(diff.files)} of {len(diff.files)} files, {values}"
        )
    if diff.verdict == EQUAL:
        worst = max(diff.columns, key=lambda column: column.worst_fraction)
        if not worst.worst_fraction:
            return f"{EQUAL} {diff.tolerance}: every number is the same, {values}"
        at = f", {worst.worst_row}" if worst.worst_row else ""
        return f"{EQUAL} {diff.tolerance}: at worst {share(worst.worst_fraction)} of it ({worst.name}{at}), {values}"
    wrong = [file for file in diff.files if file.verdict not in (IDENTICAL, EQUAL)]
    moved = sum(change.moved for change in diff.milestones)
    parts = [
        f"{len(wrong)} of {len(diff.files)} files",
        f"{moved} of {len(diff.milestones)} milestones and summaries",
        *first(diff),
    ]
    return f"{CHANGED} beyond {diff.tolerance}: " + ", ".join([*parts, values])


def first(diff: Diff) -> list[str]:
    """The earliest layer beyond tolerance: where to look."""
    found = [p for p in diff.partings if p.first_beyond is not None]
    if not found:
        return []
    start = min(found, key=lambda p: (p.where != "pos/orig", p.first_beyond))
    return [f"first at layer {start.first_beyond} of {start.where} ({start.table}: {start.column})"]


def machine(diff: Diff) -> str:
    """Everything, as one JSON object; what is not finite becomes null."""
    sides = {
        k: {"directory": str(s.folder), "run": s.clean, "facts": s.facts}
        for k, s in (("a", diff.a), ("b", diff.b))
    }
    names = ("settings", "files", "milestones", "partings", "columns", "mismatches")
    lists = {name: [plain(item) for item in getattr(diff, name)] for name in names}
    whole = {
        "verdict": diff.verdict,
        "sentence": verdict(diff),
        "tolerance": diff.tolerance,
        **sides,
        **lists,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def plain(item: Any) -> dict[str, Any]:
    return {
        k: None if isinstance(v, float) and not isfinite(v) else v for k, v in vars(item).items()
    }
