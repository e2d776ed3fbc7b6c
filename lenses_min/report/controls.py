"""What can be chosen on the page: selects with one value each, and boxes for runs and passes."""

from collections.abc import Sequence
from typing import Any

from ..output.run import Run
from .battery import tags_of
from .concerns import Concern
from .curves import ALL, COLOURS, DASHES, MEAN, style
from .escape import plain
from .facts import labels
from .heatmap import COLOURS as CELL_COLOURS

MOST = 6  # passes of a run alone that are all shown at first
STROKES = dict(
    zip(DASHES, ("", "2 3", "7 4", "12 5", "7 3 2 3", "12 3 2 3"), strict=True)
)  # as SVG writes them


def choices(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The selects of the page and their values, the first of them chosen."""
    lenses = list(dict.fromkeys(lens for run in runs for lens in run.lenses))
    prompts = list(dict.fromkeys(plain(row.pass_name) for run in runs for row in run.records()))
    return {
        "lens": [*lenses, ALL] if len(lenses) > 1 else lenses,
        "prompt": prompts,
        "colour": list(CELL_COLOURS),
    } | ({"group": groups} if (groups := tags_of(runs)) else {})


def models(runs: Sequence[Run], warned: Sequence[Sequence[Concern]]) -> list[dict[str, Any]]:
    """A box a run, with its colour, and whether warnings concern its curves."""
    return [
        {
            "value": str(model),
            "label": label,
            "checked": True,
            "colour": COLOURS[model % len(COLOURS)],
            "dash": "",
            "show": {},
            "warned": any(concern.columns for concern in warned[model]),
        }
        for model, label in enumerate(labels(runs))
    ]


def passes(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A box a pass, with the colour or dash of its curves, and one for their mean.

    Under all lenses together, colours and dashes are those of lenses, and the boxes show none.
    At first all passes of a run are shown, of many their mean and the first, and of several runs the first of each.
    """
    alone, lenses = len(runs) == 1, [lens for lens in choices(runs)["lens"] if lens != ALL]
    own = [list(map(plain, run.passes(lens))) for run in runs for lens in run.lenses]
    numbers: dict[str, int] = {}
    for names in own:
        for k, name in enumerate(names):
            numbers.setdefault(name, k)
    first = {names[0] for names in own if names}
    every = alone and len(numbers) <= MOST
    boxes = [box(name, k, every or name in first, alone, lenses) for name, k in numbers.items()]
    if most := max(map(len, own), default=0) * (len(numbers) > 1):
        boxes.append(box(MEAN, most, alone and not every, alone, lenses))
    return boxes


def box(
    name: str, number: int, checked: bool, alone: bool, lenses: Sequence[str]
) -> dict[str, Any]:
    look = style(number, 0, alone)
    return {
        "value": name,
        "label": name,
        "checked": checked,
        "colour": look["colour"] if alone else "",
        "dash": STROKES[look["dash"]],
        "show": {"lens": lenses},
        "warned": False,
    }
