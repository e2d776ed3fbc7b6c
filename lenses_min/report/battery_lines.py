"""The milestones of a battery as lines of a table; nothing where a run has none."""

from collections.abc import Mapping

from ..output.battery.rows import BatteryRow
from ..output.run import Run

SHOWN = ("L_copy", "L_copy_H", "L_semantic", "delta_layers")


def battery_of(run: Run) -> list[BatteryRow]:
    return list(run.tables.get(("battery", "norm"), ()))


def milestone_lines(run: Run, brief: bool = False) -> list[dict[str, str]]:
    """A line a lens and group: the passes, and of each milestone its share, median and quartiles.

    `brief`: the interval of the median is left out.
    """
    cells: dict[tuple[str, str], dict[tuple[str, str | None, str], BatteryRow]] = {}
    for row in battery_of(run):
        if row.quantity in SHOWN and row.layer is None:
            line = cells.setdefault((row.lens, row.group), {})
            line[row.quantity, row.answer, row.estimate] = row
    return [milestone_line(lens, group, line, brief) for (lens, group), line in cells.items()]


def milestone_line(
    lens: str, group: str, rows: Mapping[tuple[str, str | None, str], BatteryRow], brief: bool
) -> dict[str, str]:
    line = {"lens": lens, "group": group, "passes": str(max(row.n for row in rows.values()))}
    for name in SHOWN:
        for (quantity, answer, estimate), row in rows.items():
            if quantity == name and estimate == "share":
                head = f"{name}, control" if answer == "control" else name
                kinds = ("median", "lower quartile", "upper quartile")
                mates = {kind: rows[name, answer, kind] for kind in kinds}
                line[head] = reached(row, mates, brief)
    return line


def reached(share: BatteryRow, of_layers: Mapping[str, BatteryRow], brief: bool) -> str:
    """`35% (27–44), 28 (27–28), 26–29`: share, median, each with its interval, and quartiles."""
    text = f"{share.value or 0:.0%}{interval(share, 100, '.0f')}"
    median, low, high = of_layers.values()
    if median.value is None or low.value is None or high.value is None:
        return text
    layer = f"{median.value:g}" if brief else f"{median.value:g}{interval(median, 1, '.3g')}"
    return f"{text}, {layer}, {low.value:g}–{high.value:g}"


def interval(row: BatteryRow, scale: int, form: str) -> str:
    if row.low is None or row.high is None:
        return ""
    return f" ({row.low * scale:{form}}–{row.high * scale:{form}})"
