"""The decisions of one table row: orders, membership, rank, collapses, milestones.

The neighbours of an answer in the vocabulary determine its rank. The files show them only where they are listed: in the
row itself, or for the last position of pos/orig in the records row of the same layer, which lists 20. A rank below
that, a first token below a list, and a swap of tokens that are not neighbours cannot be judged from the captured files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..runs import columns
from ..schema.cells import Row
from ..schema.summaries import CTL, POS
from .margins import Decision, Place

RANKS, DIVERGENCES = (1, 5, 10), (0.5, 1.0)


@dataclass(frozen=True)
class Rules:
    """The parameters of a case's decisions: copy threshold and margin, and the layer of each milestone."""

    copy_threshold: float
    copy_margin: float
    milestones: Mapping[str, int | None] = field(default_factory=dict)

    def decides(self, name: str, layer: int) -> bool:
        """Return whether a row of this layer can move the milestone: the layer is at or before it."""
        first = self.milestones[name]
        return first is None or layer <= first


def order_decisions(place: Place, listed: Sequence[float]) -> Iterator[Decision]:
    """Yield the order of each listed token and the next; ties are forgiven."""
    for i, (a, b) in enumerate(pairwise(listed), start=1):
        yield place.order(f"order of {i} and {i + 1}", a, b, forgivable=True)


def membership_decision(
    place: Place, listed: Sequence[float], wide: Sequence[float]
) -> Iterator[Decision]:
    """Yield the last token of a list against the first token below it, where a longer list has that token."""
    if 0 < len(listed) < len(wide):
        k = len(listed)
        yield place.order(
            f"last of {k} listed", listed[-1], wide[k], forgivable=place.tolerance.open_end
        )


def collapse_decisions(place: Place, row: Row, rules: Rules) -> Iterator[Decision]:
    """Yield entropy_collapse, and copy_collapse as far as it depends on numbers."""
    yield place.threshold("entropy_collapse", columns.ENTROPY, row["entropy"], 1.0)
    listed = row.probabilities
    if len(listed) < 2:
        return
    absolute = place.threshold(
        "copy_collapse", columns.PROBABILITY, listed[0], rules.copy_threshold
    )
    relative = place.order("copy_collapse", listed[0], listed[1] + rules.copy_margin)
    if row["copy_collapse"]:
        yield min(absolute, relative, key=lambda decision: decision.margin)
    elif failing := [
        decision for decision in (absolute, relative) if decision.value <= decision.threshold
    ]:
        yield max(failing, key=lambda decision: decision.margin)


def without_answer(row: Row, wide: Sequence[float]) -> list[float]:
    """Return the listed probabilities of all tokens except the answer."""
    others = list(wide)
    if row["answer_rank"] <= len(others) and row["p_answer"] in others:
        others.remove(row["p_answer"])
    return others


def rank_decisions(
    place: Place, row: Row, wide: Sequence[float], rules: Rules
) -> Iterator[Decision]:
    """Yield answer_rank against the neighbours that it may not pass, and the milestones where a rank may move."""
    rank, p = row["answer_rank"], row["p_answer"]
    if rank is None:
        return
    others = without_answer(row, wide)
    moves = place.tolerance.rank_moves(rank)
    sides = [i for i in (rank - 2 - moves, rank - 1 + moves) if 0 <= i < len(others)]
    if sides:
        decisions = [place.order("answer_rank", p, others[i]) for i in sides]
        yield min(decisions, key=lambda decision: decision.margin)
    if moves and row.where == POS:
        for limit in (limit for limit in RANKS if limit <= len(others)):
            if rules.decides(f"first_rank_le_{limit}", row["layer"]):
                yield place.order(f"first_rank_le_{limit}", p, others[limit - 1])


def is_rank_unseen(row: Row, wide: Sequence[float], moves: int, vocabulary: int) -> bool:
    """Return whether a neighbour that determines the answer's rank is not listed."""
    rank = row["answer_rank"]
    if rank is None:
        return False
    listed = len(without_answer(row, wide))
    return rank - 2 - moves >= listed or listed <= rank - 1 + moves < vocabulary - 1


def milestone_decisions(place: Place, row: Row, rules: Rules) -> Iterator[Decision]:
    """Yield KL milestones of pos/orig and the sign of the control margin of ctl/orig, up to their layers."""
    if row.where == POS:
        for limit in DIVERGENCES:
            if rules.decides(f"first_kl_below_{limit}", row["layer"]):
                yield place.threshold(
                    f"first_kl_below_{limit}", columns.KL, row["kl_to_final_bits"], limit
                )
    margin = row["control_margin"]
    if (
        row.where == CTL
        and margin is not None
        and rules.decides("first_control_margin_pos", row["layer"])
    ):
        yield place.threshold("first_control_margin_pos", columns.MARGIN, margin, 0.0)


def row_distances(row: Row, rules: Rules) -> Iterator[float]:
    """Yield the distance of the row's numbers from every threshold, in their own units."""
    listed = row.probabilities
    yield abs(row["entropy"] - 1.0)
    yield from (abs(row["kl_to_final_bits"] - limit) for limit in DIVERGENCES)
    yield abs(listed[0] - rules.copy_threshold)
    yield from (abs(listed[0] - second - rules.copy_margin) for second in listed[1:2])
