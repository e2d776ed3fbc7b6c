"""The files of a checkpoint, and its number of parameters: by its files, else its configuration, else its name."""

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM

from ..errors import LensError

# In the order in which transformers looks for them; each may stand as shards that <name>.index.json lists.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
OF_A_MODEL = re.compile(r"(model|pytorch_model|consolidated)\b.*\.(safetensors|bin)")


def billions(model_id: str) -> float:
    """Parameters in billions that the id names, `…-34B` or `…-1.5b`; 0 where it names none."""
    return max(
        map(float, re.findall(r"(?<![\d.A-Za-z])(\d+(?:\.\d+)?)[bB](?![A-Za-z])", model_id)),
        default=0.0,
    )


def count_parameters(model: str, model_id: str, config: Any) -> tuple[int, str]:
    """The number of parameters and its source, in words; 0 where it is unknown, as with files that cannot be read."""
    if count := in_whole_files(folder_of(model), config.dtype or torch.float16):
        return count, "by its files"
    if count := in_config(config):
        return count, "by its config"
    path = Path(model).expanduser()
    if os.path.isfile(path):
        return path.stat().st_size * 2, "by the size of its file, 4 bits each"
    named = billions(model_id) or billions(model)
    return int(named * 1e9), "by its name" if named else "its size is unknown"


def folder_of(model: str) -> Path:
    """The checkpoint folder, or the folder of the local cache that holds the files of a hub id; it may be absent."""
    path = Path(model).expanduser()
    return path if os.path.exists(path) else cached_folder(model) or path


def cached_folder(model: str) -> Path | None:
    """The snapshot of a hub id in the local cache; None where it holds no config of it, or where it is no id."""
    try:
        config = try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return None
    return Path(config).parent if isinstance(config, str) else None


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers reads the weights of a folder from, whether they are there or not; none in [].

    Raises LensError where an index is not one.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f"{name}.index.json").is_file():
            return [folder / shard for shard in sorted({*read_index(index)["weight_map"].values()})]
    return []


def read_index(path: Path) -> dict[str, Any]:
    """The list of shards: `weight_map` from tensor to file of the same folder, and `metadata`."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        names = [PurePosixPath(name) for name in index["weight_map"].values()]
        valid = names and isinstance(index["metadata"], dict)
        valid = valid and not any(name.is_absolute() or ".." in name.parts for name in names)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        valid = False
    if not valid:
        raise LensError(
            f"{path} is no index of shards: a JSON object with metadata, and a weight_map that names files of its "
            "folder; get a whole checkpoint"
        )
    return dict(index)


def unread_files(folder: Path) -> list[str]:
    """Further weight files of a folder, which usually hold the same in another form."""
    read = {file.relative_to(folder).parts[0] for file in weight_files(folder)}
    return sorted(
        path.name
        for path in folder.iterdir()
        if OF_A_MODEL.fullmatch(path.name) and path.name not in read
    )


class Stored(NamedTuple):
    """A tensor by the header of its file."""

    shape: Sequence[int]
    floating: bool


def stored_tensors(file: Path) -> dict[str, Stored]:
    """The tensors of a weight file by name; no data is read."""
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as stored:
            slices = {name: stored.get_slice(name) for name in stored.keys()}  # noqa: SIM118
            return {
                name: Stored(part.get_shape(), "F" in part.get_dtype())
                for name, part in slices.items()
            }
    tensors = read_bin(file)
    return {name: Stored(t.shape, t.is_floating_point()) for name, t in tensors.items()}


def read_bin(file: Path) -> dict[str, Tensor]:
    """The tensors of a .bin file, mapped and not copied; no code of it is run."""
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def read_stored(file: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """Some tensors of a weight file."""
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as stored:
            return {name: stored.get_tensor(name) for name in names}
    content = read_bin(file)
    return {name: content[name] for name in names}


def in_whole_files(folder: Path, stored: torch.dtype) -> int:
    try:
        return in_files(folder, stored)
    except Exception:  # third-party readers raise anything; reading the weights reports the fault
        return 0


def in_files(folder: Path, stored: torch.dtype) -> int:
    """Parameters of the weight files; where shards are missing, by the total size in their index."""
    files = weight_files(folder)
    if all(file.is_file() for file in files):
        return sum(in_file(file, stored) for file in files)
    name = next(name for name in WEIGHTS if (folder / f"{name}.index.json").is_file())
    metadata = read_index(folder / f"{name}.index.json").get("metadata") or {}
    return int(metadata.get("total_size", 0)) // stored.itemsize


def in_file(path: Path, stored: torch.dtype) -> int:
    """Exactly, by the header of a safetensors file; by the size of any other file and the dtype of the config."""
    if path.suffix != ".safetensors":
        return path.stat().st_size // stored.itemsize
    return sum(math.prod(stored.shape) for stored in stored_tensors(path).values())


def in_config(config: Any) -> int:
    """Parameters of the model that transformers builds from a config, in no memory; 0 where it builds none."""
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        return sum(p.numel() for p in model.parameters())
    except Exception:  # third-party models raise anything
        return 0
