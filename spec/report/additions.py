"""What the obtained run has more than the expected one, by kind, each name once with the number of its cases."""

from collections import defaultdict
from collections.abc import Sequence

from ..compare.column import column_of
from ..compare.kinds import ADDITIONS, EXTRA, Kind
from ..compare.runs import Mismatch
from ..runs.listing import part_of
from .text import indent, printable

NAMED = 40  # names printed of one kind in one file


def is_addition(mismatch: Mismatch) -> bool:
    """Whether it is something more, beside which all that was there may be equal."""
    return mismatch.kind in ADDITIONS


def additions_text(mismatches: Sequence[tuple[str, Mismatch]]) -> str:
    """`What was added`, a line for each kind of file and of addition; "" where nothing was."""
    names: dict[tuple[str, Kind], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for case, mismatch in mismatches:
        if is_addition(mismatch):
            part = "" if mismatch.kind == Kind.EXTRA_FILE else part_of(mismatch.file)
            names[part, mismatch.kind][name_of(mismatch)].add(case)
    lines = [line(part, kind, added) for (part, kind), added in names.items()]
    return "What was added:\n" + indent("\n".join(lines)) if lines else ""


def name_of(mismatch: Mismatch) -> str:
    """The name of what was added: a file, a pass, a column or the path of a key."""
    if mismatch.kind == Kind.EXTRA_FILE:
        return mismatch.file
    if mismatch.kind == Kind.FURTHER_PASS:
        return mismatch.place.row_text
    return column_of(mismatch).name


def line(part: str, kind: Kind, added: dict[str, set[str]]) -> str:
    """One kind of addition to one kind of file, with all its names."""
    what = EXTRA[kind]
    plural = what if len(added) == 1 else f"{what}es" if what.endswith("s") else f"{what}s"
    shown = list(added)[:NAMED]
    more = f" and {len(added) - NAMED} more" if len(added) > NAMED else ""
    cases = {case for of_name in added.values() for case in of_name}
    where = f", in {len(cases)} cases" if len(cases) > 1 else ""
    head = f"{part}: " if part else ""
    return printable(f"{head}{len(added)} {plural}{where}: {', '.join(shown)}{more}")
