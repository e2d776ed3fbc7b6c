"""What a run will need, before its model is loaded: the placement's arithmetic, for any device and machine."""

import json
from pathlib import Path
from typing import Any

import torch

from .options import RunOptions
from .placement import compute_dtype, count_parameters, need


def parameters(options: RunOptions) -> float:
    """By the sizes of the files, else by the name; 0 when unknown."""
    config = config_of(options.model)
    stored = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
    return count_parameters(options.model, options.model_id, stored)


def needs(options: RunOptions, device: str) -> float:
    """Bytes on a device of that kind; of a model of unknown size what any needs."""
    family = str(config_of(options.model).get("model_type", ""))
    return need(device, parameters(options), compute_dtype(device, options.model_id, family))


def config_of(model: str) -> dict[str, Any]:
    """The configuration of a checkpoint folder, empty where there is none to read."""
    try:
        return dict(json.loads((Path(model) / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
