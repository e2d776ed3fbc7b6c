"""tokens → residuals: one forward pass that captures the residual stream at every layer.

Hooks stand only while the pass runs and are gone after it, also after an exception (R8).
"""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import LensError
from .types import Rows


def hook_name(layer: int) -> str:
    """The TransformerBridge hook at which read-out layer `layer` is seen."""
    return "blocks.0.hook_in" if layer == 0 else f"blocks.{layer - 1}.hook_out"


def lookup(captured: Mapping[str, Tensor], key: str) -> Tensor:
    """The one residual lookup; a missing key lists those nearest to it."""
    if key not in captured:
        near = difflib.get_close_matches(key, captured, n=5, cutoff=0.3) or sorted(captured)[:5]
        raise LensError(f"no residual was captured at {key!r}; nearby keys: {', '.join(near) or 'none'}")
    return captured[key]


@dataclass(frozen=True)
class Residuals:
    """Residual rows of one pass, per layer: every position [S, D], or the last one alone [1, D]."""

    captured: Mapping[str, Tensor]
    n_layers: int
    length: int

    def at(self, layer: int) -> Float[Tensor, "P D"]:
        return lookup(self.captured, hook_name(layer))

    def rows(self, full_layers: Collection[int]) -> Rows:
        """All positions of `full_layers` and the last position of the others, in layer order."""
        parts = [self.at(y) if y in full_layers else self.at(y)[-1:] for y in range(self.n_layers + 1)]
        places = [(y, p) for y, part in enumerate(parts) for p in range(self.length - part.shape[0], self.length)]
        return Rows(torch.cat(parts), [y for y, _ in places], [p for _, p in places])


def capture(
    bridge: Any, ids: Sequence[int], n_layers: int, full_layers: Iterable[int]
) -> tuple[Residuals, Float[Tensor, " V"]]:
    """Run the model once; return its residuals and its own logits at the last position, float32.

    Layers outside `full_layers` keep their last position alone.
    """
    captured: dict[str, Tensor] = {}
    full = {hook_name(layer) for layer in full_layers}

    def keep(value: Tensor, hook: Any) -> None:
        rows = value[0] if hook.name in full else value[0, -1:]
        captured[hook.name] = rows.detach().clone()

    with torch.no_grad(), bridge.hooks(fwd_hooks=[(hook_name(layer), keep) for layer in range(n_layers + 1)]):
        logits = bridge(torch.tensor([ids], device=bridge.cfg.device), return_type="logits")
    return Residuals(captured, n_layers, len(ids)), logits[0, -1].float()


def last_logits(bridge: Any, batch: Sequence[Sequence[int]]) -> Tensor:
    """The model's own logits [B, V] at the last position of prompts of equal length, in its dtype."""
    with torch.no_grad():
        return bridge(torch.tensor(batch, device=bridge.cfg.device), return_type="logits")[:, -1]
