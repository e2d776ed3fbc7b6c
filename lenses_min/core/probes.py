"""The model without a lens: next tokens after the test prompts, and after the first prompt at other temperatures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..prompts.suite import TEMPERATURES
from .distribution import normalise, sum_dtype, wide_blocks
from .forward import batches
from .host import A, to_host
from .metrics import entropy_bits
from .tokens import Tokens

K_FINAL, K_TEST, K_TEMPERATURE = 20, 10, 15


@dataclass(frozen=True)
class TopTokens(Generic[A]):
    """The likeliest tokens of N distributions, probabilities 0 … 1, and entropies in bits, 0 … log2 V."""

    top_p: A  # [N, K]
    top_id: A  # [N, K]
    entropy: A  # [N]


def summarise(z: Float[Tensor, "N V"], dtype: torch.dtype, k: int) -> TopTokens[Tensor]:
    """Top-k of logits, k clamped to the vocabulary.

    Probabilities, 0 … 1, are rounded to `dtype` and listed in its order; the entropy is that of the logits as they are.
    """
    parts = []
    for _, wide, room in wide_blocks(z):
        p = normalise(wide, room)
        top_p, top_id = p.p.to(dtype).topk(min(k, z.shape[-1]), dim=-1)
        parts.append((top_p.float(), top_id, entropy_bits(p)))
    return TopTokens(*map(torch.cat, zip(*parts, strict=True)))


def entry(top: TopTokens[np.ndarray], i: int, tokens: Tokens, k: int) -> dict[str, Any]:
    """The i-th distribution as the outputs have it."""
    pairs = zip(top.top_id[i, :k].tolist(), top.top_p[i, :k].tolist(), strict=True)
    return {"entropy": float(top.entropy[i]), "topk": [[tokens.text(id_), p] for id_, p in pairs]}


def at_temperatures(final: Float[Tensor, " V"]) -> TopTokens[Tensor]:
    """The model's own logits as they are and at the temperatures, summarised on their device."""
    wide = final.to(sum_dtype(final.device))
    z = torch.stack([wide / t for t in (1.0, *TEMPERATURES)])
    return summarise(z, torch.float32, K_FINAL)


def final_and_temperatures(top: TopTokens[np.ndarray], tokens: Tokens) -> dict[str, Any]:
    """`final_prediction` and `temperature_exploration` of a prompt, from `at_temperatures` on the host."""
    warm = [
        {"type": "temperature_exploration", "temperature": t} | entry(top, i, tokens, K_TEMPERATURE)
        for i, t in enumerate(TEMPERATURES, start=1)
    ]
    prediction = {"type": "final_prediction"} | entry(top, 0, tokens, K_FINAL)
    return {"final_prediction": prediction, "temperature_exploration": warm}


def test_prompts(
    prompts: Sequence[str],
    tokens: Tokens,
    last_logits: Callable[[Sequence[Sequence[int]]], Tensor],
    alone_above: int | None,
) -> list[dict[str, Any]]:
    """`test_prompts`, in order; prompts of like length share a forward, see `batches`.

    Probabilities are a softmax rounded to the model's own dtype, entropy is that of the logits in full.
    """
    ids = [tokens.model_input(prompt) for prompt in prompts]
    entries: dict[int, dict[str, Any]] = {}
    for members in batches([*map(len, ids)], alone_above=alone_above):
        logits = last_logits([ids[i] for i in members])
        top = to_host(summarise(logits, logits.dtype, K_TEST))
        entries |= {i: entry(top, row, tokens, K_TEST) for row, i in enumerate(members)}
    return [{"type": "test_prompt", "prompt": p} | entries[i] for i, p in enumerate(prompts)]
