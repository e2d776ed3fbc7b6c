"""rows → milestones: the first layers at which something happens, and what the passes say together."""

from collections.abc import Callable, Sequence
from typing import Any

from .rows import PureRow

KL_LEVELS = (0.5, 1.0)
RANK_LEVELS = (1, 5, 10)


def first(rows: Sequence[PureRow], holds: Callable[[PureRow], bool]) -> int | None:
    """The first layer whose row holds, or None."""
    return next((row.layer for row in rows if holds(row)), None)


def milestones(rows: Sequence[PureRow]) -> dict[str, int | None]:
    """First layers of one pass: copy, low entropy, semantic, and the KL and rank levels."""
    found = {
        "L_copy": first(rows, lambda r: r.copy_collapse),
        "L_copy_H": first(rows, lambda r: r.entropy_collapse),
        "L_semantic": first(rows, lambda r: r.is_answer),
    }
    found["delta_layers"] = difference(found["L_semantic"], found["L_copy"])
    for bits in KL_LEVELS:
        found[f"first_kl_below_{bits}"] = next(
            (
                r.layer
                for r in rows
                if r.kl_to_final_bits is not None and r.kl_to_final_bits <= bits
            ),
            None,
        )
    for rank in RANK_LEVELS:
        found[f"first_rank_le_{rank}"] = next(
            (r.layer for r in rows if (r.answer_rank or rank + 1) <= rank), None
        )
    return found


def difference(later: int | None, earlier: int | None) -> int | None:
    return None if later is None or earlier is None else later - earlier


def ablation_summary(
    orig: Sequence[PureRow], no_filler: Sequence[PureRow]
) -> dict[str, int | None]:
    """What removing the filler word moves."""
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
