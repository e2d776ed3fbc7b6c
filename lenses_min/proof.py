"""Does the last layer say what the model says? The measured error of every run, and the bound it must keep."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .metrics import Host

# Bits. float32: two orders of the same sums; at most 7e-13 was measured. Half precision: the model rounds its logits,
# the lens does not. A logit of 64 … 128 is rounded in steps of 2^-1 in bfloat16 (2^-4 in float16), and a uniform error
# of that step is a KL of step² / 24 / ln 2 = 0.015 bits (2e-4). At most 2.4e-4 (4.5e-6) was measured on the CPU, on the
# eleven tiny models and SmolLM2, whose logits stay below 32.
BOUNDS = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 5e-2}


def log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.max()
    return shifted - np.log(np.exp(shifted).sum())


def last_layer_error(host: Host) -> dict[str, float]:
    """KL(lens‖model) in bits and the largest difference of two logits, both ≥ 0.

    KL is summed in float64, so that equal logits give 0, and clamped to ≥ 0.
    """
    lens, model = host["lens"], host["model"]
    log_p, log_q = log_softmax(lens), log_softmax(model)
    kl = max(0.0, float((np.exp(log_p) * (log_p - log_q)).sum() / np.log(2)))
    return {"kl_bits": kl, "max_logit_error": float(np.abs(lens - model).max())}


def proof(errors: Sequence[Mapping[str, float]], dtype: str) -> dict[str, Any]:
    """The block of the manifest: the worst of all passes against the bound of the dtype."""
    worst = {key: max(error[key] for error in errors) for key in errors[0]}
    bound = BOUNDS[dtype]
    return {**worst, "bound_bits": bound, "dtype": dtype, "holds": worst["kl_bits"] <= bound}


def sentence(block: Mapping[str, Any]) -> str:
    """One line for a person."""
    told = "equals the model's own output" if block["holds"] else "IS NOT THE MODEL'S OWN OUTPUT"
    kl, bound = block["kl_bits"], block["bound_bits"]
    return f"the last layer {told}: KL {kl:.2g} bits, at most {bound:g} allowed in {block['dtype']}"
