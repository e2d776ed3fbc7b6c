"""MODEL → where it is read from: a checkpoint folder, a .gguf file, the local Hugging Face cache, or the hub.

What exists on disk is what is read: by its absolute path, without an alias and without a connection.
"""

import json
import logging
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from ..errors import LensError, library_errors, require
from .checkpoint import WEIGHTS, cached_folder, stored_tensors, weight_files

log = logging.getLogger("lenses_min")

FILE_SUFFIXES = {".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json", ".onnx", ".zip"}
OTHER_WEIGHTS = ("*.h5", "*.msgpack", "*.ot", "*.onnx", "*.pth", "*.safetensors", "*.bin")
LFS_POINTER = b"version https://git-lfs"
LFS_LONGEST = 1024  # bytes of a pointer


def source_of(model: str) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained(name, **where)` of transformers takes: an absolute folder, or a hub id to download.

    Raises LensError for what is neither on disk nor cached, unless it may be an id of the hub and the hub may be asked.
    """
    return local_source(model) or hub_source(model)


def local_source(model: str) -> tuple[str, dict[str, Any]] | None:
    """The same for what is on disk; None for an id of the hub.

    Raises LensError for a path where nothing is, a folder without a configuration, and files that only point to others.
    """
    path = Path(model).expanduser()
    if os.path.isfile(path):
        return gguf_source(path, model)
    if os.path.isdir(path):
        check_folder(path, model)
        return str(path.resolve()), {"local_files_only": True}
    if is_hub_id(model):
        return None
    raise LensError(
        f"there is no checkpoint folder or .gguf file at {model}{looked_at(path)}; "
        "name a folder, a .gguf file, or a model of the hub as owner/name"
    )


def looked_at(path: Path) -> str:
    """The absolute path in brackets where the name is a relative one."""
    return "" if path.is_absolute() else f" (looked at {Path(os.path.abspath(path))})"


def gguf_source(path: Path, model: str) -> tuple[str, dict[str, Any]]:
    if path.suffix.lower() != ".gguf":
        raise LensError(f"{model} is a file, but no .gguf file; name the folder of the checkpoint")
    require(f"reading {model}", "gguf", ("gguf",))
    check_pointers([path], model)
    folder = path.parent.resolve()  # the file itself may be a link to another name
    return str(folder), {"gguf_file": path.name, "local_files_only": True}


def is_hub_id(model: str) -> bool:
    """Whether a name that is not on disk can be an id of the hub: `owner/name`, or `name` alone, and no path."""
    owner = model.split("/")[0]
    if Path(model).suffix.lower() in FILE_SUFFIXES or ("/" in model and os.path.isdir(owner)):
        return False
    try:
        try_to_load_from_cache(model, "config.json")  # which checks the id
    except HFValidationError:
        return False
    return True


def hub_source(model: str) -> tuple[str, dict[str, Any]]:
    """The folder of the local cache that holds the model; the id itself where it must be downloaded."""
    absent = f"there is no folder {Path(model).absolute()} and no cached model {model}"
    if folder := cached_folder(model):
        if not missing_files(folder):
            check_folder(folder, model)
            return str(folder), {"local_files_only": True}
        absent = f"the cache holds only a part of {model}"
    if is_offline_mode():
        raise LensError(
            f"{absent}, and HF_HUB_OFFLINE forbids to connect; download it where that is allowed: "
            f"hf download {model}"
        )
    log.warning("%s: downloading it from the Hugging Face hub", absent)
    return model, {}


def missing_files(folder: Path) -> bool:
    """Whether the cache lacks weights of a snapshot."""
    files = weight_files(folder)
    return not files or not all(file.is_file() for file in files)


def check_folder(folder: Path, model: str) -> None:
    """Raises LensError unless a folder holds a configuration that can be read, of a model that is not quantized."""
    if (folder / "adapter_config.json").is_file():
        refuse_adapter(folder, model)
    if not (folder / "config.json").is_file():
        raise LensError(
            f"{model} holds no config.json; give a Hugging Face checkpoint folder or a .gguf file"
            f"{inside(folder)}"
        )
    tokenizers = [folder / name for name in ("tokenizer.json", "tokenizer.model")]
    check_pointers([folder / "config.json", *tokenizers], model)
    check_config(folder / "config.json", model)


def inside(folder: Path) -> str:
    """What a folder without config.json holds that may be meant."""
    candidates = sorted(p.name for p in folder.iterdir() if p.suffix.lower() == ".gguf")
    candidates += sorted(str(p.parent.relative_to(folder)) for p in folder.glob("*/config.json"))
    candidates += sorted(
        str(p.parent.relative_to(folder)) for p in folder.glob("snapshots/*/config.json")
    )
    return f"; perhaps {', '.join(candidates[:3])} inside it" if candidates else ""


def refuse_adapter(folder: Path, model: str) -> None:
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base, kind = config["base_model_name_or_path"], config.get("peft_type", "PEFT")
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        base, kind = "the model that it was trained on", "PEFT"
    whole = (folder / "config.json").is_file() and bool(weight_files(folder))
    if whole:
        raise LensError(
            f"{model} holds a model and a {kind} adapter, and reading either alone may be wrong; move "
            "adapter_config.json and its weights away, or merge the adapter into the model"
        )
    raise LensError(
        f"{model} is a {kind} adapter of {base}, not a model; merge it first (merge_and_unload and "
        "save_pretrained of the package peft) and give the merged folder"
    )


def check_pointers(files: list[Path], model: str) -> None:
    """Raises LensError naming the files that Git LFS has not fetched."""
    pointers = [
        file.name
        for file in files
        if file.is_file()
        and file.stat().st_size <= LFS_LONGEST
        and file.read_bytes().startswith(LFS_POINTER)
    ]
    if pointers:
        raise LensError(
            f"{model}: {', '.join(pointers)} is a Git LFS pointer, not the file itself; "
            f"run git lfs pull in {files[0].parent}"
        )


def check_config(path: Path, model: str) -> None:
    """Raises LensError unless config.json is one JSON object of a model that is not quantized."""
    problem = f"cannot read the config of {model}: config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise LensError(f"{problem} is nested too deeply to be a configuration") from error
    except UnicodeDecodeError as error:
        raise LensError(f"{problem} is not UTF-8 text ({error}); save it as UTF-8") from error
    except (OSError, ValueError) as error:
        raise LensError(f"{problem} is not JSON: {error}; get a sound checkpoint") from error
    if not isinstance(config, dict):
        raise LensError(f"{problem} holds no JSON object, got {type(config).__name__}")
    for part in (config, config.get("text_config")):
        if isinstance(part, dict) and (scheme := part.get("quantization_config")):
            kind = scheme.get("quant_method", "") if isinstance(scheme, dict) else scheme
            raise LensError(
                f"{model} is quantized ({kind or 'quantization_config in its config.json'}), and its "
                "weights are not what a lens can read; give the checkpoint before quantization, or a .gguf file"
            )


def check_weight_files(folder: Path, model: str) -> None:
    """Raises LensError where a folder holds no weights, or not all files of them."""
    problem = f"cannot read the weights of {model}"
    with library_errors(f"read the weights of {model}", "get a sound checkpoint"):
        files = weight_files(folder)
    if not files:
        shards = sorted(p.name for p in folder.iterdir() if re.search(r"-of-\d+\.", p.name))
        others = sorted({p.name for kind in OTHER_WEIGHTS for p in folder.glob(kind)})
        content = f"it holds {', '.join(others[:3])}" if others else "it holds none at all"
        index = f"{WEIGHTS[0]}.index.json" if shards else WEIGHTS[0]
        raise LensError(f"{problem}: there is no {index}; {content}; get a whole checkpoint")
    if missing := [file.name for file in files if not file.is_file()]:
        raise LensError(
            f"{problem}: the index names files that are not there: {', '.join(missing[:3])}"
            f"{' …' if len(missing) > 3 else ''}; get them, too"
        )
    check_pointers(files, model)
    with library_errors(f"read the weights of {model}", "get a sound checkpoint"):
        for file in files:
            stored_tensors(file)
