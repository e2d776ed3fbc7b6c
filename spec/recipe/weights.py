"""Weights from a seed, and the checkpoint folder around them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from .model import TinyModel
from .tokenizer import tokenizer_files

NORM_NOISE = np.float32(0.2)
# (family, transformers 5's name): the name in checkpoints, which it had in transformers 4
CHECKPOINT_NAMES = {("gpt_neox", "lm_head.weight"): "embed_out.weight"}


def network(model: TinyModel) -> Any:
    """The family's transformers model, without memory for its weights."""
    config = AutoConfig.for_model(model.family, **model.configuration)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def norm_centres(net: Any) -> dict[str, float]:
    """Norm parameters, each with the value that leaves a vector as it is: 1, or 0 where 1 + w scales."""
    centres = {}
    for name, module in net.named_modules():
        kind = type(module).__name__
        if "Norm" in kind and not list(module.children()):
            offset = kind.startswith("Gemma")
            for parameter, _ in module.named_parameters(recurse=False):
                centres[f"{name}.{parameter}"] = 0.0 if offset or parameter == "bias" else 1.0
    return centres


def shapes(net: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Parameters in sorted order of the names that a checkpoint gives them, tied ones once."""
    named = (
        (CHECKPOINT_NAMES.get((net.config.model_type, name), name), p)
        for name, p in net.named_parameters()
    )
    yield from sorted((name, tuple(parameter.shape)) for name, parameter in named)


def published(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """A parameter of a Mixtral as its checkpoints have it: experts one by one, [F, D] and [D, F], not stacked."""
    stacked, _, kind = name.rpartition(".mlp.experts.")
    if not stacked:
        return {name.replace(".mlp.gate.weight", ".block_sparse_moe.gate.weight"): tensor}
    single = {}
    for i, expert in enumerate(tensor):
        halves = zip(("w1", "w3"), expert.chunk(2), strict=True)
        parts = dict(halves) if kind == "gate_up_proj" else {"w2": expert}
        for part, weight in parts.items():
            own = f"{stacked}.block_sparse_moe.experts.{i}.{part}.weight"
            single[own] = weight.contiguous()
    return single


def tensors(model: TinyModel) -> dict[str, torch.Tensor]:
    """Every parameter, float32: standard normal noise in the order of the names, times the spread.

    Norm weights are 1 + 0.2 noise (Gemma: 0.2 noise), norm biases 0.2 noise. Noise is rounded to float32 first, so
    that every later step is float32 arithmetic, the same everywhere.
    """
    net = network(model)
    centres, state = norm_centres(net), np.random.RandomState(model.seed)
    drawn: dict[str, torch.Tensor] = {}
    for name, shape in shapes(net):
        noise = state.standard_normal(shape).astype(np.float32)
        centre = centres.get(name)
        value = (
            np.float32(model.spread) * noise
            if centre is None
            else np.float32(centre) + NORM_NOISE * noise
        )
        tensor = torch.from_numpy(value)
        drawn |= published(name, tensor) if model.family == "mixtral" else {name: tensor}
    return drawn


def build(model: TinyModel, folder: Path) -> Path:
    """Write a checkpoint folder that transformers and any runner can read; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    net = network(model)
    config = net.config
    config.dtype, config.architectures = torch.float32, [type(net).__name__]
    config.save_pretrained(folder)
    save_file(tensors(model), folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in tokenizer_files(model.tokenizer).items():
        (folder / name).write_text(
            json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return folder
