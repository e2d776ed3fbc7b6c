"""Runs → a figure for a paper: a row of panels a quantity, a column a run, over the layers; always the same bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..core.milestones import milestones
from ..core.rows import PureRow
from ..output.run import Run
from .curves import MEAN, centre
from .escape import plain
from .facts import HEADS, finite, labels

QUANTITIES = {  # column of a pure-next-token table: its label
    "entropy": "entropy (bits)",
    "kl_to_final_bits": "KL to final (bits)",
    "answer_rank": "rank of answer",
    "p_answer": "p(answer)",
    "p_top1": "p(top-1)",
    "p_top5": "p(top-5)",
    "cos_to_final": "cosine to final",
    "control_margin": "control margin",
    "rest_mass": "p beyond the list",
}
LOGARITHMIC = "answer_rank"
# Okabe and Ito 2008, which people of every colour vision tell apart; without the yellow, which is pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")
# By milestone: of several at one layer, each is seen inside the other.
MARKERS: Mapping[str, dict[str, Any]] = dict(
    zip(
        HEADS,
        (
            {"marker": "s", "markersize": 6.5},
            {"marker": "*", "markersize": 4, "markerfacecolor": None},
            {"marker": "v", "markersize": 5},
            {"marker": "D", "markersize": 5.5},
        ),
        strict=True,
    )
)
COLUMN, PAGE, NARROWEST = 3.3, 7.0, 1.75  # inches: a column of a paper, two of them, a run of many
PANEL, MARGIN, LEGEND_ROW = 1.15, 0.35, 0.16  # inches of height
STYLE = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.35,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 300,
    "text.parse_math": False,
    "svg.hashsalt": "lenses-min",
    "pdf.fonttype": 42,
}
DATELESS: Mapping[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {},
}


@dataclass(frozen=True)
class Line:
    """A pass under a lens, or the mean of its passes: values by quantity, milestones by their key."""

    lens: str
    name: str
    layers: Sequence[int]
    values: Mapping[str, Sequence[float | None]]
    marks: Mapping[str, int]


def figure(
    runs: Sequence[Run],
    quantities: Sequence[str],
    lenses: Sequence[str],
    passes: Sequence[str],
    kind: str,
) -> bytes:
    """The file of a figure, of the kind svg, png or pdf: a line for each of the lenses and passes that a run has.

    `passes` are names of passes, or MEAN; without any, each run has its first.
    """
    drawn = [lines(run, quantities, lenses, passes) for run in runs]
    seen = [(line.lens, line.name) for of_run in drawn for line in of_run]
    looks = styles(seen, sole_pass=all(len({line.name for line in one}) < 2 for one in drawn))
    with style.context(["default", STYLE]):
        entries = legend(drawn, looks)
        columns = 3 if len(runs) < 3 else 6
        width = max(min(COLUMN * len(runs), PAGE), NARROWEST * len(runs))
        height = MARGIN + PANEL * len(quantities) + LEGEND_ROW * -(-len(entries) // columns)
        page = Figure(figsize=(width, height), layout="constrained")
        panels = page.subplots(
            len(quantities), len(runs), sharex="col", sharey="row", squeeze=False
        )
        for column, (label, of_run) in enumerate(zip(labels(runs), drawn, strict=True)):
            for row, quantity in enumerate(quantities):
                panel(panels[row, column], quantity, of_run, looks)
            panels[0, column].set_title(plain(label))
            panels[-1, column].set_xlabel("layer")
        for row, quantity in enumerate(quantities):
            panels[row, 0].set_ylabel(QUANTITIES[quantity])
        page.legend(handles=entries, loc="outside upper center", ncols=columns, frameon=False)
        page.savefig(content := BytesIO(), format=kind, metadata=DATELESS[kind])
    return content.getvalue()


def lines(
    run: Run, quantities: Sequence[str], lenses: Sequence[str], passes: Sequence[str]
) -> list[Line]:
    """What is drawn of a run."""
    drawn = []
    for lens in (lens for lens in lenses if lens in run.lenses):
        rows = {plain(name): own for name, own in run.passes(lens).items()}
        for name in passes or [*rows][:1]:
            if name in rows:
                drawn.append(one_pass(lens, name, rows[name], quantities))
            elif name == MEAN:
                drawn.append(mean(lens, [*rows.values()], quantities))
    return drawn


def one_pass(lens: str, name: str, rows: Sequence[PureRow], quantities: Sequence[str]) -> Line:
    first = milestones(rows)
    return Line(
        lens,
        name,
        [row.layer for row in rows],
        {quantity: [finite(getattr(row, quantity)) for row in rows] for quantity in quantities},
        {key: layer for key in HEADS if (layer := first[key]) is not None},
    )


def mean(lens: str, passes: Sequence[Sequence[PureRow]], quantities: Sequence[str]) -> Line:
    """The mean of the passes at every layer that all have, without milestones; of ranks the geometric mean."""
    at = [{row.layer: row for row in rows} for rows in passes]
    layers = sorted(set.intersection(*map(set, at)))
    values = {
        quantity: [
            centre(quantity, [finite(getattr(rows[layer], quantity)) for rows in at])
            for layer in layers
        ]
        for quantity in quantities
    }
    return Line(lens, MEAN, layers, values, {})


def styles(
    seen: Sequence[tuple[str, str]], sole_pass: bool
) -> dict[tuple[str, str], dict[str, Any]]:
    """How the line of each lens and pass looks: a colour a lens, and where there are several, a dash a pass.

    Under one lens, a colour a pass. Where a run has one pass, its line is named by the lens.
    """
    lenses, passes = (list(dict.fromkeys(names)) for names in zip(*seen, strict=True))
    if sole_pass:
        return {(lens, name): look(lens, lenses.index(lens)) for lens, name in seen}
    if len(lenses) == 1:
        return {(lens, name): look(name, passes.index(name)) for lens, name in seen}
    return {
        (lens, name): look(f"{lens}, {name}", lenses.index(lens), passes.index(name))
        for lens, name in seen
    }


def look(label: str, colour: int, dash: int = 0) -> dict[str, Any]:
    """Beyond the last colour they begin anew with another dash."""
    return {
        "label": f" {label}" if label.startswith("_") else label,  # matplotlib hides `_…`
        "color": COLOURS[colour % len(COLOURS)],
        "linestyle": DASHES[(dash + colour // len(COLOURS)) % len(DASHES)],
    }


def panel(
    axes: Axes,
    quantity: str,
    drawn: Sequence[Line],
    looks: Mapping[tuple[str, str], Mapping[str, Any]],
) -> None:
    """The lines of a run in one panel, with their milestones; a panel without values is marked as empty."""
    if quantity == LOGARITHMIC:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda rank, _: f"{rank:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for line in drawn:
        values, own = line.values[quantity], looks[line.lens, line.name]
        axes.plot(line.layers, [float("nan") if v is None else v for v in values], **own)
        at = dict(zip(line.layers, values, strict=True))
        for key, layer in line.marks.items():
            if (value := at[layer]) is not None:
                axes.plot([layer], [value], **mark(key, own["color"]))
    if all(value is None for line in drawn for value in line.values[quantity]):
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", va="center")


def mark(key: str, colour: str) -> dict[str, Any]:
    return {
        "color": colour,
        "linestyle": "none",
        "markerfacecolor": "none",
        "markeredgewidth": 0.7,
        "clip_on": False,
        "zorder": 3,
        **MARKERS[key],
    }


def legend(
    drawn: Sequence[Sequence[Line]], looks: Mapping[tuple[str, str], Mapping[str, Any]]
) -> list[Line2D]:
    """An entry for each line that looks like no other, then one for each milestone that is marked."""
    named = {own["label"]: own for own in looks.values()}
    marked = {key for of_run in drawn for line in of_run for key in line.marks}
    return [
        *(Line2D([], [], **own) for own in named.values()),
        *(
            Line2D([], [], label=name, **mark(key, "black"))
            for key, name in HEADS.items()
            if key in marked
        ),
    ]
