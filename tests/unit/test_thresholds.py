"""What happens exactly at a threshold, where no random number falls."""

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
import torch

from lenses_min.core import last_layer, milestones, raw_lens
from lenses_min.core.host import to_host
from lenses_min.output.run import Run


def entry(bits: float, norm: bool = False, raw: bool = False) -> dict[str, Any]:
    return {"layer": 2, "kl_norm_vs_raw_bits": bits, "is_answer_norm": norm, "is_answer_raw": raw}


@pytest.mark.parametrize(
    ("values", "risk"),
    [
        (entry(0.49), "low"),
        (entry(0.5), "medium"),
        (entry(0.99), "medium"),
        (entry(1.0), "high"),
        (entry(0.1, norm=True), "high"),
        (entry(0.1, norm=True, raw=True), "low"),
        (entry(0.1, raw=True), "low"),
    ],
)
def test_the_risk_of_a_lens_artifact(values: dict[str, Any], risk: str) -> None:
    assert raw_lens.raw_lens_check("full", [values])["summary"]["lens_artifact_risk"] == risk


def test_half_a_bit_at_the_last_layer_is_no_warning() -> None:
    z = torch.randn(9, generator=torch.Generator().manual_seed(0))
    compared = to_host(last_layer.compare_logits(z, z, [1]))
    for bits, warns in ((0.5, False), (0.5000001, True)):
        lens = replace(compared.lens, kl=np.array([bits * log(2)]))
        block = last_layer.last_layer_consistency(replace(compared, lens=lens), [1])
        assert block["warn_high_last_layer_kl"] is warns


def test_a_margin_of_zero_is_not_positive(fact_run: Run) -> None:
    row = fact_run.pure()[-1]
    for margin, first in ((0.0, None), (1e-9, row.layer)):
        summary = milestones.control_summary([replace(row, control_margin=margin)])
        assert summary == {"first_control_margin_pos": first, "max_control_margin": margin}
