"""How firm a milestone is: how near its decision was, and which layers other thresholds or rounding would give.

A milestone is the first layer whose row holds, so two things can change it: an earlier row that comes to hold, or the
row that decides it, which ceases to. The nearest layer is the one of these whose margin is least. Numbers, units, moved
thresholds and rounding of each condition: `decisions.py`. All of it follows from the rows of a pass.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite

from ..core.milestones import KL_LEVELS, RANK_LEVELS, difference, milestones
from ..core.rows import PureRow
from .decisions import (
    Decide,
    Decision,
    Thresholds,
    copies,
    gap,
    is_answer,
    is_first,
    is_near,
    is_ranked,
    is_sure,
)


@dataclass(frozen=True)
class Firmness:
    """A milestone and what would change it.

    `earliest` and `latest` are its layers under the loosest and the tightest thresholds, None where no layer holds.
    `margin` is that of the layer that decides it, `nearest_margin` that of the layer nearest to changing it, both ≥ 0
    in `unit`, None where no number of the rows decides. `within_rounding`: whether the rounding of the model's dtype
    may change the milestone, None where that is not known. A difference of two milestones has no margins.
    """

    layer: int | None
    earliest: int | None
    latest: int | None
    unit: str
    margin: int | float | None
    nearest_layer: int | None
    nearest_margin: int | float | None
    within_rounding: bool | None

    @property
    def notes(self) -> list[str]:
        """What stands beside the layer: the layers of moved thresholds where they differ, and the verdict."""
        ends = ["none" if end is None else str(end) for end in (self.earliest, self.latest)]
        layers = ["–".join(ends)] if ends[0] != ends[1] else []
        verdict = {True: ["not firm"], False: ["firm"], None: []}[self.within_rounding]
        return layers + verdict

    def __str__(self) -> str:
        """`25 (24–27, firm)`."""
        layer = "-" if self.layer is None else str(self.layer)
        return f"{layer} ({', '.join(self.notes)})" if self.notes else layer


def firmness(rows: Sequence[PureRow], prompt: str, t: Thresholds) -> dict[str, Firmness]:
    """The firmness of every milestone of one pass, by its name; `prompt` is the text of the pass."""
    by_gap = any(gap(row, 1) is not None for row in rows)
    firm = {
        name: assess([decide(row, t) for row in rows], unit)
        for name, (unit, decide) in conditions(prompt, by_gap).items()
    }
    firm["delta_layers"] = delta(firm["L_semantic"], firm["L_copy"])
    return {name: firm[name] for name in milestones(rows)}


def conditions(prompt: str, by_gap: bool) -> dict[str, tuple[str, Decide]]:
    """Unit and condition of every milestone; `by_gap`: probabilities of the answer are known, not only ranks."""
    levels = {f"first_kl_below_{bits}": partial(is_near, bits=bits) for bits in KL_LEVELS}
    ranks = {f"first_rank_le_{rank}": partial(is_ranked, level=rank) for rank in RANK_LEVELS}
    return {
        "L_copy": ("probability", partial(copies, prompt=prompt)),
        "L_copy_H": ("bits", is_sure),
        "L_semantic": ("bits", is_answer) if by_gap else ("ranks", is_first),
        **{name: ("bits", decide) for name, decide in levels.items()},
        **{name: ("ranks", decide) for name, decide in ranks.items()},
    }


def assess(decisions: Sequence[Decision], unit: str) -> Firmness:
    """The firmness of the first layer that holds."""
    index = next((i for i, d in enumerate(decisions) if d.holds), None)
    reach = decisions if index is None else decisions[: index + 1]
    known = [(d.margin, d.layer) for d in reach if d.margin is not None and isfinite(d.margin)]
    nearest_margin, nearest_layer = min(known, default=(None, None))
    return Firmness(
        layer=None if index is None else decisions[index].layer,
        earliest=next((d.layer for d in decisions if d.loose), None),
        latest=next((d.layer for d in decisions if d.tight), None),
        unit=unit,
        margin=None if index is None else decisions[index].margin,
        nearest_layer=nearest_layer,
        nearest_margin=nearest_margin,
        within_rounding=any_of([d.turns for d in reach]) if reach else None,
    )


def delta(later: Firmness, earlier: Firmness) -> Firmness:
    """The difference of two milestones whose thresholds move independently."""
    absent = [f.within_rounding for f in (later, earlier) if f.layer is None]
    # Where one of them is absent there is no difference, unless every absent one comes to be.
    moves = all_of(absent) if absent else any_of([later.within_rounding, earlier.within_rounding])
    return Firmness(
        layer=difference(later.layer, earlier.layer),
        earliest=difference(later.earliest, earlier.latest),
        latest=difference(later.latest, earlier.earliest),
        unit="layers",
        margin=None,
        nearest_layer=None,
        nearest_margin=None,
        within_rounding=moves,
    )


def any_of(answers: Collection[bool | None]) -> bool | None:
    """Whether one of them holds; None where that depends on one that is not known."""
    return True if True in answers else None if None in answers else False


def all_of(answers: Collection[bool | None]) -> bool | None:
    """Whether all of them hold; None where that depends on one that is not known."""
    return False if False in answers else None if None in answers else True
