"""Records → what the page draws as a heatmap of layers × positions: typed columns of every pass and lens of a run.

The page makes the cells of one pass under one lens where they are looked at, see page.heatmap.js.
"""

from collections.abc import Sequence
from typing import Any

from ..core.rows import RecordRow, by_pass
from ..output.run import Run
from .columns import Texts, counted, packed
from .curves import ALL
from .escape import legible, plain, short
from .facts import finite, last_only

# Pixels: all cells, a cell's least width, its height, a letter's width.
ROOM, CELL, HIGH, LETTER = 1080, 62, 20, 6.4
LABEL = 460  # pixels; plotly leaves out a label that is higher than its figure, and one of 20 tokens takes 380
MONO = "ui-monospace, Menlo, 'DejaVu Sans Mono', monospace"
COLOURS = ("entropy, bits", "p(top-1)")  # what colours the cells: strong where the lens is sure


def heatmap(run: Run, lenses: Sequence[str], prompts: Sequence[str] = ()) -> dict[str, Any]:
    """The layout of a run, its tokens, and the columns of each pass under each lens.

    `notes` stand for a lens, or a prompt among `prompts`, without records, and name the layers that lack positions.
    `tokens` are legible; `brief` has those that are too wide for a cell, shortened, by their index.
    """
    n, size = run.pure()[-1].layer, 1 + max((row.pos for row in run.records()), default=0)
    wide = max(CELL, ROOM / size)
    table, parts, notes = Texts(), list[dict[str, Any]](), list[dict[str, Any]]()
    inputs = {
        name: {row.pos: row.token for row in rows} for name, rows in by_pass(run.records()).items()
    }
    for lens in lenses:
        choices = [lens, ALL] if lens == "norm" else [lens]
        own = by_pass(run.records(lens) if lens in run.lenses else [])
        if not own:
            notes.append(note(f"no records under the {lens} lens", {"lens": choices}))
        for name in prompts if own else ():
            if name not in map(plain, own):
                notes.append(note(f"no records of {name}", {"lens": choices, "prompt": [name]}))
        for name, rows in own.items():
            show = {"lens": choices, "prompt": [plain(name)]}
            parts.append(columns(rows, inputs.get(name, {}), table) | {"show": show})
            if gap := last_only(rows):
                notes.append(note(gap, show))
    tokens = [legible(token) for token in table.texts]
    letters = int(wide / LETTER)
    return {
        "layout": layout(n, size, wide, entropies(run)),
        "layers": n + 1,
        "positions": size,
        "colours": list(COLOURS),
        "tokens": tokens,
        "brief": {
            i: brief
            for i, token in enumerate(table.texts)
            if (brief := short(token, letters)) != tokens[i]
        },
        "parts": parts,
        "notes": notes,
    }


def entropies(run: Run) -> float:
    """The largest entropy of a run's records: where its scale of colours ends."""
    rows = (row for lens in run.lenses for row in run.records(lens))
    return max((finite(row.entropy) or 0 for row in rows), default=1)


def columns(rows: Sequence[RecordRow], inputs: dict[int, str], table: Texts) -> dict[str, Any]:
    """The rows of a pass under a lens as typed arrays; `top` and `p` have `count` entries a row."""
    listed = [entry for row in rows for entry in row.top]
    return {
        "layer": counted(row.layer for row in rows),
        "pos": counted(row.pos for row in rows),
        "token": counted(table.indices(row.token for row in rows)),
        "entropy": packed(row.entropy for row in rows),
        "rest": packed(row.rest_mass for row in rows),
        "count": counted(len(row.top) for row in rows),
        "top": counted(table.indices(token for token, _ in listed)),
        "p": packed(p for _, p in listed),
        "input": {
            "pos": counted(inputs),
            "token": counted(table.indices(inputs.values())),
        },
    }


def note(text: str, show: dict[str, Any]) -> dict[str, Any]:
    return {"text": text, "show": show}


def layout(n: int, size: int, wide: float, most: float) -> dict[str, Any]:
    """Positions along, layers upwards from the input, and a scale of colours for each of `COLOURS`."""
    bar = {"thickness": 10, "len": 1, "outlinewidth": 0}
    axes = {
        axis: {
            "cmin": 0,
            "cmax": top,
            "colorbar": {**bar, "title": {"text": title, "side": "right"}},
        }
        for axis, title, top in zip(("coloraxis", "coloraxis2"), COLOURS, (most, 1), strict=True)
    }
    still = {"showgrid": False, "zeroline": False}
    return axes | {
        "showlegend": False,
        "width": wide * size + 150,
        "height": max(HIGH * (n + 2) + 60, LABEL),
        "margin": {"l": 60, "r": 90, "t": 40, "b": 20},
        "hoverlabel": {"align": "left", "font": {"family": MONO}},
        "xaxis": {
            **still,
            "side": "top",
            "title": {"text": "position"},
            "range": [-0.5, size - 0.5],
            "dtick": 1,
        },
        "yaxis": {
            **still,
            "title": {"text": "layer"},
            "range": [-1.5, n + 0.5],
            "tickvals": [-1, *range(n + 1)],
            "ticktext": ["input  ", *(f"{layer}  " for layer in range(n + 1))],
        },
    }
