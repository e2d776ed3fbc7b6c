"""Draw weights from a seed and write them as a checkpoint folder."""

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
# (family, name in transformers 5): the name in checkpoints, which is that of transformers 4
CHECKPOINT_NAMES = {("gpt_neox", "lm_head.weight"): "embed_out.weight"}


def network(model: TinyModel) -> Any:
    """Return the family's transformers model on the meta device, without memory for its weights."""
    config = AutoConfig.for_model(model.family, **model.configuration)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def norm_centres(net: Any) -> dict[str, float]:
    """Return the identity value of each norm parameter: 1 for a weight, 0 for a bias or a norm that scales by 1 + w."""
    centres = {}
    for name, module in net.named_modules():
        kind = type(module).__name__
        if "Norm" in kind and not list(module.children()):
            offset = kind.startswith("Gemma")
            for parameter, _ in module.named_parameters(recurse=False):
                centres[f"{name}.{parameter}"] = 0.0 if offset or parameter == "bias" else 1.0
    return centres


def shapes(net: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name in a checkpoint and shape of each parameter, sorted by name, tied parameters once."""
    named = (
        (CHECKPOINT_NAMES.get((net.config.model_type, name), name), p)
        for name, p in net.named_parameters()
    )
    yield from sorted((name, tuple(parameter.shape)) for name, parameter in named)


def checkpoint_tensors(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a parameter of a Mixtral as in its checkpoints: a tensor [F, D] or [D, F] per expert, not stacked."""
    stacked, _, kind = name.rpartition(".mlp.experts.")
    if not stacked:
        return {name.replace(".mlp.gate.weight", ".block_sparse_moe.gate.weight"): tensor}
    per_expert = {}
    for i, expert in enumerate(tensor):
        halves = zip(("w1", "w3"), expert.chunk(2), strict=True)
        parts = dict(halves) if kind == "gate_up_proj" else {"w2": expert}
        for part, weight in parts.items():
            own_name = f"{stacked}.block_sparse_moe.experts.{i}.{part}.weight"
            per_expert[own_name] = weight.contiguous()
    return per_expert


def tensors(model: TinyModel) -> dict[str, torch.Tensor]:
    """Draw every parameter in float32: standard normal noise in the order of the names, times the spread.

    Norm weights are 1 + 0.2 noise (Gemma: 0.2 noise), norm biases 0.2 noise. Noise is rounded to float32 first, so
    that every later step is float32 arithmetic, the same everywhere.
    """
    net = network(model)
    centres = norm_centres(net)
    state = np.random.RandomState(model.seed)
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
        drawn |= checkpoint_tensors(name, tensor) if model.family == "mixtral" else {name: tensor}
    return drawn


def build(model: TinyModel, folder: Path) -> Path:
    """Write a checkpoint folder that transformers and any runner can read; return the folder."""
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
