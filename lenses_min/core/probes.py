"""The model without a lens: what it says to the test prompts, and to the first prompt at other temperatures."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..prompts.suite import TEMPERATURES
from .distribution import normalise, sum_dtype, wide_blocks
from .forward import batches
from .metrics import HostMetrics, entropy_bits, to_host
from .tokens import Tokens

K_FINAL, K_TEST, K_TEMPERATURE = 20, 10, 15


def summarise(z: Tensor, dtype: torch.dtype, k: int) -> dict[str, Tensor]:
    """Top-k of logits [N, V], k clamped to the vocabulary, and entropies in bits, 0 … log2 V.

    Probabilities, 0 … 1, are rounded to `dtype` and listed in its order; the entropy is that of the logits as they are.
    """
    parts = []
    for _, wide, room in wide_blocks(z):
        p = normalise(wide, room[0])
        top_p, top_id = p.p.to(dtype).topk(min(k, z.shape[-1]), dim=-1)
        parts.append((top_p.float(), top_id, entropy_bits(p.log_p, p.p, room[1])))
    columns = map(torch.cat, zip(*parts, strict=True))
    return dict(zip(("top_p", "top_id", "entropy"), columns, strict=True))


def entry(host: HostMetrics, i: int, tokens: Tokens, k: int) -> dict[str, Any]:
    top = zip(host["top_id"][i, :k].tolist(), host["top_p"][i, :k].tolist())
    return {"entropy": float(host["entropy"][i]), "topk": [[tokens.text(id_), p] for id_, p in top]}


def at_temperatures(final: Tensor) -> dict[str, Tensor]:
    """The model's own logits [V] as they are and at the temperatures, summarised on their device."""
    wide = final.to(sum_dtype(final.device))
    z = torch.stack([wide / t for t in (1.0, *TEMPERATURES)])
    return summarise(z, torch.float32, K_FINAL)


def final_and_temperatures(host: HostMetrics, tokens: Tokens) -> dict[str, Any]:
    """`final_prediction` and `temperature_exploration` of a prompt, from `at_temperatures` on the host."""
    warm = [
        {"type": "temperature_exploration", "temperature": t}
        | entry(host, i, tokens, K_TEMPERATURE)
        for i, t in enumerate(TEMPERATURES, start=1)
    ]
    prediction = {"type": "final_prediction"} | entry(host, 0, tokens, K_FINAL)
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
    found: dict[int, dict[str, Any]] = {}
    for members in batches([*map(len, ids)], alone_above=alone_above):
        logits = last_logits([ids[i] for i in members])
        host = to_host({"all": summarise(logits, logits.dtype, K_TEST)})["all"]
        found |= {i: entry(host, row, tokens, K_TEST) for row, i in enumerate(members)}
    return [{"type": "test_prompt", "prompt": p} | found[i] for i, p in enumerate(prompts)]
