"""The statistics of a battery as a figure; nothing where a run has none."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from ..output.battery.rows import BatteryRow
from ..output.run import Run
from .battery_lines import battery_of
from .escape import plain
from .figures import COLOURS, PANELS, literal, panels, rounded, show

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


def bands(run: Run) -> go.Figure | None:
    """Estimates over the layers with their intervals, a colour a group, the control dotted."""
    rows = battery_of(run)
    if not rows:
        return None
    figure = panels([PANELS[name] for name in DRAWN], 2, "layer")
    colours: dict[str, str] = {}
    for row in rows:
        mates = [group for group in colours if tag_of(group) == tag_of(row.group)]
        colours.setdefault(row.group, COLOURS[len(mates) % len(COLOURS)])
    for i, (quantity, estimate) in enumerate(DRAWN.items()):
        figure.layout.annotations[i].text += f", {estimate}"
        drawn = [r for r in rows if (r.quantity, r.estimate) == (quantity, estimate)]
        for lens, group, answer in dict.fromkeys((r.lens, r.group, r.answer) for r in drawn):
            line = [r for r in drawn if (r.lens, r.group, r.answer) == (lens, group, answer)]
            for trace in traces(line, colours[group], i == 0):
                figure.add_trace(trace, row=i // 3 + 1, col=i % 3 + 1)
    return figure


def traces(rows: Sequence[BatteryRow], colour: str, listed: bool) -> Iterator[go.Scatter]:
    """The line of one group under one lens, and the band of its interval."""
    first, layers = rows[0], [row.layer for row in rows]
    name = literal(plain(first.group)) + (", control" if first.answer == "control" else "")
    chosen = show(lens=[first.lens], group=[tag_of(first.group)])
    ends = [rounded(row.low) for row in rows], [rounded(row.high) for row in rows]
    for end, fill in zip(ends, (None, "tonexty"), strict=True):
        yield go.Scatter(
            x=layers,
            y=end,
            mode="lines",
            line={"width": 0, "color": colour},
            fill=fill,
            fillcolor=f"rgba({int(colour[1:3], 16)}, {int(colour[3:5], 16)}, {int(colour[5:], 16)}, 0.15)",
            legendgroup=name,
            showlegend=False,
            hoverinfo="skip",
            meta=chosen,
        )
    yield go.Scatter(
        x=layers,
        y=[rounded(row.value) for row in rows],
        name=name,
        legendgroup=name,
        showlegend=listed,
        line={
            "width": 1.8,
            "color": colour,
            "dash": "dot" if first.answer == "control" else "solid",
        },
        hovertemplate=f"{name}, {first.n} passes<br>layer %{{x}}<br>%{{y:.5~g}}<extra></extra>",
        meta=chosen,
    )
