"""Compare the last layer with the model's logits, and the bridge with transformers: errors, bounds, first deviation.

A bound follows the dtype and the size of the logits. Let the logits of two computations of one model differ by δ, the
difference of roundings, so that q ∝ p · e^δ. Then KL(p‖q) = ln E_p[e^δ] − E_p[δ], which is at most r² / 8 nats where δ
stays within a range r (Hoeffding's lemma). One rounding of a logit to a dtype whose neighbouring numbers lie `step`
apart has r = step, a third of that KL on average (step² / 24); independent roundings add up. A logit of 400 is rounded
in steps of 2 in bfloat16: 0.72 bits.

- The lens against the model: four roundings. Where the norm is a formula, the model rounds it twice, the formula once,
  and the model rounds its logits; where it is the model's own module, the logits once and a soft cap three times.
- The bridge against transformers: the logits once, and the residual stream twice a block.
- In float32 a sum is rounded at every step and not once, in another order in a batch: 64 times as much, and never less
  than 1e-6 bits.

Measured on 20 families of random weights on the CPU, in half precision: lens against model at most 1.2 times the KL of
one rounding; bridge against transformers 14.7 times where 49 are allowed (OLMo-2, float16, 24 layers).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, log, log2
from typing import Any

import numpy as np
import torch

from ..core.last_layer import LastLogits
from ..core.types import PassResult
from .last_token import LastToken

LENS_ROUNDINGS = 4
FLOAT32_SUMS = 64
LEAST = {"float32": 1e-6, "float16": 1e-9, "bfloat16": 1e-9}  # bits
COUNTS = 30.0  # nats below the top logit; lower logits do not contribute to KL, such as -1e9 of a masked token
# Largest difference over the largest size of two tensors that are the same but for rounding.
ROUNDING = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
Place = tuple[str, float]  # its name, and the largest difference there over the largest size


@dataclass(frozen=True)
class Measured:
    """What some passes measured of the proof: the error of the one nearest to its bound, with its token ids.

    `bridge_error` is empty where none of them is the prompt that transformers read.
    """

    error: Mapping[str, float]
    token_ids: Sequence[int]
    bridge_error: Mapping[str, Any]


def measured(passes: Sequence[PassResult]) -> Measured:
    worst = passes[worst_of([result.error for result in passes])]
    bridge = next((p.bridge_error for p in passes if p.bridge_error), {})
    return Measured(worst.error, worst.encoded.token_ids, bridge)


def step(z: np.ndarray, dtype: str) -> float:
    """The distance of neighbouring numbers of a dtype at the largest logit that counts."""
    size = float(np.abs(z[z >= z.max() - COUNTS]).max())
    kind = torch.finfo(getattr(torch, dtype))
    return 2.0 ** floor(log2(max(size, kind.smallest_normal))) * kind.eps


def bound_bits(z: np.ndarray, dtype: str, roundings: int) -> float:
    """The largest KL, in bits, that so many roundings of logits of this size account for."""
    bits = roundings * step(z, dtype) ** 2 / 8 / log(2)
    return max(bits * (FLOAT32_SUMS if dtype == "float32" else 1), LEAST[dtype])


def log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.max()
    return shifted - np.log(np.exp(shifted).sum())


def compare(z: np.ndarray, model: np.ndarray, dtype: str, roundings: int) -> dict[str, float]:
    """KL(z‖model) in bits and its bound, and the largest difference of two logits, all ≥ 0.

    KL is summed in float64, so that equal logits give 0, and clamped to ≥ 0.
    """
    z, model = z.astype(np.float64), model.astype(np.float64)
    log_p, log_q = log_softmax(z), log_softmax(model)
    return {
        "kl_bits": max(0.0, float((np.exp(log_p) * (log_p - log_q)).sum() / log(2))),
        "max_logit_error": float(np.abs(z - model).max()),
        "bound_bits": bound_bits(model, dtype, roundings),
    }


def last_layer_error(logits: LastLogits[np.ndarray], dtype: str) -> dict[str, float]:
    """The lens at the last layer against the model's own logits."""
    return compare(logits.lens, logits.model, dtype, LENS_ROUNDINGS)


