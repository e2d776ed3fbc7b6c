"""The differences of two runs as tables: the first layers of each pass that differ, and the columns, worst first."""

from collections.abc import Sequence
from math import isfinite

from ..compare.diff_columns import ColumnDiff, FirstDivergence
from .text import aligned

COLUMNS_SHOWN, PASSES_SHOWN = 12, 40


def layers_table(divergences: Sequence[FirstDivergence]) -> str:
    """For each pass of each table the first layers that differ; "" where no pass differs."""
    if not any(line.first_difference is not None for line in divergences):
        return ""
    differing_first = sorted(divergences, key=lambda d: d.first_difference is None)
    shown = differing_first[:PASSES_SHOWN] if len(divergences) > PASSES_SHOWN else divergences
    lines = [
        (f"{d.table} {d.pass_name}", number(d.first_difference), number(d.first_beyond), d.column)
        for d in shown
    ]
    header = (
        "layers where they part",
        "first difference",
        "first beyond tolerance",
        "most in column",
    )
    more = f"\nand {len(divergences) - len(lines)} passes more; --json lists all"
    return aligned(header, lines, left=1) + more * (len(divergences) > len(lines))


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
    """A share of the tolerance as text."""
    if not isfinite(fraction):
        return "none allowed"
    return (
        f"{fraction:,.0f} times"
        if fraction >= 10
        else f"{fraction:.1f} times"
        if fraction > 1
        else f"{fraction:.1%}"
    )
