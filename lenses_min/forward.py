"""tokens → residuals: one forward pass that captures the residual stream at every layer.

Hooks stand only while the pass runs and are gone after it, also after an exception (R8).
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
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

    @property
    def layers(self) -> range:
        return range(self.n_layers + 1)

    def at(self, layer: int) -> Float[Tensor, "P D"]:
        return lookup(self.captured, hook_name(layer))

    def rows(self, full_layers: Collection[int]) -> Rows:
        """All positions of `full_layers` and the last position of the others, in layer order."""
        parts = [self.at(y) if y in full_layers else self.at(y)[-1:] for y in self.layers]
        places = [(y, p) for y, part in enumerate(parts) for p in range(self.length - part.shape[0], self.length)]
        return Rows(torch.cat(parts), [y for y, _ in places], [p for _, p in places])


@dataclass(frozen=True)
class Ask:
    """What a forward reads of one prompt, and the layers that keep every position; the others keep the last alone.

    `follow` are tokens read after the prompt, kept at every layer.
    """

    ids: Sequence[int]
    full_layers: Collection[int]
    follow: Sequence[int] = ()


@dataclass(frozen=True)
class Captured:
    """One prompt of a forward: its residuals, and the model's own logits at its last position, float32.

    `after` and `after_final` are the same at the F tokens that follow the prompt.
    """

    residuals: Residuals
    final: Float[Tensor, " V"]
    after: Rows
    after_final: Float[Tensor, "F V"]


def capture(
    bridge: Any, ids: Sequence[int], n_layers: int, full_layers: Collection[int]
) -> tuple[Residuals, Float[Tensor, " V"]]:
    """Residuals and last logits of one prompt alone."""
    (found,) = capture_batch(bridge, [Ask(ids, full_layers)], n_layers)
    return found.residuals, found.final


def capture_batch(bridge: Any, asks: Sequence[Ask], n_layers: int) -> list[Captured]:
    """Run the model once over several prompts, the shorter ones filled up on the right: causal, none sees what follows.

    They are filled with their own last token, since a pad token would bring a mask along.
    """
    read = [[*ask.ids, *ask.follow] for ask in asks]
    width = max(map(len, read))
    prompts: list[dict[str, Tensor]] = [{} for _ in asks]
    after: list[list[Tensor]] = [[] for _ in asks]

    def keep(value: Tensor, hook: Any) -> None:
        for i, ask in enumerate(asks):
            end = len(ask.ids)
            start = 0 if any(hook.name == hook_name(layer) for layer in ask.full_layers) else end - 1
            prompts[i][hook.name] = value[i, start:end].detach().clone()
            after[i].append(value[i, end : len(read[i])].detach().clone())

    ids = torch.tensor([[*row, *row[-1:] * (width - len(row))] for row in read], device=bridge.cfg.device)
    with torch.no_grad(), bridge.hooks(fwd_hooks=[(hook_name(layer), keep) for layer in range(n_layers + 1)]):
        logits = bridge(ids, return_type="logits")
    found = []
    for i, ask in enumerate(asks):
        end, more = len(ask.ids), len(ask.follow)
        layers, places = [y for y in range(n_layers + 1) for _ in range(more)], [*range(end, end + more)]
        rows = Rows(torch.cat(after[i]), layers, places * (n_layers + 1))
        residuals = Residuals(prompts[i], n_layers, end)
        found.append(Captured(residuals, logits[i, end - 1].float(), rows, logits[i, end : end + more].float()))
    return found


def last_logits(bridge: Any, batch: Sequence[Sequence[int]]) -> Tensor:
    """The model's own logits [B, V] at the last position of prompts of equal length, in its dtype."""
    with torch.no_grad():
        return bridge(torch.tensor(batch, device=bridge.cfg.device), return_type="logits")[:, -1]
