"""A .gguf file → a checkpoint folder in the user's cache: what transformers makes of the file at every load, kept.

The weights are kept in float32, as they come out of the file, so that a run is the same to the byte from either.
"""

import hashlib
import json
import logging
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock
from transformers import PreTrainedTokenizerFast

from ..version import __version__

log = logging.getLogger("lenses_min")
RULE = 2  # of what is read of a file; entries that another rule made are not used again


def folder() -> Path:
    """The folder of the cache, within `$XDG_CACHE_HOME` or the system's own cache folder."""
    return platformdirs.user_cache_path("lenses-min") / "gguf"


def entry(file: Path) -> Path:
    """Where a file's conversion is or would be: by SHA-256 of its content, and of what converts it."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    digest.update(repr([RULE, __version__, *map(version, ("transformers", "gguf"))]).encode())
    return folder() / f"{file.stem}-{digest.hexdigest()[:32]}"


def keep(place: Path, model: Any, tokenizer: Any) -> bool:
    """Write a model, read in float32, and its tokenizer; whole or not at all, however many processes do so at once.

    False, with a warning, where that cannot be, or where the tokenizer would not be read back as it is.
    """
    part = place.with_name(f".{place.name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f".{place.name}.lock")):
            shutil.rmtree(part, ignore_errors=True)
            if not place.is_dir():
                write(part, model, tokenizer)
                part.rename(place)
                size = sum(path.stat().st_size for path in place.iterdir()) / 1e6
                log.info(
                    "converted %s.gguf once: %.0f MB in %s",
                    place.name.rsplit("-", 1)[0],
                    size,
                    place,
                )
    except (OSError, ValueError) as error:
        shutil.rmtree(part, ignore_errors=True)
        log.warning("the weights of the .gguf file cannot be kept in %s: %s", place.parent, error)
        return False
    return True


def write(part: Path, model: Any, tokenizer: Any) -> None:
    model.hf_quantizer = (
        None  # the weights are plain by now; with it transformers refuses to save them
    )
    model.config.__dict__.pop("quantization_config", None)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    keep_flag(part / "tokenizer_config.json", tokenizer.init_kwargs.get("add_bos_token"))
    again = PreTrainedTokenizerFast.from_pretrained(part, local_files_only=True)
    states = [
        (loaded.backend_tokenizer.to_str(), loaded.special_tokens_map)
        for loaded in (again, tokenizer)
    ]
    if states[0] != states[1]:
        raise ValueError("its tokenizer reads otherwise when it is saved")
    for path in part.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def keep_flag(path: Path, add_bos_token: bool | None) -> None:
    """Whether a BOS goes before a text, which transformers leaves out when it saves a tokenizer."""
    if add_bos_token is not None:
        config = json.loads(path.read_text(encoding="utf-8")) | {"add_bos_token": add_bos_token}
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
