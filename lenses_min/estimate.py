"""What a run will need, before it starts: the placement's arithmetic for a model that is not loaded."""

import json
from pathlib import Path
from typing import Any

import torch

from .options import RunOptions
from .placement import compute_dtype, count_parameters, need


def needs(options: RunOptions, device: str) -> float:
    """Bytes on a device, by the sizes of the files, else by the name; of an unknown size what any model needs."""
    config = config_of(options.model)
    stored = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"))
    parameters = count_parameters(options.model, options.model_id, stored)
    return need(device, parameters, compute_dtype(device, options.model_id, str(config.get("model_type", ""))))


def config_of(model: str) -> dict[str, Any]:
    """The configuration of a checkpoint folder, empty where there is none to read."""
    try:
        return dict(json.loads((Path(model) / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
