"""The whole answer: the joint probability of its tokens, each read after the prompt and those before it."""

from collections.abc import Sequence
from math import exp, log

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..core.distribution import normalise, wide_blocks
from ..core.pass_metrics import AnswerMetrics, PassMetrics
from ..core.rows import AnswerRow
from ..core.types import Encoded, Rows, upload


def model_log_p(answer_logits: Float[Tensor, "F V"], targets: Sequence[int]) -> Float[Tensor, " F"]:
    """ln p of each later token of the answer by the model itself; nats, ≤ 0."""
    ids = upload(targets, answer_logits.device)[:, None]
    parts = [
        normalise(wide, room).log_p.gather(-1, ids[part])
        for part, wide, room in wide_blocks(answer_logits)
    ]
    return torch.cat(parts)[:, 0].float()


def answer_rows(encoded: Encoded, rows: Rows, metrics: PassMetrics[np.ndarray]) -> list[AnswerRow]:
    """A row a layer and lens, and the model's own at the last layer; none where the answer has no id."""
    ids, last = encoded.gold.answer_ids, encoded.last
    if not ids:
        return []
    places = zip(rows.layer, rows.pos, strict=True)
    ends = [(i, layer) for i, (layer, pos) in enumerate(places) if pos == last]
    nats = []
    for lens, numbers in metrics.by_lens.items():
        later = later_log_p(metrics.answer, lens, len(ends))
        first = numbers.log_p_answer[:, 0]
        nats += [
            (layer, lens, float(first[i] + rest))
            for (i, layer), rest in zip(ends, later, strict=True)
        ]
    nats.append((ends[-1][1], "model", log_p_of_model(metrics)))
    return [answer_row(encoded, layer, lens, log_p) for layer, lens, log_p in nats]


def later_log_p(
    answer: AnswerMetrics[np.ndarray] | None, lens: str, layers: int
) -> Float[np.ndarray, " L"]:
    """Σ ln p of the answer's later tokens under a lens, a layer each; nats, 0 where the answer has one token."""
    if answer is None:
        return np.zeros(layers)
    log_p = answer.by_lens[lens].log_p_answer
    count = log_p.shape[1]
    return np.einsum("lff->l", log_p.reshape(layers, count, count))


def log_p_of_model(metrics: PassMetrics[np.ndarray]) -> float:
    """ln p of the whole answer by the model itself; nats, ≤ 0."""
    assert metrics.consistency is not None, "every run with a prompts file has it"
    first = float(metrics.consistency.model.log_p_answer[0, 0])
    later = 0.0 if metrics.answer is None else float(metrics.answer.model_log_p.sum())
    return first + later


def answer_row(encoded: Encoded, layer: int, lens: str, log_p: float) -> AnswerRow:
    """One row of the answers file; `log_p` in nats."""
    prompt, gold = encoded.prompt, encoded.gold
    return AnswerRow(
        prompt.id,
        prompt.variant,
        layer,
        lens,
        gold.string,
        len(gold.answer_ids),
        p_joint=exp(log_p),
        surprisal_bits=(0.0 - log_p) / log(2),
    )
