"""Norm lens against raw residual: one sampled layer's numbers, side by side, and the risk that follows from them."""

from math import log
from typing import Any

import numpy as np
import pytest

from lenses_min.core.metrics import Measures
from lenses_min.core.raw_lens import RawLensMetrics, raw_lens_check, samples


def measures(top_id: int, top_p: float, p_answer: float, rank: int, kl: float) -> Any:
    """One layer, [1, …]."""
    fields = dict.fromkeys(Measures.__dataclass_fields__)
    numbers = {
        "top_id": np.array([[top_id]]),
        "top_p": np.array([[top_p]]),
        "p_answer": np.array([[p_answer]]),
        "rank": np.array([[rank]]),
        "kl": np.array([kl]),
    }
    return Measures(**(fields | numbers))


def test_both_sides_of_a_layer_stand_side_by_side() -> None:
    metrics = RawLensMetrics(measures(7, 0.5, 0.5, 1, log(2)), measures(8, 0.75, 0.125, 2, 0.0))
    (entry,) = samples(metrics, [3], [7])
    assert entry == {
        "layer": 3,
        "kl_norm_vs_raw_bits": 1.0,
        "top1_agree": False,
        "p_top1_norm": 0.5,
        "p_top1_raw": 0.75,
        "p_answer_norm": 0.5,
        "p_answer_raw": 0.125,
        "answer_rank_norm": 1,
        "answer_rank_raw": 2,
        "is_answer_norm": True,
        "is_answer_raw": False,
    }
    (unresolved,) = samples(RawLensMetrics(metrics.norm, metrics.norm), [3], [])
    assert unresolved["top1_agree"]
    for side in ("norm", "raw"):
        assert unresolved[f"p_answer_{side}"] is unresolved[f"answer_rank_{side}"] is None
        assert not unresolved[f"is_answer_{side}"]


@pytest.mark.parametrize(
    ("kls", "answers", "risk", "first"),
    [
        ([], [], None, None),
        ([0.0, 0.4999], ["", ""], "low", None),
        ([0.5, 0.0], ["", "both"], "medium", None),
        ([0.9999, 0.0], ["raw", "both"], "medium", None),
        ([0.0, 1.0], ["", ""], "high", None),
        ([0.0, 0.0, 0.0], ["both", "norm", "norm"], "high", 1),
    ],
)
def test_a_risk_is_high_where_only_the_norm_has_the_answer_or_a_bit_is_between(
    kls: list[float], answers: list[str], risk: str | None, first: int | None
) -> None:
    entries = [
        {
            "layer": layer,
            "kl_norm_vs_raw_bits": kl,
            "is_answer_norm": answer in ("norm", "both"),
            "is_answer_raw": answer in ("raw", "both"),
        }
        for layer, (kl, answer) in enumerate(zip(kls, answers, strict=True))
    ]
    assert raw_lens_check("full", entries) == {
        "mode": "full",
        "samples": entries,
        "summary": {
            "first_norm_only_semantic_layer": first,
            "max_kl_norm_vs_raw_bits": max(kls, default=None),
            "lens_artifact_risk": risk,
        },
    }
