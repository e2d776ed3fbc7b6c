"""The agreement table of a run: how far its lenses are from each other and from the model."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..core.rows import AgreementRow, pass_name
from ..output.run import Run
from .curves import ALL, Curve, style
from .escape import plain
from .facts import finite, labels

DISTANCES = {  # column: title
    "kl_bits": "KL of one from the other, bits",
    "js_bits": "Jensen–Shannon divergence, bits",
    "tv": "total variation",
}
Pair = tuple[str, str, str]  # pass, lens, against


def pairs(run: Run) -> dict[Pair, list[AgreementRow]]:
    """The rows of each pass and pair; none where the run has no such table."""
    rows: Sequence[AgreementRow] = run.tables.get(("agreement", "norm"), ())
    pairs_: dict[Pair, list[AgreementRow]] = {}
    for row in rows:
        name = pass_name(row.prompt_id, row.prompt_variant)
        pairs_.setdefault((name, row.lens, row.against), []).append(row)
    return pairs_


def agreement_curves(runs: Sequence[Run]) -> Iterator[Curve]:
    """A curve a pair: one run has a colour a pair and a dash a pass, several a colour a run and a dash a pair."""
    alone = len(runs) == 1
    for model, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        passes: dict[str, int] = {}
        kinds: dict[tuple[str, str], int] = {}
        for (name, lens, against), rows in pairs(run).items():
            k = passes.setdefault(name, len(passes))
            own = f"{lens}, {against}, {name}"
            colours = style(kinds.setdefault((lens, against), len(kinds)), model, alone)
            yield Curve(
                name=plain(own if alone else f"{label}, {own}"),
                model=model,
                show=show(model, name, lens, against),
                layers=[row.layer for row in rows],
                depth=max(row.layer for row in rows),
                values={
                    column: [finite(getattr(row, column)) for row in rows] for column in DISTANCES
                },
                **(colours | ({"dash": style(k, 1, False)["dash"]} if alone else {})),
            )


def show(model: int, name: str, lens: str, against: str) -> dict[str, list[str]]:
    """A pair is seen under each of its lenses."""
    return {"model": [str(model)], "pass": [plain(name)], "lens": [lens, against, ALL]}


def agreement_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A line of the page for each pass and pair: how often both have the same top-1, and the largest KL."""
    return [
        {
            "show": show(model, name, lens, against),
            "cells": [
                label,
                name,
                f"{lens}, {against}",
                f"{sum(row.top1_agree for row in rows)} of {len(rows)}",
                f"{worst.kl_bits:.3g} bits at layer {worst.layer}",
            ],
        }
        for model, (run, label) in enumerate(zip(runs, labels(runs), strict=True))
        for (name, lens, against), rows in pairs(run).items()
        for worst in [max(rows, key=lambda row: finite(row.kl_bits) or 0)]
    ]
