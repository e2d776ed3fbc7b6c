"""A run directory → one frozen Run. A file that cannot be read becomes a finding, never a crash."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from . import csv_dialect, json_text
from .csv_dialect import Table
from .listing import (
    AGREEMENT,
    ANSWERS,
    BATTERY,
    PURE,
    PURE_PRISM,
    RECORDS,
    RECORDS_PRISM,
    TABLE_KINDS,
    Files,
    listing,
    owner,
    runs_in,
)

__all__ = [
    "AGREEMENT",
    "ANSWERS",
    "BATTERY",
    "PURE",
    "PURE_PRISM",
    "RECORDS",
    "RECORDS_PRISM",
    "TABLE_KINDS",
    "Finding",
    "Run",
    "read_run",
    "runs_in",
    "sole_run",
]

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Finding:
    """Something about a file as a whole: its name and a sentence."""

    file: str
    sentence: str


@dataclass(frozen=True)
class Run:
    """The outputs of one run. `tables` by kind, `residuals` (torch tensors) by file name.

    `files` are the contract's files that exist, `strays` all others but the manifest and an error report. `paths` say
    where every file lies, by the name that the run gives it. `battery` are the statistics over its passes.
    """

    file_stem: str
    files: frozenset[str] = frozenset()
    tables: Mapping[str, Table] = field(default_factory=dict)
    document: Mapping[str, Any] | None = None
    document_text: str = ""
    residuals: Mapping[str, Any] = field(default_factory=dict)
    strays: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    paths: Files = field(default_factory=dict)
    battery: Table | None = None

    def __post_init__(self) -> None:
        if unknown := set(self.tables) - set(TABLE_KINDS):
            raise ValueError(
                f"tables are keyed by {TABLE_KINDS}, got {sorted(unknown)}; use one of the kinds"
            )
        object.__setattr__(self, "tables", MappingProxyType(dict(self.tables)))
        object.__setattr__(self, "residuals", MappingProxyType(dict(self.residuals)))
        object.__setattr__(self, "paths", MappingProxyType(dict(self.paths)))

    @property
    def corrected(self) -> bool:
        """Whether the document names the corrected contract."""
        return (self.document or {}).get("contract") == "corrected"

    @property
    def compared(self) -> frozenset[str]:
        """The files that a comparison demands on both sides: all but the manifest and an error report."""
        return self.files | set(self.strays)

    @property
    def unreadable(self) -> frozenset[str]:
        """The files that exist and could not be read; an error report is not counted."""
        named = {finding.file for finding in self.findings} & self.paths.keys()
        return frozenset(file for file in named if owner(file, self.file_stem) != "error")

    @property
    def document_name(self) -> str:
        return f"output-{self.file_stem}.json"

    def table_name(self, kind: str) -> str:
        return f"output-{self.file_stem}-{kind}.csv"


def sole_run(folder: Path) -> str:
    """The name of the only run in a folder; raises ValueError where there are several or none."""
    names = runs_in(folder)
    if len(names) != 1:
        raise ValueError(
            f"{folder} must hold one run, found {names or 'none'}; name the run to read"
        )
    return names[0]


def regular(path: Path) -> Path:
    """The path itself; raises ValueError where opening it could fail or wait for ever."""
    if not os.path.isfile(path):
        raise ValueError("no regular file, or a link to nothing")
    return path


def read_text(path: Path) -> str:
    with regular(path).open(encoding="utf-8", newline="") as stream:
        return stream.read()


def read_tensor(path: Path) -> Any:
    """A saved tensor, on the CPU; never runs code from the file."""
    import torch

    tensor = torch.load(regular(path), map_location="cpu", weights_only=True)
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"a residual file holds one tensor, got {type(tensor).__name__}")
    return tensor


def attempt(load: Callable[[Path], Loaded], path: Path, file: str) -> Loaded | Finding:
    """The loaded file, or a finding. torch raises many types on broken files, hence `except Exception`."""
    try:
        return load(path)
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        return Finding(file, f"cannot be read: {first or type(error).__name__}")


def read_error(path: Path) -> Finding:
    """The error report of a failed run, as a finding that shows its message."""
    try:
        report = json_text.parse(read_text(path))
    except (OSError, ValueError) as error:
        return Finding(path.name, f"the run failed, and its report cannot be read: {error}")
    message = ": ".join(
        str(report[key]) for key in ("error_type", "type", "error", "message") if report.get(key)
    )
    return Finding(path.name, f"the run failed: {message or json_text.layout(report)}")


def is_corrected(path: Path) -> bool:
    """Whether a document names the corrected contract, and its tables are in that dialect."""
    try:
        return json_text.parse(read_text(path)).get("contract") == "corrected"
    except (OSError, ValueError):
        return False


def read_document(path: Path) -> tuple[dict[str, Any], str]:
    """A document and its text."""
    text = read_text(path)
    return json_text.parse(text), text


def files_of(folder: Path, file_stem: str) -> dict[str, Path]:
    """The files of a folder that belong to no other run than this one."""
    files = listing(folder)
    return {**files.runs.get(file_stem, {}), **files.shared}


def read_part(part: str | None, path: Path, file: str, corrected: bool) -> Any:
    """What a file of the contract holds, or a Finding; None for any other file."""
    if part is None:
        return None
    if part == "error":
        return read_error(path)
    if part == "residual":
        return attempt(read_tensor, path, file)
    if part in (*TABLE_KINDS, BATTERY):
        parse = csv_dialect.parse_corrected if corrected else csv_dialect.parse
        return attempt(lambda path: parse(read_text(path)), path, file)
    return attempt(read_document, path, file)


def same_bytes(a: Path, b: Path) -> bool:
    """Whether two files can be read and hold the same bytes.

    Never by a cache, as filecmp would: a changed file may keep its size and time.
    """
    try:
        return os.path.isfile(a) and os.path.isfile(b) and a.read_bytes() == b.read_bytes()
    except OSError:
        return False


def table_of_other(
    part: str | None, path: Path, corrected: bool, other: Run | None
) -> Table | None:
    """The table of another run whose file has the same bytes and dialect."""
    if other is None or part is None or part not in other.tables or other.corrected != corrected:
        return None
    return other.tables[part] if same_bytes(other.paths[other.table_name(part)], path) else None


def read_run(
    folder: Path,
    file_stem: str | None = None,
    files: Files | None = None,
    other: Run | None = None,
) -> Run:
    """Read the run `file_stem` in a folder, by default the only one; raises ValueError where that is not clear.

    `files` are the run's files, by default those that bear its name and those that bear no run's. The tables of `other`
    are taken, not read again, where a file has the same bytes.
    """
    name = sole_run(folder) if file_stem is None else file_stem
    if files is None:
        files = files_of(folder, name)
    owners = {file: owner(file, name) for file in files}
    corrected = is_corrected(folder / f"output-{name}.json")
    loaded: dict[str, Any] = {
        file: table_of_other(part, files[file], corrected, other)
        or read_part(part, files[file], file, corrected)
        for file, part in owners.items()
    }
    findings = [content for content in loaded.values() if isinstance(content, Finding)]
    if not folder.is_dir():
        findings.append(Finding("", "the run left no folder"))
    known = {file: content for file, content in loaded.items() if not isinstance(content, Finding)}
    document, text = known.get(f"output-{name}.json", (None, ""))
    return Run(
        name,
        frozenset(f for f, part in owners.items() if part not in (None, "error", "manifest")),
        {
            part: known[file]
            for file, part in owners.items()
            if part in TABLE_KINDS and file in known
        },
        document,
        text,
        {file: tensor for file, tensor in known.items() if owners[file] == "residual"},
        tuple(file for file, part in owners.items() if part is None),
        tuple(findings),
        files,
        known.get(f"output-{name}-{BATTERY}.csv"),
    )
