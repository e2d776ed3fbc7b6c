"""Norm lens against the un-normalised residual: how much of an early answer is the norm's doing?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Generic

import numpy as np

from .host import A
from .metrics import Measures

HIGH_KL_BITS, MEDIUM_KL_BITS = 1.0, 0.5


def sampled_layers(mode: str, n_layers: int) -> list[int]:
    """Layers of the check: none, four along the depth, or all of 0 … n."""
    if mode == "off":
        return []
    blocks = (
        range(n_layers) if mode == "full" else (n_layers // 4, n_layers // 2, 3 * n_layers // 4)
    )
    return sorted({0, *(1 + block for block in blocks)})


@dataclass(frozen=True)
class RawLensMetrics(Generic[A]):
    """The sampled layers under the norm lens, compared with the raw residual, and under the raw lens itself."""

    norm: Measures[A]
    raw: Measures[A]


def samples(
    metrics: RawLensMetrics[np.ndarray], layers: Sequence[int], answers: Sequence[int]
) -> list[dict[str, Any]]:
    """One entry a sampled layer: the same numbers of the norm lens and of the raw residual side by side."""
    entries = []
    for i, layer in enumerate(layers):
        norm, raw = (one_side(side, i, bool(answers)) for side in (metrics.norm, metrics.raw))
        entry = {"layer": layer, "kl_norm_vs_raw_bits": float(metrics.norm.kl[i]) / log(2)}
        same = metrics.norm.top_id[i, 0] == metrics.raw.top_id[i, 0]
        entry |= {"top1_agree": bool(same)}
        for key in raw:
            entry |= {f"{key}_norm": norm[key], f"{key}_raw": raw[key]}
        entries.append(entry)
    return entries


def one_side(metrics: Measures[np.ndarray], i: int, resolved: bool) -> dict[str, Any]:
    """The numbers of one side at one layer; an answer without an id has none."""
    p = float(metrics.p_answer[i, 0]) if resolved else None
    rank = int(metrics.rank[i, 0]) if resolved else None
    return {
        "p_top1": float(metrics.top_p[i, 0]),
        "p_answer": p,
        "answer_rank": rank,
        "is_answer": rank == 1,
    }


def raw_lens_check(mode: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The block of the outputs: high risk when the norm lens alone finds the answer or KL ≥ 1 bit."""
    alone = [e["layer"] for e in entries if e["is_answer_norm"] and not e["is_answer_raw"]]
    worst = max((e["kl_norm_vs_raw_bits"] for e in entries), default=None)
    risk = None
    if worst is not None:
        high = bool(alone) or worst >= HIGH_KL_BITS
        risk = "high" if high else "medium" if worst >= MEDIUM_KL_BITS else "low"
    summary = {
        "first_norm_only_semantic_layer": alone[0] if alone else None,
        "max_kl_norm_vs_raw_bits": worst,
        "lens_artifact_risk": risk,
    }
    return {"mode": mode, "samples": entries, "summary": summary}
