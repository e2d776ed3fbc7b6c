"""The model without a lens: what it says to the test prompts, and to the first prompt at other temperatures."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .metrics import Host, entropy_bits, to_host
from .suite import TEMPERATURES, TEST_PROMPTS
from .tokens import Tokens

K_FINAL, K_TEST, K_TEMPERATURE = 20, 10, 15


def summarise(probs: Tensor, entropy: Tensor, k: int) -> dict[str, Tensor]:
    """Top-k of rows [N, V], k clamped to the vocabulary, and their entropies in bits."""
    top_p, top_id = probs.topk(min(k, probs.shape[-1]), dim=-1)
    return {"top_p": top_p.float(), "top_id": top_id, "entropy": entropy}


def entry(host: Host, i: int, tokens: Tokens) -> dict[str, Any]:
    top = zip(host["top_id"][i].tolist(), host["top_p"][i].tolist())
    return {"entropy": float(host["entropy"][i]), "topk": [[tokens.text(id_), p] for id_, p in top]}


def final_and_temperatures(final: Tensor, tokens: Tokens) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """`final_prediction` and `temperature_exploration`, both of the first prompt's own logits [V]."""
    scales = (1.0, *TEMPERATURES)
    log_p = torch.stack([torch.log_softmax(final / t, -1) for t in scales])
    host = to_host({"all": summarise(log_p.exp(), entropy_bits(log_p), K_FINAL)})["all"]
    prediction = {"type": "final_prediction"} | entry(host, 0, tokens)
    warm = []
    for i, temperature in enumerate(TEMPERATURES, start=1):
        found = entry(host, i, tokens)
        found["topk"] = found["topk"][:K_TEMPERATURE]
        warm.append({"type": "temperature_exploration", "temperature": temperature} | found)
    return prediction, warm


def test_prompts(tokens: Tokens, last_logits: Callable[[Sequence[Sequence[int]]], Tensor]) -> list[dict[str, Any]]:
    """`test_prompts`, in order; prompts of equal length share a forward.

    Probabilities are a softmax in the model's own dtype, entropy of the float32 logits.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    ids = [tokens.model_input(prompt) for prompt in TEST_PROMPTS]
    for i, prompt_ids in enumerate(ids):
        groups[len(prompt_ids)].append(i)
    found: dict[int, dict[str, Any]] = {}
    for members in groups.values():
        logits = last_logits([ids[i] for i in members])
        entropy = entropy_bits(torch.log_softmax(logits.float(), -1))
        host = to_host({"all": summarise(torch.softmax(logits, -1), entropy, K_TEST)})["all"]
        for row, i in enumerate(members):
            found[i] = entry(host, row, tokens)
    return [{"type": "test_prompt", "prompt": p} | found[i] for i, p in enumerate(TEST_PROMPTS)]
