"""Norm lens against the un-normalised residual: how much of an early answer is the norm's doing?"""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from .metrics import Host

SIDES = ("norm", "raw")
HIGH_KL_BITS, MEDIUM_KL_BITS = 1.0, 0.5


def sampled_layers(mode: str, n_layers: int) -> list[int]:
    """Layers of the check: none, four along the depth, or all of 0 … n."""
    if mode == "off":
        return []
    blocks = range(n_layers) if mode == "full" else (n_layers // 4, n_layers // 2, 3 * n_layers // 4)
    return sorted({0, *(1 + block for block in blocks)})


def samples(host: Mapping[str, Host], layers: Sequence[int], answers: Sequence[int]) -> list[dict[str, Any]]:
    """One entry a sampled layer: the same numbers of the norm lens and of the raw residual side by side."""
    return [sample({side: host[f"raw_{side}"] for side in SIDES}, i, layer, answers) for i, layer in enumerate(layers)]


def sample(sides: Mapping[str, Host], i: int, layer: int, answers: Sequence[int]) -> dict[str, Any]:
    top = [int(host["top_id"][i, 0]) for host in sides.values()]
    rank = {side: int(host["rank"][i, 0]) if answers else None for side, host in sides.items()}
    p = {side: float(host["p_answer"][i, 0]) if answers else None for side, host in sides.items()}
    return {
        "layer": layer,
        "kl_norm_vs_raw_bits": float(sides["norm"]["kl"][i]) / log(2),
        "top1_agree": top[0] == top[1],
        **{f"p_top1_{side}": float(host["top_p"][i, 0]) for side, host in sides.items()},
        **{f"p_answer_{side}": p[side] for side in SIDES},
        **{f"answer_rank_{side}": rank[side] for side in SIDES},
        **{f"is_answer_{side}": rank[side] == 1 for side in SIDES},
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
