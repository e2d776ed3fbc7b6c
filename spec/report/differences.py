"""The differences of two runs for people, each on one line: names of one run only, then the first of each column."""

from collections import defaultdict
from collections.abc import Sequence

from ..compare.column import Column, column_of
from ..compare.kinds import EXTRA, MISSING, UNREADABLE, Kind
from ..compare.runs import Mismatch
from ..runs.columns import FLOATS, quantity
from .text import indent, printable, shown

MISMATCHES_SHOWN = 10


def mismatch_lines(mismatches: Sequence[Mismatch]) -> str:
    """The first mismatch of each column, decisions before numbers; names that only one run has come together."""
    groups: dict[tuple[str, Kind], list[Mismatch]] = defaultdict(list)
    for mismatch in filter(is_one_sided, mismatches):
        groups[mismatch.file, mismatch.kind].append(mismatch)
    values = [mismatch for mismatch in mismatches if not is_one_sided(mismatch)]
    firsts: dict[tuple[str, Kind, Column], Mismatch] = {}
    for mismatch in values:
        firsts.setdefault((mismatch.file, mismatch.kind, column_of(mismatch)), mismatch)
    ranked = sorted(firsts.values(), key=is_number)[:MISMATCHES_SHOWN]
    lines = [group_line(file, kind, group) for (file, kind), group in groups.items()]
    lines += map(mismatch_line, ranked)
    if len(values) > len(ranked):
        lines.append(f"and {len(values) - len(ranked):,} more; --json lists all")
    if not lines:
        return ""
    return "first differences beyond tolerance, column by column:\n" + indent("\n".join(lines))


def is_number(mismatch: Mismatch) -> bool:
    """Whether only a measured number moved: no flag, rank, token or type."""
    return mismatch.kind == Kind.VALUE and quantity(mismatch.place.name) in FLOATS


def is_one_sided(mismatch: Mismatch) -> bool:
    """Whether it is a file, row, column or key that only one run has."""
    return mismatch.kind in MISSING or mismatch.kind in EXTRA


def group_line(file: str, kind: Kind, group: Sequence[Mismatch]) -> str:
    """How many rows, columns or keys of a file only one run has, and the first of them."""
    side, what = ("A", MISSING[kind]) if kind in MISSING else ("B", EXTRA[kind])
    plural = "s" * (len(group) > 1)
    place = group[0].place
    first = ", ".join(filter(None, (place.row_text, place.column_text)))
    example = f", first {first}" if first else ""
    return printable(f"{file}: {len(group):,} {what}{plural} only in {side}{example}")


def mismatch_line(mismatch: Mismatch) -> str:
    """A mismatch on one line, the runs called A and B."""
    place = str(mismatch.place)
    if mismatch.kind in UNREADABLE:
        side = "A" if mismatch.kind == Kind.EXPECTED_RUN else "B"
        return printable(f"{place or 'the run'} in {side}: {shown(mismatch.obtained)}")
    values = f"A {shown(mismatch.expected)}, B {shown(mismatch.obtained)}"
    return printable(f"{place}: {values} ({mismatch.kind})")
