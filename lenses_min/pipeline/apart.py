"""A prompt whose numbers depend on what is read behind it: each token of its answer in a forward of its own."""

from dataclasses import replace

import torch

from ..core.bridge import Bridge
from ..core.forward import Captured, ForwardRequest, capture_batch
from ..core.types import Rows


def capture_apart(bridge: Bridge, request: ForwardRequest, n_layers: int) -> Captured:
    """A prompt alone, then every token that follows it in a forward of its own, with no token behind it."""
    prompt = capture_batch(bridge, [replace(request, answer_prefix_ids=())], n_layers)[0]
    reads = [
        ForwardRequest(request.read[: len(request.ids) + i], ())
        for i in range(1, len(request.answer_prefix_ids) + 1)
    ]
    later = [capture_batch(bridge, [read], n_layers)[0] for read in reads]
    ends = [captured.residuals.rows(()) for captured in later]
    x = torch.stack([rows.x for rows in ends], 1).flatten(0, 1)
    layers = [layer for layer in range(n_layers + 1) for _ in later]
    places = [*range(len(request.ids), len(request.read))] * (n_layers + 1)
    answer_logits = torch.stack([captured.final for captured in later])
    return replace(prompt, answer_residuals=Rows(x, layers, places), answer_logits=answer_logits)
