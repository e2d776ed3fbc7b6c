"""Words and columns for people: tables, indentation, one mismatch on one line."""

from collections.abc import Sequence

from ..compare.runs import Mismatch

Line = tuple[str, ...]


def aligned(header: Line, lines: Sequence[Line], left: int) -> str:
    """Columns padded to their widest cell; the first `left` columns to the left, the others to the right."""
    lines = [tuple(map(printable, line)) for line in lines]
    widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]
    rows = (
        "  ".join(
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))
        )
        for line in (header, tuple("-" * w for w in widths), *lines)
    )
    return "\n".join(row.rstrip() for row in rows)


def indent(block: str) -> str:
    return "\n".join(f"    {line}" for line in block.splitlines())


def mismatch_line(mismatch: Mismatch) -> str:
    where = ", ".join(part for part in (mismatch.file, mismatch.row, mismatch.column) if part)
    told = f"expected {shown(mismatch.expected)}, obtained {shown(mismatch.obtained)} ({mismatch.kind})"
    return printable(f"{where}: {told}" if where else told)


def shown(value: str) -> str:
    """A value on one line; an absent one is called nothing."""
    return value or "nothing"


def printable(value: str) -> str:
    """A text on one line: what a terminal would obey or hide is written as Python writes it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
