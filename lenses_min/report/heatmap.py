"""Records → a heatmap of layers × positions for every pass and lens of a run, the top-1 token in each cell."""

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from ..core.rows import RecordRow, by_pass
from ..output.run import Run
from .escape import legible, plain, short
from .facts import last_only, top_one
from .figures import ALL, INK, MONO, SANS, literal, rounded, show

ROOM, CELL, HIGH, LETTER = (
    1080,
    62,
    20,
    6.4,
)  # pixels: all cells, a cell's least width, its height, a letter's width
LABEL = 460  # pixels; plotly leaves out a label that is higher than its figure, and one of 20 tokens takes 380
BLUES = ["#ffffff", "#93c5fd", "#3b82f6"]  # light enough for dark letters
COLOURS = {
    "entropy, bits": BLUES[::-1],
    "p(top-1)": BLUES,
}  # what colours the cells: dark where the lens is sure


def heatmap(run: Run, lenses: Sequence[str], prompts: Sequence[str] = ()) -> go.Figure:
    """The figure of a run; a note stands for a lens, or a prompt among `prompts`, without records."""
    n, size = run.pure()[-1].layer, 1 + max((row.pos for row in run.records()), default=0)
    wide = max(CELL, ROOM / size)
    figure = frame(
        n,
        size,
        wide,
        max(
            (rounded(row.entropy) or 0 for lens in run.lenses for row in run.records(lens)),
            default=1,
        ),
    )
    tokens = {(row.pass_name, row.pos): row.token for row in run.records()}
    for lens in lenses:
        own = by_pass(run.records(lens) if lens in run.lenses else [])
        choices = [lens, ALL] if lens == "norm" else [lens]
        if not own:
            figure.add_trace(note(f"no records under the {lens} lens", n, size, show(lens=choices)))
        for name in prompts if own else ():
            if name not in map(plain, own):
                seen = show(lens=choices, prompt=[name])
                figure.add_trace(note(f"no records of {name}", n, size, seen))
        for name, rows in own.items():
            seen = show(lens=choices, prompt=[plain(name)])
            figure.add_trace(cells(rows, n, size, int(wide / LETTER), seen))
            read = {pos: token for (prompt, pos), token in tokens.items() if prompt == name}
            text = [literal(short(token, int(wide / LETTER))) for token in read.values()]
            whole = [f"position {pos}: {literal(legible(token))}" for pos, token in read.items()]
            style = {
                "mode": "text",
                "textfont": {"family": MONO, "size": 10},
                "hoverinfo": "text",
                "meta": seen,
            }
            figure.add_scatter(
                x=list(read), y=[-1] * len(read), text=text, hovertext=whole, **style
            )
            if gap := last_only(rows):
                figure.add_trace(note(gap, n, size, seen))
    return figure


def frame(n: int, size: int, wide: float, most: float) -> go.Figure:
    """The empty figure: positions along, layers upwards from the input, and both colour scales."""
    bar, figure = {"thickness": 10, "len": 1, "outlinewidth": 0}, go.Figure()
    figure.update_layout(
        template="plotly_white", showlegend=False, font={"family": SANS, "size": 12, "color": INK}
    )
    figure.update_layout(width=wide * size + 150, height=max(HIGH * (n + 2) + 60, LABEL))
    figure.update_layout(
        margin={"l": 60, "r": 90, "t": 40, "b": 20},
        hoverlabel={"align": "left", "font_family": MONO},
    )
    for axis, (title, scale), top in zip(
        ("coloraxis", "coloraxis2"), COLOURS.items(), (most, 1), strict=True
    ):
        heading = {"text": title, "side": "right"}
        figure.update_layout(
            {
                axis: {
                    "colorscale": scale,
                    "cmin": 0,
                    "cmax": top,
                    "colorbar": {**bar, "title": heading},
                }
            }
        )
    figure.update_xaxes(
        side="top",
        title="position",
        range=[-0.5, size - 0.5],
        dtick=1,
        showgrid=False,
        zeroline=False,
    )
    ticks = {
        "tickvals": [-1, *range(n + 1)],
        "ticktext": ["input  ", *(f"{layer}  " for layer in range(n + 1))],
    }
    figure.update_yaxes(
        title="layer", range=[-1.5, n + 0.5], showgrid=False, zeroline=False, **ticks
    )
    return figure


def cells(
    rows: Sequence[RecordRow], n: int, size: int, letters: int, seen: dict[str, Any]
) -> go.Heatmap:
    """The cells of a pass under a lens; `meta.z` holds their values by what colours them."""
    by_place = {(row.layer, row.pos): row for row in rows}

    def grid(value: Callable[[RecordRow], Any], absent: Any = None) -> list[list[Any]]:
        return [
            [
                value(by_place[layer, pos]) if (layer, pos) in by_place else absent
                for pos in range(size)
            ]
            for layer in range(n + 1)
        ]

    values = (grid(lambda row: rounded(row.entropy)), grid(lambda row: rounded(top_one(row)[1])))
    return go.Heatmap(
        z=values[0],
        text=grid(lambda row: literal(short(top_one(row)[0], letters)), ""),
        hovertext=grid(hover),
        hoverinfo="text",
        hoverongaps=False,
        texttemplate="%{text}",
        textfont={"family": MONO, "size": 10, "color": "#0f172a"},
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        meta={**seen, "z": dict(zip(COLOURS, values, strict=True))},
    )


def hover(row: RecordRow) -> str:
    """All that a row lists, a token a line; each token's direction of writing stays its own."""
    listed = [f"{p:<9.4g} \u2068{literal(legible(token))}\u2069" for token, p in row.top]
    head = f"layer {row.layer}, position {row.pos}: \u2068{literal(legible(row.token))}\u2069"
    return "<br>".join(
        [head, f"entropy {row.entropy:.4f} bits", *listed, f"{row.rest_mass:<9.4g} all others"]
    )


def note(text: str, n: int, size: int, seen: dict[str, Any]) -> go.Scatter:
    middle = {
        "x": [(size - 1) / 2],
        "y": [n / 2],
        "text": [literal(text)],
        "textfont": {"size": 14},
    }
    return go.Scatter(**middle, mode="text", hoverinfo="skip", meta=seen)
