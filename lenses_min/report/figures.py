"""Rows → plotly figures. `meta.show` of a trace lists the choices of the page that show it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..core.milestones import milestones
from ..core.rows import PureRow
from ..output.run import Run
from .escape import legible, plain
from .facts import HEADS, is_number, labels, raw_checks, top_one

ALL = "all lenses"  # the choice that draws the first pass under every lens
INK, SANS, MONO = (
    "#334155",
    "system-ui, 'Segoe UI', sans-serif",
    "ui-monospace, Menlo, 'DejaVu Sans Mono', monospace",
)
COLOURS = (
    "#2563eb",
    "#d97706",
    "#059669",
    "#db2777",
    "#7c3aed",
    "#0891b2",
    "#65a30d",
    "#64748b",
    "#dc2626",
    "#854d0e",
)
DASHES = ("solid", "dot", "dash", "longdash", "dashdot", "longdashdot")
PANELS = {  # column: title
    "entropy": "entropy, bits",
    "kl_to_final_bits": "KL to the final output, bits",
    "answer_rank": "rank of the answer",
    "p_answer": "p(answer)",
    "cos_to_final": "cosine to the final logits",
    "control_margin": "control margin",
}
RAW = {  # keys of a sample of the raw-lens check: title
    ("kl_norm_vs_raw_bits",): "KL of norm against raw, bits",
    ("answer_rank_norm", "answer_rank_raw"): "rank of the answer",
    ("p_top1_norm", "p_top1_raw"): "p(top-1)",
}
PSEUDO_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "%": "&#37;", "$": "&#36;"})


@dataclass(frozen=True)
class Curve:
    """A pass of a run under a lens, and how the panels of these columns draw it; `marked` with its milestones."""

    name: str
    rows: Sequence[PureRow]
    colour: str
    dash: str
    lens: str
    columns: Sequence[str] = tuple(PANELS)
    marked: bool = False


def literal(text: str) -> str:
    """A text that plotly shows unchanged: its pseudo-HTML, templates and formulas are escaped."""
    return text.translate(PSEUDO_HTML)


def rounded(value: Any) -> float | None:
    """A value to six digits; None, which is not drawn, where it is no finite number."""
    return float(f"{value:.6g}") if is_number(value) else None


def show(**choices: Sequence[str]) -> dict[str, Any]:
    return {"show": {name: list(values) for name, values in choices.items()}}


def panels(titles: Sequence[str], rows: int, axis: str) -> go.Figure:
    """An empty grid of three columns over layers or depth; the rank of the answer is logarithmic."""
    figure = make_subplots(
        rows, 3, subplot_titles=titles, horizontal_spacing=0.06, vertical_spacing=0.16
    )
    legend = {"orientation": "h", "y": -0.26 / rows, "yanchor": "top"}
    figure.update_layout(
        template="plotly_white", height=330 * rows, font={"family": SANS, "size": 12, "color": INK}
    )
    figure.update_layout(
        legend=legend, margin={"l": 48, "r": 16, "t": 32, "b": 40}, hoverlabel={"namelength": -1}
    )
    figure.update_annotations(font_size=13)
    figure.update_xaxes(matches="x")  # zoomed together
    figure.layout.xaxis.matches = None
    figure.update_xaxes(title={"text": axis, "font_size": 11}, row=rows)
    rank_panel = list(titles).index(PANELS["answer_rank"])
    figure.update_yaxes(type="log", row=rank_panel // 3 + 1, col=rank_panel % 3 + 1)
    return figure


def curves(runs: Sequence[Run]) -> go.Figure:
    """Every panel over the layers, for every pass and lens; several runs over relative depth."""
    alone, drawn = len(runs) == 1, list(lines(runs))
    figure = panels(list(PANELS.values()), 2, "layer" if alone else "depth, % of the layers")
    listed = len(drawn) // len({curve.lens for curve in drawn})
    figure.layout.height += 28 * (listed // 6)  # what the legend takes
    for i, column in enumerate(PANELS):
        panel = {"row": i // 3 + 1, "col": i % 3 + 1}
        values = [
            value
            for curve in drawn
            for row in curve.rows
            if (value := rounded(getattr(row, column))) is not None
        ]
        if not values:
            figure.layout.annotations[i].text += ": no values"
        reach = min([*values, 1 if column == "answer_rank" else 0]), max([*values, 1])
        for curve in drawn:
            if column in curve.columns:
                figure.add_trace(line(curve, column, alone), **panel)
            for layer, names in sorted(marks(curve).items()):
                figure.add_trace(mark(curve, layer, names, reach, alone, i == 0), **panel)
    return figure


def lines(runs: Sequence[Run]) -> Iterator[Curve]:
    """The curves: one run has a colour a pass, several have a colour a run and a dash a pass.

    Under the choice of all lenses, those of the first pass and the margins of the others, a colour or a dash a lens.
    """
    alone = len(runs) == 1
    for i, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        for j, lens in enumerate(run.lenses):
            for k, (name, rows) in enumerate(run.passes(lens).items()):
                margins = (
                    ["control_margin"]
                    if any(row.control_margin is not None for row in rows)
                    else []
                )
                others = [column for column in PANELS if column != "control_margin"]
                for choice, part, index, columns in (
                    (lens, name, k, [*others, *margins]),
                    (ALL, lens, j, others if k == 0 else margins),
                ):
                    colour, dash = (
                        COLOURS[(index if alone else i) % len(COLOURS)],
                        DASHES[not alone and index % len(DASHES)],
                    )
                    named = plain(part if alone else f"{label}, {part}")
                    yield Curve(
                        named, rows, colour, dash, choice, columns, choice == lens and k == 0
                    )


def line(curve: Curve, column: str, alone: bool) -> go.Scatter:
    """One curve in the panel of a column."""
    name = literal(curve.name)
    return go.Scatter(
        x=depths([row.layer for row in curve.rows], curve.rows[-1].layer, alone),
        y=[rounded(getattr(row, column)) for row in curve.rows],
        text=[f"layer {row.layer}: {literal(legible(top_one(row)[0]))}" for row in curve.rows],
        name=name,
        legendgroup=name,
        showlegend=column == "entropy",
        line={"color": curve.colour, "dash": curve.dash, "width": 1.8},
        hovertemplate=f"{name}<br>%{{text}}<br>%{{y:.5~g}}<extra></extra>",
        meta=show(lens=[curve.lens]),
    )


def marks(curve: Curve) -> dict[int, str]:
    """The milestones of a curve by layer, those of one layer together."""
    first_layers = milestones(curve.rows)
    names: dict[int, str] = {}
    for key, name in HEADS.items():
        if curve.marked and (layer := first_layers[key]) is not None:
            names[layer] = f"{names[layer]}, {name}" if layer in names else name
    return names


def mark(
    curve: Curve, layer: int, names: str, reach: tuple[float, float], alone: bool, listed: bool
) -> go.Scatter:
    """The line of a milestone across a panel, in the legend where there is one run."""
    name = literal(f"{names} at {layer}" if alone else f"{curve.name}: {names} at {layer}")
    return go.Scatter(
        x=depths([layer, layer], curve.rows[-1].layer, alone),
        y=reach,
        mode="lines",
        name=name,
        legendgroup=name,
        legendrank=2000,
        showlegend=listed and alone,
        line={"color": "#94a3b8" if alone else curve.colour, "dash": "dot", "width": 1.2},
        hoverinfo="name",
        meta=show(lens=[curve.lens]),
    )


def depths(layers: Sequence[int], last: int, alone: bool) -> list[float]:
    return [layer if alone else round(100 * layer / (last or 1), 2) for layer in layers]


def raw_against_norm(runs: Sequence[Run]) -> go.Figure | None:
    """The sampled layers of the raw-lens check, norm solid and raw dotted; None where no run has any."""
    alone = len(runs) == 1
    checks = [
        (run, label, *item)
        for run, label in zip(runs, labels(runs), strict=True)
        for item in raw_checks(run).items()
    ]
    figure = panels(list(RAW.values()), 1, "layer" if alone else "depth, % of the layers")
    for i, (run, label, name, check) in enumerate(checks):
        samples, last = list(interrupted(check["samples"])), run.pure()[-1].layer
        x = [None if s is None else depths([s["layer"]], last, alone)[0] for s in samples]
        for col, keys in enumerate(RAW, start=1):
            for key, kind, dash in zip(keys, ("norm", "raw"), ("solid", "dot"), strict=False):
                named = literal(plain(f"{name if alone else f'{label}, {name}'}: {kind}"))
                line, y = (
                    {"color": COLOURS[i % len(COLOURS)], "dash": dash},
                    [rounded((s or {}).get(key)) for s in samples],
                )
                style = {
                    "name": named,
                    "legendgroup": named,
                    "showlegend": col == 2,
                    "mode": "lines+markers",
                }
                figure.add_scatter(x=x, y=y, line=line, **style, row=1, col=col)
    return figure if any(check["samples"] for *_, check in checks) else None


def interrupted(samples: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any] | None]:
    """The samples, and None where the layers begin anew: a run of several facts has those of all facts in one list."""
    last = -1
    for sample in samples:
        if sample["layer"] <= last:
            yield None
        yield sample
        last = sample["layer"]
