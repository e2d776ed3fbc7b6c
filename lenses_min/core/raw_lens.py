"""Norm lens against the un-normalised residual: how much of an early answer is the norm's doing?"""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from .metrics import HostMetrics

SIDES = ("norm", "raw")
HIGH_KL_BITS, MEDIUM_KL_BITS = 1.0, 0.5


def sampled_layers(mode: str, n_layers: int) -> list[int]:
    """Layers of the check: none, four along the depth, or all of 0 … n."""
    if mode == "off":
        return []
    blocks = (
        range(n_layers) if mode == "full" else (n_layers // 4, n_layers // 2, 3 * n_layers // 4)
    )
    return sorted({0, *(1 + block for block in blocks)})


def samples(
    host: Mapping[str, HostMetrics], layers: Sequence[int], answers: Sequence[int]
) -> list[dict[str, Any]]:
    """One entry a sampled layer: the same numbers of the norm lens and of the raw residual side by side."""
    entries = []
    for i, layer in enumerate(layers):
        sides = {side: numbers(host[f"raw_{side}"], i, bool(answers)) for side in SIDES}
        top = [int(host[f"raw_{side}"]["top_id"][i, 0]) for side in SIDES]
        entry = {"layer": layer, "kl_norm_vs_raw_bits": float(host["raw_norm"]["kl"][i]) / log(2)}
        entry |= {"top1_agree": top[0] == top[1]}
        entries.append(
            entry | {f"{key}_{side}": sides[side][key] for key in sides["raw"] for side in SIDES}
        )
    return entries


def numbers(host: HostMetrics, i: int, resolved: bool) -> dict[str, Any]:
    """What one side says of one layer; an answer without an id is never found."""
    p, rank = (float(host["p_answer"][i, 0]), int(host["rank"][i, 0])) if resolved else (None, None)
    return {
        "p_top1": float(host["top_p"][i, 0]),
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
