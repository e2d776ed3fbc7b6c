"""Curves → what the page draws of them: panels, and each curve once with typed columns for all panels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..output.run import Run
from .columns import counted, packed
from .curves import CHANGES, PANELS, Curve, changes, lines, style
from .escape import plain
from .facts import finite, labels, raw_checks

RAW = {  # panel: title; the keys of a sample of the raw-lens check by kind of curve
    "kl": "KL of norm against raw, bits",
    "rank": PANELS["answer_rank"],
    "p": "p(top-1)",
}
SAMPLED = {
    "norm": {"kl": "kl_norm_vs_raw_bits", "rank": "answer_rank_norm", "p": "p_top1_norm"},
    "raw": {"rank": "answer_rank_raw", "p": "p_top1_raw"},
}


def curves(runs: Sequence[Run]) -> dict[str, Any]:
    """Every panel over the layers, for every pass and lens; several runs over relative depth."""
    return over_layers(list(lines(runs)), PANELS, len(runs) == 1)


def layer_changes(runs: Sequence[Run]) -> dict[str, Any] | None:
    """What changes from layer to layer; None where no run has anything of it."""
    drawn = [one for one in changes(lines(runs)) if any(map(has_values, one.values.values()))]
    return over_layers(drawn, CHANGES, len(runs) == 1) if drawn else None


def has_values(values: Sequence[float | None]) -> bool:
    return any(value is not None for value in values)


def over_layers(
    drawn: Sequence[Curve], titles: Mapping[str, str], alone: bool, markers: bool = False
) -> dict[str, Any]:
    """Curves in a panel for each of some columns, over the layers of one run or the depth of several.

    A panel without values is marked as empty; that of ranks is logarithmic.
    """
    return {
        "axis": "layer" if alone else "depth, % of the layers",
        "alone": alone,
        "markers": markers,
        "panels": [
            {
                "title": title,
                "empty": not any_has(drawn, column),
                "log": title.startswith(PANELS["answer_rank"]),
            }
            for column, title in titles.items()
        ],
        "curves": [content(one, list(titles), alone) for one in drawn],
    }


def any_has(drawn: Sequence[Curve], column: str) -> bool:
    return any(has_values(one.values.get(column, ())) for one in drawn)


def content(one: Curve, columns: Sequence[str], alone: bool) -> dict[str, Any]:
    """A curve for the page: its places once, and its values by the number of their panel."""
    last = one.depth or 1
    x = (
        counted(one.layers)
        if alone
        else packed(round(100 * layer / last, 2) for layer in one.layers)
    )
    return {
        "name": one.name,
        "colour": one.colour,
        "dash": one.dash,
        "show": dict(one.show),
        "x": x,
        "layers": list(one.layers) if one.texts and not alone else None,
        "texts": list(one.texts) or None,
        "y": {i: packed(one.values[name]) for i, name in enumerate(columns) if name in one.values},
        "marks": [
            {"name": f"{names} at {layer}", "at": list(one.layers).index(layer)}
            for layer, names in sorted(one.marks.items())
        ],
    }


def raw_against_norm(runs: Sequence[Run]) -> dict[str, Any] | None:
    """The sampled layers of the raw-lens check, norm solid and raw dotted; None where no run has any."""
    drawn = list(sampled(runs))
    return over_layers(drawn, RAW, len(runs) == 1, markers=True) if drawn else None


def sampled(runs: Sequence[Run]) -> Iterator[Curve]:
    """Two curves a check, of the norm lens and of no norm."""
    alone = len(runs) == 1
    for model, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        for k, (name, check) in enumerate(raw_checks(run).items()):
            samples = list(interrupted(check["samples"]))
            for kind, keys in SAMPLED.items() if samples else ():
                own = f"{name}: {kind}"
                yield Curve(
                    name=plain(own if alone else f"{label}, {own}"),
                    model=model,
                    colour=style(k, model, alone)["colour"],
                    dash="solid" if kind == "norm" else "dot",
                    show={"model": [str(model)]},
                    layers=[sample["layer"] for sample in samples],
                    depth=run.pure()[-1].layer,
                    values={
                        panel: [finite(sample.get(key)) for sample in samples]
                        for panel, key in keys.items()
                    },
                )


def interrupted(samples: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The samples, and one without values where the layers begin anew: a run of several facts has all in one list."""
    last = -1
    for sample in samples:
        if sample["layer"] <= last:
            yield {"layer": sample["layer"]}
        yield sample
        last = sample["layer"]
