"""Text for people: tables, indentation, one mismatch on one line."""

from collections.abc import Sequence

from ..compare.runs import Mismatch

Line = tuple[str, ...]


def aligned(header: Line, lines: Sequence[Line], left: int) -> str:
    """Columns padded to their widest cell; the first `left` columns to the left, the others to the right."""
    lines = [tuple(map(printable, line)) for line in lines]
    widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(padded(line, widths, left) for line in (header, rule, *lines))


def padded(line: Line, widths: Sequence[int], left: int) -> str:
    """The cells of a line in their widths, the first `left` of them to the left."""
    cells = [
        cell.ljust(width) if i < left else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def indent(block: str) -> str:
    return "\n".join(f"    {line}" for line in block.splitlines())


def mismatch_line(mismatch: Mismatch) -> str:
    """A mismatch on one line: its place, both values and its kind."""
    values = f"expected {shown(mismatch.expected)}, obtained {shown(mismatch.obtained)} ({mismatch.kind})"
    place = str(mismatch.place)
    return printable(f"{place}: {values}" if place else values)


def shown(value: str) -> str:
    """A value as printed; "nothing" for an absent one."""
    return value or "nothing"


def printable(value: str) -> str:
    """A text on one line: what a terminal would obey or hide is written as Python writes it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
