"""tokens → residuals: one forward pass that captures the residual stream at every layer.

Hooks stand only while the pass runs and are gone after it, also after an exception (R8).
"""

import difflib
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import LensError, library_errors
from .bridge import Bridge
from .types import Rows, upload

UNEMBED = "unembed.hook_in"
TOKENS = 2048  # padded tokens of a forward that several prompts share: what bounds its memory
# What is left where transformers' own model has read a prompt.
CAUSES = (
    "TransformerLens may lack an option of its config, or a prompt be too long for model or memory"
)


def hook_name(layer: int) -> str:
    """The TransformerBridge hook at which read-out layer `layer` is seen."""
    return "blocks.0.hook_in" if layer == 0 else f"blocks.{layer - 1}.hook_out"


def lookup(captured: Mapping[str, Tensor], key: str) -> Tensor:
    """The residual under a key. Raises LensError that lists the nearest keys where there is none."""
    if key not in captured:
        near = difflib.get_close_matches(key, captured, n=5, cutoff=0.3) or sorted(captured)[:5]
        raise LensError(
            f"no residual was captured at {key!r}; nearby keys: {', '.join(near) or 'none'}"
        )
    return captured[key]


@dataclass(frozen=True)
class Residuals:
    """Residual rows of one pass: per layer every position [S, D], or the last one alone [1, D], in one `buffer`."""

    captured: Mapping[str, Tensor]
    buffer: Float[Tensor, "N D"]
    n_layers: int
    length: int

    @property
    def layers(self) -> range:
        return range(self.n_layers + 1)

    def at(self, layer: int) -> Float[Tensor, "P D"]:
        return lookup(self.captured, hook_name(layer))

    def rows(self, full_layers: Collection[int]) -> Rows:
        """All positions of `full_layers` and the last position of the others, in layer order."""
        parts = [
            self.at(layer) if layer in full_layers else self.at(layer)[-1:] for layer in self.layers
        ]
        places = [
            (layer, pos)
            for layer, part in enumerate(parts)
            for pos in range(self.length - part.shape[0], self.length)
        ]
        x = self.buffer if len(places) == len(self.buffer) else torch.cat(parts)
        return Rows(x, [layer for layer, _ in places], [pos for _, pos in places])


@dataclass(frozen=True)
class ForwardRequest:
    """The tokens of one prompt, and the layers that keep every position; other layers keep the last position.

    `answer_prefix_ids` are tokens read after the prompt, whose residuals are kept at every layer.
    """

    ids: Sequence[int]
    full_layers: Collection[int]
    answer_prefix_ids: Sequence[int] = ()

    @property
    def read(self) -> list[int]:
        return [*self.ids, *self.answer_prefix_ids]


@dataclass(frozen=True)
class Captured:
    """One prompt of a forward: its residuals, and the model's own logits at its last position, float32.

    `answer_residuals` and `answer_logits` are the same at the F tokens that follow the prompt.
    """

    residuals: Residuals
    final: Float[Tensor, " V"]
    answer_residuals: Rows
    answer_logits: Float[Tensor, "F V"]


class ResidualRecorder:
    """Records the residuals of one prompt by hooks, layer by layer, on the device that reads the tokens."""

    def __init__(self, request: ForwardRequest, n_layers: int, home: torch.device) -> None:
        self.request, self.n_layers, self.home, self.end = request, n_layers, home, len(request.ids)
        self.full = {hook_name(layer) for layer in request.full_layers}
        self.views: dict[str, Tensor] = {}
        self.answer_residuals: list[Tensor] = []
        self.size = 0

    def keep(self, name: str, x: Float[Tensor, "S D"]) -> None:
        part = x[0 if name in self.full else self.end - 1 : self.end]
        if not self.views:
            rows = len(self.full) * self.end + self.n_layers + 1 - len(self.full)
            self.buffer = torch.empty(rows, x.shape[1], dtype=x.dtype, device=self.home)
        self.views[name] = self.buffer[self.size : self.size + len(part)].copy_(part)
        self.answer_residuals.append(x[self.end : len(self.request.read)].to(self.home, copy=True))
        self.size += len(part)

    def captured(self, logits: Float[Tensor, "F1 V"]) -> Captured:
        """`logits` are the model's own at the last token and at those that follow."""
        layers = [
            layer for layer in range(self.n_layers + 1) for _ in self.request.answer_prefix_ids
        ]
        places = [*range(self.end, len(self.request.read))] * (self.n_layers + 1)
        residuals = Residuals(self.views, self.buffer, self.n_layers, self.end)
        final = logits.to(self.home).float()
        return Captured(
            residuals, final[0], Rows(torch.cat(self.answer_residuals), layers, places), final[1:]
        )


