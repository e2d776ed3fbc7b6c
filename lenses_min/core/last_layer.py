"""Does the last layer of a lens say what the model says? Pure functions of any two logit vectors."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .distribution import normalise, softmax, wide_blocks
from .metrics import HostMetrics, kl_nats, measure
from .rows import AgreementRow
from .types import Encoded, Rows, upload

HIGH_KL_BITS = 0.5
TEMPERATURES = torch.logspace(-1, 1, 25)  # candidates of temp_est, float32


def compare_logits(
    z: Float[Tensor, " V"],
    final: Float[Tensor, " V"],
    answers: Sequence[int],
    name: str = "last",
    rank_logits: bool = False,
) -> dict[str, Mapping[str, Tensor]]:
    """Lens logits against final logits, still on their device: three groups for `to_host`, under a name."""
    return {
        f"{name}_lens": vars(measure(z[None], final, answers, 1, rank_logits)),
        f"{name}_model": vars(measure(final[None], final, answers, 1)),
        f"{name}_temps": {"kl": kl_at_temperatures(z, final)},
    }


def kl_at_temperatures(z: Float[Tensor, " V"], final: Float[Tensor, " V"]) -> Float[Tensor, " T"]:
    """KL(softmax(z / s)‖softmax(final)) in nats, ≥ 0, of each s of TEMPERATURES."""
    log_q, steps = softmax(final[None]).log_raised, upload(TEMPERATURES, z.device)[:, None]
    found = [
        kl_nats(normalise(wide.div_(steps[part]), room[0]), log_q, room[1])
        for part, wide, room in wide_blocks(z.expand(len(steps), -1))
    ]
    return torch.cat(found)


def last_layer_consistency(
    host: Mapping[str, HostMetrics], answers: Sequence[int], name: str = "last"
) -> dict[str, Any]:
    """The block of the outputs; KL in bits, `temp_est` the softmax temperature that fits best.

    A transform found in the model's configuration is never reported: the reference finds none (R3).
    """
    lens, model, kls = host[f"{name}_lens"], host[f"{name}_model"], host[f"{name}_temps"]["kl"]
    kl = float(lens["kl"][0]) / log(2)
    best = int(kls.argmin())
    return {
        "kl_to_final_bits": kl,
        "top1_agree": bool(lens["top_id"][0, 0] == model["top_id"][0, 0]),
        "p_top1_lens": float(lens["top_p"][0, 0]),
        "p_top1_model": float(model["top_p"][0, 0]),
        "p_answer_lens": float(lens["p_answer"][0, 0]) if answers else None,
        "answer_rank_lens": int(lens["rank"][0, 0]) if answers else None,
        "temp_est": float(TEMPERATURES[best]),
        "kl_after_temp_bits": float(kls[best]) / log(2),
        "cfg_transform": {"scale": None, "softcap": None},
        "kl_after_transform_bits": {"scale": None, "softcap": None, "scale_then_softcap": None},
        "warn_high_last_layer_kl": kl > HIGH_KL_BITS,
    }


def divergences(
    encoded: Encoded, rows: Rows, host: Mapping[str, HostMetrics], pairs: Sequence[tuple[str, str]]
) -> list[AgreementRow]:
    """Rows of the agreement file: a row a layer and pair, in bits."""
    layers = [layer for layer, pos in zip(rows.layer, rows.pos) if pos == encoded.last]
    key = encoded.prompt.id, encoded.prompt.variant
    found = []
    for i, layer in enumerate(layers):
        for lens, against in pairs:
            numbers = host[f"{lens}~{against}"]
            found.append(
                AgreementRow(
                    *(*key, layer, encoded.last, lens, against),
                    kl_bits=float(numbers["kl_bits"][i]),
                    js_bits=float(numbers["js_bits"][i]),
                    tv=float(numbers["tv"][i]),
                    top1_agree=bool(numbers["top1_agree"][i]),
                )
            )
    return found


def agreement(
    host: Mapping[str, HostMetrics], pairs: Sequence[tuple[str, str]], answers: Sequence[int]
) -> list[dict[str, Any]]:
    """What any two lenses, or a lens and the model, say at the last layer: KL(lens‖against) in bits, and the rest."""
    entries = []
    for lens, against in pairs:
        said = last_layer_consistency(host, answers, f"{lens}_{against}")
        kept = {key: said[key] for key in ("top1_agree", "temp_est", "kl_after_temp_bits")}
        entries.append(
            {"lens": lens, "against": against, "kl_bits": said["kl_to_final_bits"]} | kept
        )
    return entries
