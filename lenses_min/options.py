"""Options of a run: of each the default, the flag, the help and the check in one place.

The command lines are derived from it, see `cli/arguments.py`. Importing this module loads nothing heavy.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import LensError

ENTROPY_COLLAPSE_BITS = 1.0  # the entropy up to which a row has collapsed; no option, as in run.py
CSV, PARQUET = TABLE_FORMATS = ("csv", "parquet")  # names of the formats, and suffixes of files
OPTION = "option"  # the key of an Option in a field's metadata
# A folder of the local Hugging Face cache, whose own name is a commit.
CACHED = re.compile(r"[/\\]models--([^/\\]+)[/\\]snapshots[/\\][^/\\]+$")


@dataclass(frozen=True)
class Option:
    """An option on a command line; `flag` and `metavar` where they are not those of its name.

    `check` returns the requirement that a value of the right type violates, or an empty text; `expands` replaces `~` by
    the home folder.
    """

    help: str
    choices: tuple[str, ...] = ()
    flag: str = ""
    metavar: str = ""
    check: Callable[[Any], str] | None = None
    expands: bool = False


@dataclass(frozen=True)
class Contract:
    """What a run does where the two contracts differ; the ids are those of the reference's defects."""

    name: str
    model_norms: bool  # R1, R2: call the model's own norm modules, else the reference's RMS formula
    output_transform: bool  # R3: apply the model's soft cap or logit scale to the logits of a lens
    every_record: bool  # R4, R7: write records of every layer and position
    standard_csv: bool  # R5: write CSV as Python's csv module does
    own_answers: bool  # R6: compare with the pass's own answer where it has no id
    rank_logits: bool  # rank by logits, else by float32 probabilities
    declared_bos: bool  # R14: read the BOS that the checkpoint declares, once
    joined_answers: bool  # R15: an answer joins its prompt as text does
    lists_differences: bool  # the document lists what is done otherwise than by the reference
    needs_proof: bool  # a run whose last layer is not the model's output is an error


BEHAVIOURS = [f.name for f in fields(Contract) if f.name != "name"]
REFERENCE = Contract("reference", **dict.fromkeys(BEHAVIOURS, False))
CORRECTED = Contract("corrected", **dict.fromkeys(BEHAVIOURS, True))
CONTRACTS = {contract.name: contract for contract in (REFERENCE, CORRECTED)}


def contract_of(document: Mapping[str, Any]) -> Contract:
    """The contract that a run's document names; run.py's name none and keep the reference's."""
    return CONTRACTS.get(str(document.get("contract")), REFERENCE)


def option(default: Any, help: str, **more: Any) -> Any:
    """A field of a dataclass of options that stands on the command lines derived from it."""
    return field(default=default, metadata={OPTION: Option(help, **more)})