def batches(
    lengths: Sequence[int], most: int = TOKENS, alone_above: int | None = None
) -> list[list[int]]:
    """Which prompts share a forward, by index: of like length, at most `most` of them and TOKENS padded tokens.

    A prompt of more than `alone_above` tokens is alone, see `ModelInfo`.
    """
    shared = TOKENS if alone_above is None else alone_above
    shared_batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        latest = shared_batches[-1] if shared_batches else []
        room = lengths[i] <= shared and bool(latest) and len(latest) < most
        if room and (len(latest) + 1) * lengths[i] <= TOKENS:
            latest.append(i)
        else:
            shared_batches.append([i])
    return shared_batches


def capture_batch(
    bridge: Bridge, requests: Sequence[ForwardRequest], n_layers: int
) -> list[Captured]:
    """Run the model once over several prompts and keep what each request names."""
    home = torch.device(bridge.cfg.device)
    recorders = [ResidualRecorder(request, n_layers, home) for request in requests]

    def keep(value: Tensor, hook: Any) -> None:
        for recorder, x in zip(recorders, value.detach(), strict=True):
            recorder.keep(hook.name, x)

    hooks = [(hook_name(layer), keep) for layer in range(n_layers + 1)]
    wanted = [range(recorder.end - 1, len(recorder.request.read)) for recorder in recorders]
    logits = logits_at(bridge, [request.read for request in requests], wanted, hooks)
    return [recorder.captured(own) for recorder, own in zip(recorders, logits, strict=True)]


def last_logits(bridge: Bridge, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B V"]:
    """The model's own logits at the last position of each prompt, in its dtype."""
    return torch.cat(logits_at(bridge, batch, [range(len(ids) - 1, len(ids)) for ids in batch]))


def logits_at(
    bridge: Bridge,
    batch: Sequence[Sequence[int]],
    wanted: Sequence[range],
    hooks: Sequence[tuple[str, Any]] = (),
) -> list[Tensor]:
    """One forward: the model's own logits [P, V] at the P wanted positions of each prompt.

    Shorter prompts are filled up on the right with their own last token: causal, none sees what follows, and a pad
    token would bring a mask along. Positions that nobody wants are not unembedded.
    """
    width, read_positions = max(map(len, batch)), sorted({p for span in wanted for p in span})
    cuts: list[str] = []

    def cut(value: Tensor, hook: Any) -> Tensor:
        cuts.append(hook.name)
        return value[:, upload(read_positions, value.device)]

    filled = torch.tensor([[*ids, *[ids[-1]] * (width - len(ids))] for ids in batch])
    more = [(UNEMBED, cut)] if UNEMBED in bridge.hook_dict else []
    running = library_errors("run the model", CAUSES)
    with running, torch.no_grad(), bridge.hooks(fwd_hooks=[*hooks, *more]):
        read = upload(filled, torch.device(bridge.cfg.device))
        logits = bridge(read, return_type="logits", **uncached(bridge.original_model))
    place = {p: i for i, p in enumerate(read_positions)} if cuts else dict(enumerate(range(width)))
    return [
        row[place[span[0]] : place[span[-1]] + 1] for row, span in zip(logits, wanted, strict=True)
    ]


def uncached(model: Any) -> dict[str, bool]:
    """The argument that switches the cache of keys and values off, where the model has one."""
    parameters = inspect.signature(model.forward).parameters.values()
    knows = any(p.name == "use_cache" or p.kind is p.VAR_KEYWORD for p in parameters)
    return {"use_cache": False} if knows else {}
