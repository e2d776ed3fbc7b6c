"""The statistics of a battery as curves; none where a run has no battery."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..output.battery.rows import BatteryRow
from ..output.run import Run
from .battery_lines import battery_of
from .curves import COLOURS, PANELS, Curve
from .escape import plain
from .facts import finite
from .figures import over_layers

DRAWN = {
    "entropy": "median",
    "kl_to_final_bits": "median",
    "answer_rank": "median",
    "p_answer": "mean",
}


def tag_of(group: str) -> str:
    """The name of the tag by which a group is made, `all` of all passes."""
    return group.partition("=")[0]


def tags_of(runs: Sequence[Run]) -> list[str]:
    """The tags that the page lets choose."""
    return list(dict.fromkeys(tag_of(row.group) for run in runs for row in battery_of(run)))


def bands(run: Run, model: int) -> dict[str, Any] | None:
    """Estimates over the layers, between the ends of their intervals; a colour a group, the control dashed."""
    rows = battery_of(run)
    if not rows:
        return None
    titles = {name: f"{PANELS[name]}, {estimate}" for name, estimate in DRAWN.items()}
    return over_layers(list(estimates(rows, model)), titles, alone=True)


def estimates(rows: Sequence[BatteryRow], model: int) -> Iterator[Curve]:
    """Three curves of each group under a lens, for own answers and for the control: the value and both ends."""
    colours: dict[str, str] = {}
    for row in rows:
        mates = [group for group in colours if tag_of(group) == tag_of(row.group)]
        colours.setdefault(row.group, COLOURS[len(mates) % len(COLOURS)])
    drawn = [row for row in rows if DRAWN.get(row.quantity) == row.estimate]
    for lens, group in dict.fromkeys((row.lens, row.group) for row in drawn):
        of_group = [row for row in drawn if (row.lens, row.group) == (lens, group)]
        own = [row for row in of_group if row.answer != "control"]
        control = [row for row in of_group if row.answer == "control"]
        for part, dash in ((own, "solid"), (control, "dash")):
            for end in ("value", "low", "high") if part else ():
                yield curve(part, end, dash if end == "value" else "dot", colours[group], model)


def curve(rows: Sequence[BatteryRow], end: str, dash: str, colour: str, model: int) -> Curve:
    """The value or an end of the interval of one group under one lens, in every panel."""
    first = rows[0]
    layers = sorted({row.layer for row in rows if row.layer is not None})
    name = plain(first.group) + (", control" if first.answer == "control" else "")
    return Curve(
        name=name if end == "value" else f"{name}, 95% interval",
        model=model,
        colour=colour,
        dash=dash,
        show={"model": [str(model)], "lens": [first.lens], "group": [tag_of(first.group)]},
        layers=layers,
        depth=layers[-1],
        values={
            quantity: [finite(getattr(at[layer], end)) if layer in at else None for layer in layers]
            for quantity in dict.fromkeys(row.quantity for row in rows)
            for at in [{row.layer: row for row in rows if row.quantity == quantity}]
        },
    )