def bridge_error(own: LastToken, reading: LastToken, dtype: str) -> dict[str, Any]:
    """What the bridge gave against what transformers gave before it was wrapped; `parts_at` is None where both agree.

    Besides the logits every layer's residual must agree: a wrong one may leave the logits as they are.
    """
    n_layers = 0 if reading.stream is None else len(reading.stream) - 1
    error = compare(reading.logits, own.logits, dtype, 1 + 2 * n_layers)
    far = not error["kl_bits"] <= error["bound_bits"]
    place = first_deviation(deviations(own, reading), dtype, far)
    return {**error, "parts_at": None if place is None else place[0]}


def deviations(own: LastToken, other: LastToken) -> list[Place]:
    """The relative difference of two readings at every place that both have, in the model's order."""
    if own.unembedded is None or other.unembedded is None:
        own, other = replace(own, unembedded=None), replace(other, unembedded=None)
    other_rows = dict(other.places())
    pairs = [(name, row, other_rows[name]) for name, row in own.places() if name in other_rows]
    return [
        (name, float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)))
        for name, a, b in pairs
        if a.shape == b.shape
    ]


def place(own: LastToken, other: LastToken, dtype: str) -> str | None:
    """The first place where two readings differ that are known to differ; None where no place does."""
    part = first_deviation(deviations(own, other), dtype, True)
    return None if part is None else part[0]


def first_deviation(places: Sequence[Place], dtype: str, far: bool) -> Place | None:
    """The first place that is off by more than rounding; where the logits are `far` off, by a tenth of the worst."""
    least = ROUNDING[dtype]
    if far:
        least = min(least, max(share for _, share in places) / 10)
    return next(((name, share) for name, share in places if not share <= least), None)


def proof(
    errors: Sequence[Mapping[str, float]], dtype: str, bridge: Mapping[str, Any]
) -> dict[str, Any]:
    """The block of the manifest: the pass that is nearest to its bound, and the bridge against transformers."""
    worst = errors[worst_of(errors)]
    holds = bool(worst["kl_bits"] <= worst["bound_bits"])
    return {**worst, "dtype": dtype, "holds": holds, "parts_at": None, "transformers": dict(bridge)}


def worst_of(errors: Sequence[Mapping[str, float]]) -> int:
    """The index of the pass that is nearest to its bound, or farthest beyond."""
    return max(range(len(errors)), key=lambda i: errors[i]["kl_bits"] / errors[i]["bound_bits"])


def sentence(block: Mapping[str, Any]) -> str:
    """The proof in one line of text."""
    verdict = "equals the model's own output" if block["holds"] else "IS NOT THE MODEL'S OWN OUTPUT"
    location = f"; they part at {block['parts_at']}" if block["parts_at"] else ""
    return f"the last layer {verdict}: {bits(block, block['dtype'])}{location}"


def bits(error: Mapping[str, Any], dtype: str) -> str:
    return f"KL {error['kl_bits']:.2g} bits, at most {error['bound_bits']:.2g} allowed in {dtype}"


def bridge_refusal(
    own: LastToken, alone: LastToken, error: Mapping[str, Any], dtype: str, options: str
) -> str:
    """Why a run of a bridge that is not the model is refused.

    `alone` is what the bridge gives after the first prompt without neighbours; `options` are those of the
    configuration that are not its family's defaults.
    """
    again = bridge_error(own, alone, dtype)
    if again["parts_at"] is None:
        return (
            f"the first prompt is read otherwise than by transformers from {error['parts_at']} on, and rightly where "
            f"it runs alone ({bits(error, dtype)}); --batch-size 1 runs every prompt alone"
        )
    name, share = next(
        (name, share) for name, share in deviations(own, alone) if name == again["parts_at"]
    )
    half = "" if dtype == "float32" else "; --dtype float32 tells whether this is rounding"
    return (
        "TransformerLens does not compute what transformers computes. On the first prompt they part at "
        f"{name}, by {share:.2g} of its largest value; at the logits: {bits(again, dtype)}. No contract can read it. "
        f"Options of its config that are not its family's defaults: {options}{half}"
    )
