"""How many parameters a checkpoint holds: told by its files, else by its configuration, else by its name."""

import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import safe_open
from transformers import AutoModelForCausalLM

# In the order in which transformers looks for them; each may stand as shards that <name>.index.json lists.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def billions(model_id: str) -> float:
    """Parameters in billions that the id names, `…-34B` or `…-1.5b`; 0 where it names none."""
    return max(
        map(float, re.findall(r"(?<![\d.A-Za-z])(\d+(?:\.\d+)?)[bB](?![A-Za-z])", model_id)),
        default=0.0,
    )


def count_parameters(model: str, model_id: str, config: Any) -> tuple[int, str]:
    """Parameters and what tells of them, in words; 0 where nothing does."""
    if found := in_files(folder_of(model), config.dtype or torch.float16):
        return found, "by its files"
    if found := in_config(config):
        return found, "by its config"
    path = Path(model)
    if path.is_file():
        return path.stat().st_size * 2, "by the size of its file, 4 bits each"
    named = billions(model_id) or billions(model)
    return int(named * 1e9), "by its name" if named else "its size is unknown"


def folder_of(model: str) -> Path:
    """The checkpoint folder, or the folder of the local cache that holds the files of a hub id."""
    path = Path(model)
    cached = None if path.exists() else try_to_load_from_cache(model, "config.json")
    return Path(cached).parent if isinstance(cached, str) else path


def in_files(folder: Path, stored: torch.dtype) -> int:
    """Parameters of the weight files; where shards are missing, by the whole size that their index tells."""
    for name in WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return in_file(folder / name, stored)
        if index.is_file():
            told = json.loads(index.read_text(encoding="utf-8"))
            files = [folder / shard for shard in sorted({*told["weight_map"].values()})]
            if all(file.is_file() for file in files):
                return sum(in_file(file, stored) for file in files)
            return told.get("metadata", {}).get("total_size", 0) // stored.itemsize
    return 0


def in_file(path: Path, stored: torch.dtype) -> int:
    """Exactly, by the header of a safetensors file; by the size of any other and the dtype that the config tells."""
    if path.suffix != ".safetensors":
        return path.stat().st_size // stored.itemsize
    with safe_open(path, "pt") as file:
        return sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118


def in_config(config: Any) -> int:
    """Parameters of the model that transformers builds from a config, in no memory; 0 where it builds none."""
    try:
        with torch.device("meta"):
            return sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    except Exception:  # third-party models raise anything
        return 0
