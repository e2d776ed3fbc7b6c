"""The differences of two runs for people, each on one line: names of one run only, then the first of each column."""

from collections import defaultdict
from collections.abc import Sequence

from ..compare.runs import Mismatch
from ..compare.stages import column_of
from ..runs.columns import FLOATS, quantity
from .text import indent, printable, shown

MISMATCHES_SHOWN = 10


def mismatch_lines(mismatches: Sequence[Mismatch]) -> str:
    """The first mismatch of each column, decisions before numbers; names that only one run has come together."""
    groups: dict[tuple[str, str], list[Mismatch]] = defaultdict(list)
    for mismatch in filter(lone, mismatches):
        groups[mismatch.file, mismatch.kind].append(mismatch)
    values = [mismatch for mismatch in mismatches if not lone(mismatch)]
    firsts: dict[tuple[str, str, str], Mismatch] = {}
    for mismatch in values:
        firsts.setdefault((mismatch.file, mismatch.kind, column_of(mismatch)), mismatch)
    ranked = sorted(firsts.values(), key=is_number)
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
    return mismatch.kind == "value" and quantity(mismatch.column.rsplit(".", 1)[-1]) in FLOATS


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
