"""A run directory → one frozen Run. Whatever cannot be read becomes a finding, never a crash."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from . import reading_csv, reading_json
from .reading_csv import Table

RECORDS, PURE, RECORDS_PRISM, PURE_PRISM = (
    "records",
    "pure-next-token",
    "records-prism",
    "pure-next-token-prism",
)
SIDECARS = tuple(
    f"{table}-{lens}" for lens in ("final", "raw", "tuned") for table in (RECORDS, PURE)
)
AGREEMENT, ANSWERS = "agreement", "answers"
TABLE_KINDS = (RECORDS, PURE, RECORDS_PRISM, PURE_PRISM, *SIDECARS, AGREEMENT, ANSWERS)
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Finding:
    """Something about a file as a whole: its name and a sentence."""

    file: str
    sentence: str


@dataclass(frozen=True)
class Run:
    """The outputs of one run. `tables` by kind, `residuals` (torch tensors) by file name.

    `files` are the contract's files that exist, `strays` the files of no run in the folder. The manifest is neither.
    """

    clean: str
    files: frozenset[str] = frozenset()
    tables: Mapping[str, Table] = field(default_factory=dict)
    document: Mapping[str, Any] | None = None
    document_text: str = ""
    residuals: Mapping[str, Any] = field(default_factory=dict)
    strays: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if unknown := set(self.tables) - set(TABLE_KINDS):
            raise ValueError(
                f"tables are keyed by {TABLE_KINDS}, got {sorted(unknown)}; use one of the kinds"
            )
        object.__setattr__(self, "tables", MappingProxyType(dict(self.tables)))
        object.__setattr__(self, "residuals", MappingProxyType(dict(self.residuals)))

    @property
    def corrected(self) -> bool:
        """Whether the document says that the run keeps the corrected contract."""
        return (self.document or {}).get("contract") == "corrected"

    @property
    def document_name(self) -> str:
        return f"output-{self.clean}.json"

    def table_name(self, kind: str) -> str:
        return f"output-{self.clean}-{kind}.csv"


def runs_in(folder: Path) -> list[str]:
    """The clean names of the runs in a folder, from the documents, else from the tables; empty without any."""
    pattern = rf"output-(.+?)(?:-(?:{'|'.join(TABLE_KINDS)})\.csv|(?:\.error)?\.json)"
    return sorted({match[1] for name in names_in(folder) if (match := re.fullmatch(pattern, name))})


def names_in(folder: Path) -> list[str]:
    """The files of a folder that are not hidden: those may be what a run that was killed has left."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in found if path.is_file() and not path.name.startswith("."))


def owner(name: str, clean: str) -> str | None:
    """Which part of the run `clean` a file name is: a table kind, document, residual, error, manifest; else None."""
    stem = re.escape(clean)
    if match := re.fullmatch(rf"output-{stem}-({'|'.join(TABLE_KINDS)})\.csv", name):
        return match[1]
    parts = {
        "document": rf"output-{stem}\.json",
        "residual": rf"{stem}_\d\d+_resid\.pt",
        "error": rf"output-{stem}\.error\.json",
        "manifest": rf"run-{stem}\.manifest\.json",
    }
    return next((part for part, pattern in parts.items() if re.fullmatch(pattern, name)), None)


def sole_run(folder: Path) -> str:
    """The clean name of the only run in a folder; raises ValueError where there are several or none."""
    found = runs_in(folder)
    if len(found) != 1:
        raise ValueError(
            f"{folder} must hold one run, found {found or 'none'}; name the run to read"
        )
    return found[0]


def read_text(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as stream:
        return stream.read()


def read_tensor(path: Path) -> Any:
    """A saved tensor, on the CPU; never runs code from the file."""
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"a residual file holds one tensor, got {type(found).__name__}")
    return found


def attempt(load: Callable[[Path], Loaded], path: Path, findings: list[Finding]) -> Loaded | None:
    """The loaded file, or None and a finding. torch raises many types on broken files, hence the wide net."""
    try:
        return load(path)
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        findings.append(Finding(path.name, f"cannot be read: {first or type(error).__name__}"))
        return None


def read_error(path: Path) -> Finding:
    """What a failed run left behind, as a finding that shows its message."""
    try:
        report = reading_json.parse(read_text(path))
    except (OSError, ValueError) as error:
        return Finding(path.name, f"the run failed, and its report cannot be read: {error}")
    told = ": ".join(
        str(report[key]) for key in ("error_type", "type", "error", "message") if report.get(key)
    )
    return Finding(path.name, f"the run failed: {told or reading_json.layout(report)}")


def is_corrected(path: Path) -> bool:
    """Whether a document names the corrected contract, and its tables are in that dialect."""
    try:
        return reading_json.parse(read_text(path)).get("contract") == "corrected"
    except (OSError, ValueError):
        return False


def read_run(folder: Path, clean: str | None = None) -> Run:
    """Read the run `clean` in a folder, by default the only one; raises ValueError where that is not clear."""
    name = sole_run(folder) if clean is None else clean
    known = {*runs_in(folder), name}
    findings: list[Finding] = [] if folder.is_dir() else [Finding("", "the run left no folder")]
    owners = {file: owner(file, name) for file in names_in(folder)}
    parts: dict[str, Any] = {"tables": {}, "residuals": {}}
    parse = (
        reading_csv.parse_corrected
        if is_corrected(folder / f"output-{name}.json")
        else reading_csv.parse
    )
    for file, part in owners.items():
        path = folder / file
        if part in TABLE_KINDS:
            if (table := attempt(lambda p: parse(read_text(p)), path, findings)) is not None:
                parts["tables"][part] = table
        elif part == "document":
            parts["document"] = attempt(lambda p: reading_json.parse(read_text(p)), path, findings)
            parts["document_text"] = attempt(read_text, path, []) or ""
        elif part == "residual" and (tensor := attempt(read_tensor, path, findings)) is not None:
            parts["residuals"][file] = tensor
        elif part == "error":
            findings.append(read_error(path))
    strays = tuple(file for file in owners if not any(owner(file, run) for run in known))
    outputs = frozenset(
        file for file, part in owners.items() if part not in (None, "error", "manifest")
    )
    return Run(name, outputs, strays=strays, findings=tuple(findings), **parts)