def probability(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "" if number and 0 <= value <= 1 else "a probability between 0 and 1"


def count(value: Any) -> str:
    return "" if type(value) is int and value >= 1 else "a whole number from 1 on"


def thread_count(value: Any) -> str:
    requirement = "a whole number, 0 for as many as torch takes by itself"
    return "" if type(value) is int and value >= 0 else requirement


@dataclass(frozen=True)
class RunOptions:
    """One run of the lens over one model; what each option means is its help text.

    `model` is a Hugging Face id, a checkpoint folder or a .gguf file, `model_id` the recorded name, `out_dir` the
    folder of the outputs. Raises LensError naming every bad value.
    """

    model: str
    model_id: str = ""
    out_dir: str = "run-latest"
    device: str = option("auto", "default: %(default)s", choices=("auto", "cuda", "mps", "cpu"))
    fp32_unembed: bool = option(False, "unembed in float32 whatever the model computes in")
    keep_residuals: bool = option(False, "save the normalised residual of every layer")
    copy_threshold: float = option(
        0.95, "p(top-1) of a copy (default: %(default)s)", check=probability
    )
    copy_margin: float = option(
        0.10, "its lead over top-2 (default: %(default)s)", check=probability
    )
    prism: str = option("auto", "default: %(default)s", choices=("auto", "on", "off"))
    prism_dir: str = option(
        "prisms", "Prism artifacts, <dir>/<name>/ (default: %(default)s)", expands=True
    )
    raw_lens: str = option(
        "", "default: $LOGOS_RAW_LENS or sample", choices=("off", "sample", "full")
    )
    lenses: tuple[str, ...] = option(
        ("norm", "prism"),
        "names of lenses, such as final,raw,tuned",
        flag="--lens",
        metavar="LENS,…",
    )
    contract: str = option("reference", "default: %(default)s", choices=tuple(CONTRACTS))
    tuned_dir: str = option(
        "tuned", "fitted translators, <dir>/<name>/ (default: %(default)s)", expands=True
    )
    prompts: str = option(
        "", "passes and test prompts of your own, YAML or JSONL", metavar="FILE", expands=True
    )
    batch_size: int = option(
        8, "prompts of --prompts a forward (default: %(default)s)", check=count
    )
    cache: bool = option(
        True,
        "read a .gguf file itself, and keep nothing of it in the user's cache",
        flag="--no-cache",
    )
    dtype: str = option(
        "auto",
        "compute dtype (default: the device's)",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    device_map: str = option("none", "auto: shard over all GPUs", choices=("none", "auto"))
    threads: int = option(
        0, "CPU threads of torch (default: as torch takes them)", check=thread_count
    )
    bos: str = option(
        "auto",
        "before each prompt: by the contract's rule, nothing, or the declared BOS",
        choices=("auto", "none", "model"),
    )

    table_format: str = option(
        CSV, "format of the tables' files (default: %(default)s)", choices=TABLE_FORMATS
    )

    def __post_init__(self) -> None:
        if not self.raw_lens:
            self._set("raw_lens", os.environ.get("LOGOS_RAW_LENS") or "sample")
        self._normalise_paths()
        if not self.model_id:
            self._set("model_id", default_model_id(self.model))
        self._normalise_lenses()
        if problems := list(self._problems()):
            raise LensError("; ".join(problems))

    def _set(self, name: str, value: object) -> None:
        """Set a field of this frozen object, before it is in use."""
        object.__setattr__(self, name, value)

    def _normalise_paths(self) -> None:
        """Path objects become texts, and `~` the home folder."""
        for name in (f.name for f in fields(self)):
            if isinstance(value := getattr(self, name), os.PathLike):
                self._set(name, os.fspath(value))
        for name in self._paths():
            if isinstance(value := getattr(self, name), str):
                self._set(name, os.path.expanduser(value))

    def _normalise_lenses(self) -> None:
        """A list with commas becomes names, each once; the norm lens comes first."""
        if isinstance(self.lenses, str):
            self._set("lenses", tuple(filter(None, map(str.strip, self.lenses.split(",")))))
        if isinstance(self.lenses, list | tuple):
            self._set("lenses", tuple(dict.fromkeys(("norm", *map(str, self.lenses)))))

    @staticmethod
    def _paths() -> Iterator[str]:
        yield from ("model", "out_dir")
        yield from (name for name, _, option in options_of(RunOptions) if option.expands)

    def _problems(self) -> Iterator[str]:
        for name, _, option in options_of(RunOptions):
            value = getattr(self, name)
            if option.choices and value not in option.choices:
                yield f"{name} must be one of {', '.join(option.choices)}, got {value!r}"
            if option.check and (requirement := option.check(value)):
                yield f"{name} must be {requirement}, got {value!r}"
        if self.device_map == "auto" and self.device in ("cpu", "mps"):
            yield f"device_map auto shards a model over GPUs; leave device auto, got {self.device!r}"
        yield from self._wrong_types()
        if not self.model:
            yield "model must be a Hugging Face id, a checkpoint folder or a .gguf file, got an empty string"
        elif isinstance(self.model_id, str) and self.file_stem in ("", ".", ".."):
            yield f"model_id must end in a name that can be part of a file name, got {self.model_id!r}"

    def _wrong_types(self) -> Iterator[str]:
        for kind, requirement in ((bool, "true or false"), (str, "a string")):
            for name in (f.name for f in fields(self) if f.type is kind):
                if not isinstance(value := getattr(self, name), kind):
                    yield f"{name} must be {requirement}, got {value!r}"
        if not isinstance(self.lenses, tuple):
            yield f"lenses must be names such as norm,final,raw,prism,tuned, got {self.lenses!r}"

    @property
    def rules(self) -> Contract:
        """What the run does by its contract."""
        return CONTRACTS[self.contract]

    @property
    def extended(self) -> bool:
        """Whether the run writes more than the reference does, the agreement of its lenses among it."""
        further = not {*self.lenses} <= {"norm", "prism"}
        return self.rules is not REFERENCE or bool(self.prompts) or further

    @property
    def file_stem(self) -> str:
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


def options_of(kind: type) -> Iterator[tuple[str, Any, Option]]:
    """Name, default and Option of every field of a dataclass that a command line has."""
    for f in fields(kind):
        if OPTION in f.metadata:
            yield f.name, f.default, f.metadata[OPTION]


def default_model_id(model: str) -> str:
    """The recorded name: the name of a local folder or .gguf file, a hub id unchanged, also from the hub's cache."""
    path = Path(os.path.abspath(model))
    if os.path.isdir(path):
        cached = CACHED.search(str(path))
        return cached[1].replace("--", "/") if cached else path.name
    return path.stem if path.suffix.lower() == ".gguf" else model.rstrip("/") or model
