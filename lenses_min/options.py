"""Options of a run, validated where they are built; importing this module loads nothing heavy."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .errors import LensError

CHOICES = {
    "bos": ("auto", "none", "model"),
    "contract": ("reference", "corrected"),
    "device": ("auto", "cuda", "mps", "cpu"),
    "device_map": ("none", "auto"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "prism": ("auto", "on", "off"),
    "raw_lens": ("off", "sample", "full"),
}
PATHS = ("model", "out_dir", "prism_dir", "tuned_dir", "prompts")
# A folder of the local Hugging Face cache, whose own name is a commit.
CACHED = re.compile(r"[/\\]models--([^/\\]+)[/\\]snapshots[/\\][^/\\]+$")


@dataclass(frozen=True)
class RunOptions:
    """One run of the lens over one model.

    `model` is a Hugging Face id, a checkpoint folder or a .gguf file; `model_id` the recorded name.
    `copy_threshold` and `copy_margin` are probabilities; `prompts` a file, `batch_size` how many of its prompts
    share a forward; `cache` keeps what a .gguf file is converted to. `dtype` overrides the device's, `device_map` auto
    shards over all GPUs, `threads` 0 leaves torch's. `bos` is what the model reads before a prompt: what the contract's
    rule says, nothing, or the BOS that tokenizer or config.json declares. Raises LensError naming every bad value.
    """

    model: str
    model_id: str = ""
    out_dir: str = "run-latest"
    device: str = "auto"
    fp32_unembed: bool = False
    keep_residuals: bool = False
    copy_threshold: float = 0.95
    copy_margin: float = 0.10
    prism: str = "auto"
    prism_dir: str = "prisms"
    raw_lens: str = ""
    lenses: tuple[str, ...] = ("norm", "prism")
    contract: str = "reference"
    tuned_dir: str = "tuned"
    prompts: str = ""
    batch_size: int = 8
    cache: bool = True
    dtype: str = "auto"
    device_map: str = "none"
    threads: int = 0
    bos: str = "auto"

    def __post_init__(self) -> None:
        if not self.raw_lens:
            object.__setattr__(self, "raw_lens", os.environ.get("LOGOS_RAW_LENS") or "sample")
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), os.PathLike):
                object.__setattr__(self, field.name, os.fspath(value))
        for name in PATHS:
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, os.path.expanduser(value))
        if not self.model_id:
            object.__setattr__(self, "model_id", default_model_id(self.model))
        if isinstance(self.lenses, str):
            object.__setattr__(
                self, "lenses", tuple(filter(None, map(str.strip, self.lenses.split(","))))
            )
        if isinstance(self.lenses, list | tuple):
            object.__setattr__(
                self, "lenses", tuple(dict.fromkeys(("norm", *map(str, self.lenses))))
            )
        if problems := list(self._problems()):
            raise LensError("; ".join(problems))

    def _problems(self) -> Any:
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                yield f"{name} must be one of {', '.join(allowed)}, got {value!r}"
        for name in ("copy_threshold", "copy_margin"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                yield f"{name} must be a probability between 0 and 1, got {value!r}"
        if type(self.batch_size) is not int or self.batch_size < 1:
            yield f"batch_size must be a whole number from 1 on, got {self.batch_size!r}"
        if type(self.threads) is not int or self.threads < 0:
            yield f"threads must be a whole number, 0 for as many as torch takes by itself, got {self.threads!r}"
        if self.device_map == "auto" and self.device in ("cpu", "mps"):
            yield f"device_map auto shards a model over GPUs; leave device auto, got {self.device!r}"
        for kind, told in ((bool, "true or false"), (str, "a string")):
            for field in (f.name for f in fields(self) if f.type is kind):
                if not isinstance(value := getattr(self, field), kind):
                    yield f"{field} must be {told}, got {value!r}"
        if not isinstance(self.lenses, tuple):
            yield f"lenses must be names such as norm,final,raw,prism,tuned, got {self.lenses!r}"
        if not self.model:
            yield "model must be a Hugging Face id, a checkpoint folder or a .gguf file, got an empty string"
        elif isinstance(self.model_id, str) and self.clean in ("", ".", ".."):
            yield f"model_id must end in a name that can be part of a file name, got {self.model_id!r}"

    @property
    def corrected(self) -> bool:
        """Whether the defects R1 to R7 of the reference are mended."""
        return self.contract == "corrected"

    @property
    def extended(self) -> bool:
        """Whether the run writes more than the reference does, the agreement of its lenses among it."""
        return self.corrected or bool(self.prompts) or not {*self.lenses} <= {"norm", "prism"}

    @property
    def clean(self) -> str:
        """The model id after its last slash, as used in file names."""
        return self.model_id.rsplit("/", 1)[-1]

    @classmethod
    def from_job(cls, job: Mapping[str, Any]) -> "RunOptions":
        """One object of a jobs file; unknown keys and a missing model are errors."""
        known = {f.name for f in fields(cls)}
        if not isinstance(job, Mapping):
            raise LensError(f"a job is a JSON object, got {job!r}")
        if unknown := sorted(set(job) - known):
            raise LensError(
                f"unknown job keys {', '.join(unknown)}; known keys: {', '.join(sorted(known))}"
            )
        if not isinstance(job.get("model"), str):
            raise LensError(f"a job needs a string 'model', got {job.get('model')!r}")
        return cls(**job)


def default_model_id(model: str) -> str:
    """A local folder or .gguf file is recorded by its name alone, a hub id as it stands, also from the hub's cache."""
    path = Path(os.path.abspath(model))
    if os.path.isdir(path):
        cached = CACHED.search(str(path))
        return cached[1].replace("--", "/") if cached else path.name
    return path.stem if path.suffix.lower() == ".gguf" else model.rstrip("/") or model
