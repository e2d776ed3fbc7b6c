"""What a run will need, before its model is loaded: the placement's arithmetic, for any device and machine."""

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from ..options import RunOptions
from . import placement
from .checkpoint import count_parameters, folder_of


def parameters(options: RunOptions) -> int:
    """By the files, else by the config, else by the name; 0 when unknown."""
    return count_parameters(options.model, options.model_id, config_of(options.model))[0]


def needs(options: RunOptions, device: str) -> float:
    """Bytes on a device of that kind; of a model of unknown size what any needs."""
    return next(placement.needs(options, config_of(options.model), [device])).bytes


def config_of(model: str) -> Any:
    """The configuration of a checkpoint folder or of a hub id in the local cache; an empty one where there is none."""
    try:
        folder = folder_of(model)
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception:  # third-party readers raise anything
        return PretrainedConfig()
