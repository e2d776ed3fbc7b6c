"""The whole answer: the joint probability of its tokens, each read after the prompt and those before it."""

from collections.abc import Mapping, Sequence
from math import exp, log

import numpy as np
from jaxtyping import Float
from torch import Tensor

from .distribution import log_p_of
from .metrics import HostMetrics
from .rows import AnswerRow
from .types import Encoded, Rows, upload


def model_log_p(after_final: Float[Tensor, "F V"], targets: Sequence[int]) -> Float[Tensor, " F"]:
    """ln p of each later token of the answer by the model itself; nats, ≤ 0."""
    return log_p_of(after_final, upload(targets, after_final.device))


def answer_rows(
    encoded: Encoded, rows: Rows, host: Mapping[str, HostMetrics], lenses: Sequence[str]
) -> list[AnswerRow]:
    """A row a layer and lens, and the model's own at the last layer; none where the answer has no id.

    `host` holds a lens's measures under its name, and those at the tokens that follow under `<name>_after`.
    """
    ids, last = encoded.gold.answer_ids, encoded.last
    if not ids:
        return []
    ends = [(i, layer) for i, (layer, pos) in enumerate(zip(rows.layer, rows.pos)) if pos == last]
    more, own = len(ids) - 1, float(host["last_model"]["log_p_answer"][0, 0])
    found = []
    for lens in lenses:
        later = np.zeros(len(ends))
        if more:
            later = np.einsum(
                "lff->l", host[f"{lens}_after"]["log_p_answer"].reshape(len(ends), more, more)
            )
        first = host[lens]["log_p_answer"][:, 0]
        found += [(layer, lens, float(first[i] + nats)) for (i, layer), nats in zip(ends, later)]
    found.append(
        (ends[-1][1], "model", own + (float(host["model_after"]["log_p"].sum()) if more else 0.0))
    )
    key, told = (encoded.prompt.id, encoded.prompt.variant), (encoded.gold.string, len(ids))
    return [
        AnswerRow(*key, layer, lens, *told, exp(nats), (0.0 - nats) / log(2))
        for layer, lens, nats in found
    ]
