"""A model as plain transformers runs it, in float64: what its logit lens is made of, read from its own modules.

L = blocks, S = positions, D = width, V = vocabulary. Layer 0 is what goes into the first block, layer L what comes out
of the last one. What is read is proved: at layer L the formulas must give the model's own logits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from .. import oracle
from ..oracle import Array

TOLERANCE = 1e-5  # bits: two distributions are the same
NORM_ERROR = 1e-4  # of a norm's formula to its module, some of which compute in float32
BLOCKS = ("layers", "h")
FIRST_NORMS = ("input_layernorm", "ln_1", "self_attn_layer_norm", "ln_attn")
FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
EPSILONS = ("variance_epsilon", "eps")


class UnreadModel(ValueError):
    """A model whose lens is not known: the formulas do not give its own numbers."""


@dataclass(frozen=True)
class Norm:
    """A norm module: weight [D] as stored, bias [D], zeros where it has none, and eps.

    `centred`: LayerNorm, else RMSNorm. `offset`: 1 where the scale is 1 + weight, as in a Gemma, else 0.
    """

    weight: Array
    bias: Array
    eps: float
    centred: bool
    offset: float

    def __call__(self, x: Array) -> Array:
        """[D] -> [D]."""
        scale = self.weight + self.offset
        if self.centred:
            return oracle.layer_norm(x, scale, self.bias, self.eps)
        return oracle.rms_norm(x, scale, self.eps) + self.bias


@dataclass(frozen=True)
class Head:
    """W_U [D, V], b_U [V], zeros where there is none, and what the model does to its logits after them."""

    W_U: Array
    b_U: Array
    logit_scale: float
    soft_cap: float | None


@dataclass(frozen=True)
class Readout:
    """One prompt: residuals [L + 1, D] and own logits [V] at the last position, with norms and head.

    `embedding` [D] is the last token's row of the embedding weights, before position, scale and norm.
    `block_norms` are the first norm of each block, None where a block reads its input without one.
    """

    residuals: Array
    embedding: Array
    final_norm: Norm
    block_norms: tuple[Norm | None, ...]
    head: Head
    own_logits: Array

    @property
    def n_layers(self) -> int:
        return len(self.block_norms)


def read_model(folder: Path, ids: Sequence[int]) -> Readout:
    """Run a checkpoint on token ids, nothing added, and read its lens; raises UnreadModel where it is not proved."""
    import torch
    from transformers import AutoModelForCausalLM

    eager = {"attn_implementation": "eager", "experts_implementation": "eager"}
    with no_progress_bars():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, **eager).eval()
    body = getattr(model.base_model, "decoder", model.base_model)
    blocks, last_norm = first_attribute(body, BLOCKS), first_attribute(body, FINAL_NORMS)
    if blocks is None or last_norm is None:
        raise UnreadModel(f"{type(body).__name__} has no blocks or no last norm by a known name")
    with torch.no_grad():
        residuals, logits = record(model, blocks, torch.tensor([list(ids)]))
        final_norm = read_norm(last_norm, residuals)
        firsts = [first_attribute(block, FIRST_NORMS) for block in blocks]
        block_norms = tuple(module and read_norm(module, residuals) for module in firsts)
    embedding = to_numpy(model.get_input_embeddings().weight)[ids[-1]]
    lens = to_numpy(residuals), embedding, final_norm, block_norms, read_head(model)
    readout = Readout(*lens, own_logits=logits)
    prove(readout)
    return readout


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing bars while it loads; what was set before is set again."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def first_attribute(module: Any, names: Sequence[str]) -> Any:
    """Return the first of these attributes that a module has, or None: families name the same part differently."""
    return next((getattr(module, name) for name in names if hasattr(module, name)), None)


def to_numpy(tensor: Any) -> Array:
    return tensor.detach().double().numpy()


def record(model: Any, blocks: Any, ids: Any) -> tuple[Any, Array]:
    """Return the residuals [L + 1, D] as a tensor and the model's own logits [V], both at the last position."""
    import torch

    rows: list[Any] = []
    into = blocks[0].register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )
    hooks = [into, *(block.register_forward_hook(keep_output(rows)) for block in blocks)]
    try:
        logits = model(ids).logits[0, -1]
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([row[0, -1] for row in rows]), to_numpy(logits)


def keep_output(rows: list[Any]) -> Callable[..., None]:
    def keep(module: Any, args: Any, output: Any) -> None:
        rows.append(output[0] if isinstance(output, tuple) else output)

    return keep


def read_norm(module: Any, rows: Any) -> Norm:
    """Read a norm module and choose, of the four formulas, the one that computes what the module does on rows [N, D].

    Raises UnreadModel where none does.
    """
    weight, bias = to_numpy(module.weight), getattr(module, "bias", None)
    shift = np.zeros_like(weight) if bias is None else to_numpy(bias)
    eps = float(first_attribute(module, EPSILONS))
    expected = to_numpy(module(rows))
    norms = [Norm(weight, shift, eps, *kind) for kind in product((True, False), (0.0, 1.0))]
    errors = [
        np.max(np.abs(np.stack([norm(x) for x in to_numpy(rows)]) - expected)) for norm in norms
    ]
    best = int(np.argmin(errors))
    if not errors[best] <= NORM_ERROR * np.max(np.abs(expected)):
        raise UnreadModel(
            f"{type(module).__name__} is neither LayerNorm nor RMSNorm, with or without 1 + weight"
        )
    return norms[best]


def read_head(model: Any) -> Head:
    """Read the unembedding, and scale and soft cap of the logits from the configuration."""
    head, config = model.get_output_embeddings(), model.config
    W_U = to_numpy(head.weight).T
    b_U = np.zeros(W_U.shape[1]) if head.bias is None else to_numpy(head.bias)
    scale = getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
    return Head(W_U, b_U, float(scale), getattr(config, "final_logit_softcapping", None))


def lens_logits(x: Array, norms: Sequence[Norm], head: Head) -> Array:
    """The final lens of one residual [D] -> [V]: norms one after the other, unembedding, output transform."""
    for norm in norms:
        x = norm(x)
    return oracle.output_transform(x @ head.W_U + head.b_U, head.logit_scale, head.soft_cap)


def prove(readout: Readout) -> None:
    """Hold the formulas at the last layer to the model's own logits; raises UnreadModel where they differ."""
    z = lens_logits(readout.residuals[-1], [readout.final_norm], readout.head)
    kl = oracle.kl_bits(oracle.softmax(z), oracle.softmax(readout.own_logits))
    if not kl <= TOLERANCE:
        raise UnreadModel(
            f"the formulas are {kl:.1e} bits from the model's own logits at the last layer"
        )
