"""rows → milestones: the first layers at which a condition holds, and summaries over passes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .rows import PureRow

KL_LEVELS = (0.5, 1.0)
RANK_LEVELS = (1, 5, 10)


def first(rows: Sequence[PureRow], holds: Callable[[PureRow], bool]) -> int | None:
    """The first layer whose row holds, or None."""
    return next((row.layer for row in rows if holds(row)), None)


def milestones(rows: Sequence[PureRow]) -> dict[str, int | None]:
    """First layers of one pass: copy, low entropy, semantic, and the KL and rank levels."""
    layers = {
        "L_copy": first(rows, lambda r: r.copy_collapse),
        "L_copy_H": first(rows, lambda r: r.entropy_collapse),
        "L_semantic": first(rows, lambda r: r.is_answer),
    }
    layers["delta_layers"] = difference(layers["L_semantic"], layers["L_copy"])
    for bits in KL_LEVELS:
        layers[f"first_kl_below_{bits}"] = first(rows, partial(kl_at_most, bits))
    for rank in RANK_LEVELS:
        layers[f"first_rank_le_{rank}"] = first(rows, partial(rank_at_most, rank))
    return layers


def kl_at_most(bits: float, row: PureRow) -> bool:
    return row.kl_to_final_bits is not None and row.kl_to_final_bits <= bits


def rank_at_most(rank: int, row: PureRow) -> bool:
    return row.answer_rank is not None and row.answer_rank <= rank


def difference(later: int | None, earlier: int | None) -> int | None:
    return None if later is None or earlier is None else later - earlier


def ablation_summary(
    orig: Sequence[PureRow], no_filler: Sequence[PureRow]
) -> dict[str, int | None]:
    """How the first layers move without the filler word."""
    a, b = milestones(orig), milestones(no_filler)
    return {
        "L_copy_orig": a["L_copy"],
        "L_sem_orig": a["L_semantic"],
        "L_copy_nf": b["L_copy"],
        "L_sem_nf": b["L_semantic"],
        "delta_L_copy": difference(b["L_copy"], a["L_copy"]),
        "delta_L_sem": difference(b["L_semantic"], a["L_semantic"]),
    }


def control_summary(rows: Sequence[PureRow]) -> dict[str, Any]:
    """Where the control answer overtakes the main one, and by how much at most."""
    margins = [row.control_margin for row in rows if row.control_margin is not None]
    positive = first(rows, lambda r: r.control_margin is not None and r.control_margin > 0)
    return {"first_control_margin_pos": positive, "max_control_margin": max(margins, default=None)}
