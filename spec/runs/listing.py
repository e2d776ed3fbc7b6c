"""The files of a folder, and the run that each of them belongs to. This module opens no file."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from ..oracle import FURTHER_LENSES

RECORDS, PURE, RECORDS_PRISM, PURE_PRISM = (
    "records",
    "pure-next-token",
    "records-prism",
    "pure-next-token-prism",
)
SIDECARS = tuple(f"{table}-{lens}" for lens in FURTHER_LENSES for table in (RECORDS, PURE))
AGREEMENT, ANSWERS, BATTERY = "agreement", "answers", "battery"
TABLE_KINDS = (RECORDS, PURE, RECORDS_PRISM, PURE_PRISM, *SIDECARS, AGREEMENT, ANSWERS)
DOCUMENT_PART, RESIDUAL_PART = "json", "residual"  # parts of a run besides the table kinds
WORK_AREA = re.compile(r"\..+\.(part|lock)")  # of a runner that runs, or was killed
Files = Mapping[str, Path]  # by their path from the folder that was named, with `/`


@dataclass(frozen=True)
class Listing:
    """The files of a folder: those of each run by its name, and those that belong to no run alone."""

    runs: Mapping[str, Files]
    shared: Files = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "runs", MappingProxyType(dict(self.runs)))


def runs_in(folder: Path) -> list[str]:
    """The names of the runs in a folder, from documents and tables; empty without any.

    A document without a table of its own, whose name only lengthens a run's, `output-NAME-notes.json`, is that run's.
    """
    names = names_in(folder)
    tables = matches(rf"output-(.+?)-(?:{'|'.join(TABLE_KINDS)})\.csv", names)
    failed = matches(r"output-(.+)\.error\.json", names)
    documents = matches(r"output-(.+?)(?:\.error)?\.json", names)
    sure = tables | failed
    return sorted(
        name
        for name in sure | documents
        if name in sure or not any(name.startswith(f"{other}-") for other in tables - {name})
    )


def matches(pattern: str, names: Collection[str]) -> set[str]:
    """The first group of the pattern in every name that it matches as a whole."""
    return {match[1] for name in names if (match := re.fullmatch(pattern, name))}


def names_in(folder: Path) -> list[str]:
    """The files of a folder that are not hidden; none where it cannot be entered."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [path.name for path in paths if not path.name.startswith(".") and os.path.isfile(path)]


def owner(name: str, file_stem: str) -> str | None:
    """Which part of a run a file name is: a table kind, battery, document, residual, error, manifest; else None."""
    stem = re.escape(file_stem)
    if match := re.fullmatch(rf"output-{stem}-({'|'.join(TABLE_KINDS)})\.csv", name):
        return match[1]
    parts = {
        BATTERY: rf"output-{stem}-{BATTERY}\.csv",
        "document": rf"output-{stem}\.json",
        "residual": rf"{stem}_\d\d+_resid\.pt",
        "error": rf"output-{stem}\.error\.json",
        "manifest": rf"run-{stem}\.manifest\.json",
    }
    return next((part for part, pattern in parts.items() if re.fullmatch(pattern, name)), None)


@lru_cache(maxsize=4096)
def part_of(file: str) -> str:
    """What a file holds: a table kind, json, residual; of another file its name, of none `run`."""
    kinds = "|".join(sorted(TABLE_KINDS, key=len, reverse=True))
    if table := re.search(rf"-({kinds})\.csv$", file):
        return table[1]
    if file.endswith("_resid.pt"):
        return RESIDUAL_PART
    return DOCUMENT_PART if re.fullmatch(r"output-[^/]*\.json", file) else file or "run"


@lru_cache(maxsize=4096)
def residual_layer(file: str) -> int | None:
    """The layer that the name of a residual file bears, None for any other file."""
    match = re.search(r"_(\d\d+)_resid\.pt$", file)
    return int(match[1]) if match else None


def files_below(folder: Path, nested: bool = True) -> dict[str, Path]:
    """Every file in a folder and in the folders inside it, hidden ones too, by its path from there.

    A runner's work area, `.NAME.part` and `.NAME.lock`, is left out, and unless `nested` so are folders that hold runs.
    """
    if not folder.is_dir():
        return {}
    paths = walk(folder, (os.path.realpath(folder),), nested)
    return {label(path.relative_to(folder).as_posix()): path for path in paths}


def walk(folder: Path, above: tuple[str, ...], nested: bool) -> Iterator[Path]:
    """Every file below a folder, and each folder not entered: a link to a folder above, or an unreadable one."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    for path in inside:
        real = os.path.realpath(path)
        if WORK_AREA.fullmatch(path.name):
            continue
        if not os.path.isdir(path) or real in above:
            yield path
        elif nested or not runs_in(path):
            yield from walk(path, (*above, real), nested)


def label(name: str) -> str:
    """A file's name on one line that can be printed; no two names have one label."""
    return name if name.isprintable() and "\\" not in name else repr(name)[1:-1]


def run_of(file: str, runs: Collection[str]) -> str | None:
    """The run that a file bears the name of, the longest where several fit; None where none does."""
    name = file.rsplit("/", 1)[-1]
    named = [file_stem for file_stem in runs if rest_of(name, file_stem) is not None]
    known = [file_stem for file_stem in named if owner(name, file_stem)]
    return max(known or named, key=len, default=None)


def rest_of(name: str, file_stem: str) -> tuple[str, str] | None:
    """The text before and after the run's name in `output-NAME…`, `run-NAME…`, `NAME…`; None for any other name.

    What follows the run's name begins with one of `-`, `.`, `_`.
    """
    for prefix in ("output-", "run-", ""):
        if name.startswith(prefix + file_stem):
            rest = name[len(prefix + file_stem) :]
            if not rest or rest[0] in "-._":
                return prefix, rest
    return None


def listing(folder: Path) -> Listing:
    """The files of a folder by run; all are those of its run where there is but one.

    Folders inside that hold runs of their own are left out.
    """
    names, files = runs_in(folder), files_below(folder, nested=False)
    if len(names) == 1:
        return Listing({names[0]: files})
    runs: dict[str | None, dict[str, Path]] = {name: {} for name in (*names, None)}
    for file, path in files.items():
        runs[run_of(file, names)][file] = path
    shared = runs.pop(None)
    of_runs = {name: files for name, files in runs.items() if name is not None}
    return Listing(of_runs, shared)
