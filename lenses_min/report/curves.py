"""Runs → curves over the layers, without plotly: what each is named, who chooses it, and its values by panel."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log, log2
from typing import Any

from ..core.milestones import milestones
from ..core.rows import PureRow
from ..output.run import Run
from .escape import legible, plain
from .facts import HEADS, finite, labels, top_one

ALL = "all lenses"  # the choice that draws the first pass under every lens
MEAN = "mean of the passes"
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
CHANGES = {  # column: title of its change from the layer before
    "p_answer": "change of log2 p(answer), bits",
    "entropy": "change of entropy, bits",
    "kl_to_final_bits": "change of KL, bits",
}
Values = list[float | None]


@dataclass(frozen=True)
class Curve:
    """One curve over the layers of a run: `values` by panel, `texts` to point at, `marks` by layer.

    `show` has the choices of the page that show it, by control; `model` is the place of its run.
    """

    name: str
    model: int
    colour: str
    dash: str
    show: Mapping[str, Sequence[str]]
    layers: Sequence[int]
    depth: int
    values: Mapping[str, Sequence[float | None]]
    texts: Sequence[str] = ()
    marks: Mapping[int, str] = field(default_factory=dict)


def style(number: int, model: int, alone: bool) -> dict[str, Any]:
    """One run has a colour a curve; several have a colour a run and a dash a curve."""
    return {
        "colour": COLOURS[(number if alone else model) % len(COLOURS)],
        "dash": DASHES[not alone and number % len(DASHES)],
    }


def lines(runs: Sequence[Run]) -> Iterator[Curve]:
    """Every pass under every lens, their mean under each, and under the choice of all lenses the first pass.

    Of the other passes the choice of all lenses has the margins alone.
    """
    alone = len(runs) == 1
    for model, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        for j, lens in enumerate(run.lenses):
            passes = run.passes(lens)
            curves = [
                curve(run, rows, name, {"lens": lens, "pass": name, "model": model}, k, alone)
                for k, (name, rows) in enumerate(passes.items())
            ]
            yield from (named(one, label, alone) for one in curves)
            if len(curves) > 1:
                yield named(mean(curves, alone), label, alone)
            yield from (
                named(under_all(one, lens, j, k, alone), label, alone)
                for k, one in enumerate(curves)
            )


def curve(
    run: Run, rows: Sequence[PureRow], name: str, where: Mapping[str, Any], k: int, alone: bool
) -> Curve:
    """The k-th pass of a run under a lens; the first has its milestones marked."""
    model = where["model"]
    margins = any(row.control_margin is not None for row in rows)
    columns = [column for column in PANELS if margins or column != "control_margin"]
    return Curve(
        name=plain(name),
        model=model,
        show={"lens": [where["lens"]], "model": [str(model)], "pass": [plain(name)]},
        layers=[row.layer for row in rows],
        depth=rows[-1].layer,
        values={column: [finite(getattr(row, column)) for row in rows] for column in columns},
        texts=[legible(top_one(row)[0]) for row in rows],
        marks=marks(rows) if k == 0 else {},
        **style(k, model, alone),
    )


def named(one: Curve, label: str, alone: bool) -> Curve:
    """A curve by its own name, or behind the name of its run where there are several."""
    return one if alone else replaced(one, name=plain(f"{label}, {one.name}"))


def replaced(one: Curve, **changes: Any) -> Curve:
    return Curve(**{**vars(one), **changes})


def under_all(one: Curve, lens: str, j: int, k: int, alone: bool) -> Curve:
    """A pass as the choice of all lenses has it: named by its lens, a colour or a dash a lens."""
    columns = one.values if k == 0 else {"control_margin"} & one.values.keys()
    return replaced(
        one,
        name=lens,
        show={**one.show, "lens": [ALL]},
        values={column: one.values[column] for column in columns},
        marks={},
        **style(j, one.model, alone),
    )


def mean(curves: Sequence[Curve], alone: bool) -> Curve:
    """The mean of the passes of a run under a lens at every layer that all have; of ranks the geometric mean."""
    first, layers = curves[0], set.intersection(*(set(one.layers) for one in curves))
    at = [dict(zip(one.layers, range(len(one.layers)), strict=True)) for one in curves]
    kept = sorted(layers)
    return replaced(
        first,
        name=MEAN,
        show={**first.show, "pass": [MEAN]},
        layers=kept,
        values={
            column: [
                centre(column, [one.values[column][place[layer]] for one, place in having])
                for layer in kept
            ]
            for column in PANELS
            if (
                having := [
                    (one, p) for one, p in zip(curves, at, strict=True) if column in one.values
                ]
            )
        },
        texts=(),
        marks={},
        **style(len(curves), first.model, alone),
    )


def centre(column: str, values: Sequence[float | None]) -> float | None:
    """The mean of the values that are there; None where none is."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    if column == "answer_rank":
        return exp(sum(map(log, there)) / len(there)) if min(there) > 0 else None
    return sum(there) / len(there)


def changes(curves: Iterator[Curve]) -> Iterator[Curve]:
    """What changes from each layer to the next: differences of the logged values, log2 of a probability.

    There is none where a value of either layer is absent, a probability 0, or the layers are no neighbours.
    """
    for one in curves:
        if "p_answer" in one.values:
            yield replaced(
                one,
                values={column: differences(one, column) for column in CHANGES},
                marks={},
            )


def differences(one: Curve, column: str) -> Values:
    values = [measured(column, value) for value in one.values.get(column, ())]
    before: list[float | None] = [None, *values[:-1]]
    earlier = [-2, *one.layers[:-1]]
    return [
        None if now is None or then is None or layer != previous + 1 else now - then
        for now, then, layer, previous in zip(values, before, one.layers, earlier, strict=True)
    ]


def measured(column: str, value: float | None) -> float | None:
    """A value in bits; None for a probability of 0, which has no logarithm."""
    if value is None or column != "p_answer":
        return value
    return log2(value) if value > 0 else None


def marks(rows: Sequence[PureRow]) -> dict[int, str]:
    """The milestones of a pass by layer, those of one layer together."""
    first_layers = milestones(rows)
    names: dict[int, str] = {}
    for key, name in HEADS.items():
        if (layer := first_layers[key]) is not None:
            names[layer] = f"{names[layer]}, {name}" if layer in names else name
    return names
