"""The last layer of a lens against the model: pure functions of any two logit vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Generic

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .distribution import normalise, softmax, wide_blocks
from .host import A
from .metrics import Measures, kl_nats, measure
from .types import upload

HIGH_KL_BITS = 0.5
TEMPERATURES = torch.logspace(-1, 1, 25)  # candidates of temp_est, float32


@dataclass(frozen=True)
class LastLogits(Generic[A]):
    """The norm lens at layer n and the model itself at the last position, [V] each: what the proof compares."""

    lens: A
    model: A


@dataclass(frozen=True)
class LogitComparison(Generic[A]):
    """Lens logits against final logits, [V] each; KL in nats at every softmax temperature of TEMPERATURES."""

    lens: Measures[A]
    model: Measures[A]
    kl_at_temperatures: A  # [T]


def compare_logits(
    z: Float[Tensor, " V"],
    final: Float[Tensor, " V"],
    answers: Sequence[int],
    rank_logits: bool = False,
) -> LogitComparison[Tensor]:
    """Lens logits against final logits, still on their device."""
    return LogitComparison(
        lens=measure(z[None], final, answers, 1, rank_logits),
        model=measure(final[None], final, answers, 1),
        kl_at_temperatures=kl_at_temperatures(z, final),
    )


def kl_at_temperatures(z: Float[Tensor, " V"], final: Float[Tensor, " V"]) -> Float[Tensor, " T"]:
    """KL(softmax(z / s)‖softmax(final)) in nats, ≥ 0, of each s of TEMPERATURES."""
    log_q, steps = softmax(final[None]).log_raised, upload(TEMPERATURES, z.device)[:, None]
    kls = [
        kl_nats(normalise(wide.div_(steps[part]), room), log_q)
        for part, wide, room in wide_blocks(z.expand(len(steps), -1))
    ]
    return torch.cat(kls)


def last_layer_consistency(
    compared: LogitComparison[np.ndarray], answers: Sequence[int]
) -> dict[str, Any]:
    """The block of the outputs; KL in bits, `temp_est` the softmax temperature that fits best.

    No transform of the model's configuration is reported, as the reference reports none (R3).
    """
    lens, model, kls = compared.lens, compared.model, compared.kl_at_temperatures
    kl = float(lens.kl[0]) / log(2)
    best = int(kls.argmin())
    return {
        "kl_to_final_bits": kl,
        "top1_agree": bool(lens.top_id[0, 0] == model.top_id[0, 0]),
        "p_top1_lens": float(lens.top_p[0, 0]),
        "p_top1_model": float(model.top_p[0, 0]),
        "p_answer_lens": float(lens.p_answer[0, 0]) if answers else None,
        "answer_rank_lens": int(lens.rank[0, 0]) if answers else None,
        "temp_est": float(TEMPERATURES[best]),
        "kl_after_temp_bits": float(kls[best]) / log(2),
        "cfg_transform": {"scale": None, "softcap": None},
        "kl_after_transform_bits": {"scale": None, "softcap": None, "scale_then_softcap": None},
        "warn_high_last_layer_kl": kl > HIGH_KL_BITS,
    }
