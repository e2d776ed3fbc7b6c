"""The decisions that one row of a table makes: orders, membership, rank, collapses, milestones.

The rank of an answer is made by its neighbours in the vocabulary. They can be seen only where they are listed: in the
row itself, or for the last position of pos/orig in the records row of the same layer, which lists 20. A rank below
that, a first token below a list, and a swap of tokens that are no neighbours cannot be judged from the captured files.
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
    """What a case's decisions depend on: copy threshold and margin, and the layer at which each milestone fell."""

    copy_threshold: float
    copy_margin: float
    milestones: Mapping[str, int | None] = field(default_factory=dict)

    def decides(self, name: str, layer: int) -> bool:
        """Whether a row of this layer can move the milestone: it is the first one that holds, or comes before it."""
        first = self.milestones[name]
        return first is None or layer <= first


def orders(place: Place, listed: Sequence[float]) -> Iterator[Decision]:
    """Each listed token against the next; a tie is forgiven."""
    for i, (a, b) in enumerate(pairwise(listed), start=1):
        yield place.order(f"order of {i} and {i + 1}", a, b, forgivable=True)


def membership(place: Place, listed: Sequence[float], wide: Sequence[float]) -> Iterator[Decision]:
    """The last token of a list against the first that it leaves out, where a longer list shows that one."""
    if 0 < len(listed) < len(wide):
        k = len(listed)
        yield place.order(
            f"last of {k} listed", listed[-1], wide[k], forgivable=place.tolerance.open_end
        )


def collapses(place: Place, row: Row, rules: Rules) -> Iterator[Decision]:
    """entropy_collapse, and copy_collapse as far as numbers make it."""
    yield place.threshold("entropy_collapse", columns.ENTROPY, row["entropy"], 1.0)
    listed = row.probabilities
    if len(listed) < 2:
        return
    likely = place.threshold("copy_collapse", columns.PROBABILITY, listed[0], rules.copy_threshold)
    ahead = place.order("copy_collapse", listed[0], listed[1] + rules.copy_margin)
    if row["copy_collapse"]:
        yield min(likely, ahead, key=lambda decision: decision.margin)
    elif failing := [
        decision for decision in (likely, ahead) if decision.value <= decision.threshold
    ]:
        yield max(failing, key=lambda decision: decision.margin)


def without_answer(row: Row, wide: Sequence[float]) -> list[float]:
    """The listed probabilities of all tokens but the answer."""
    others = list(wide)
    if row["answer_rank"] <= len(others) and row["p_answer"] in others:
        others.remove(row["p_answer"])
    return others


def ranks(place: Place, row: Row, wide: Sequence[float], rules: Rules) -> Iterator[Decision]:
    """answer_rank against the neighbours that it may not pass, and the milestones where a rank may move at all."""
    rank, p = row["answer_rank"], row["p_answer"]
    if rank is None:
        return
    others, moves = without_answer(row, wide), place.tolerance.rank_moves(rank)
    sides = [i for i in (rank - 2 - moves, rank - 1 + moves) if 0 <= i < len(others)]
    if sides:
        found = [place.order("answer_rank", p, others[i]) for i in sides]
        yield min(found, key=lambda decision: decision.margin)
    if moves and row.where == POS:
        for limit in (limit for limit in RANKS if limit <= len(others)):
            if rules.decides(f"first_rank_le_{limit}", row["layer"]):
                yield place.order(f"first_rank_le_{limit}", p, others[limit - 1])


def rank_unseen(row: Row, wide: Sequence[float], moves: int, vocabulary: int) -> bool:
    """Whether a neighbour that makes the answer's rank is not listed."""
    rank = row["answer_rank"]
    if rank is None:
        return False
    listed = len(without_answer(row, wide))
    return rank - 2 - moves >= listed or listed <= rank - 1 + moves < vocabulary - 1


def first_layers(place: Place, row: Row, rules: Rules) -> Iterator[Decision]:
    """KL milestones in pos/orig, the sign of the control margin in ctl/orig, up to the layer at which they fall."""
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


def distances(row: Row, rules: Rules) -> Iterator[float]:
    """How far the row's numbers stand from every threshold, in their own units."""
    listed = row.probabilities
    yield abs(row["entropy"] - 1.0)
    yield from (abs(row["kl_to_final_bits"] - limit) for limit in DIVERGENCES)
    yield abs(listed[0] - rules.copy_threshold)
    yield from (abs(listed[0] - second - rules.copy_margin) for second in listed[1:2])
