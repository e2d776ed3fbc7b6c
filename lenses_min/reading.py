"""A run directory → Run: those of this runner, under either contract, and those of run.py."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

from .errors import LensError
from .files import TOP_COLUMNS, table_of
from .result import Run
from .rows import AgreementRow, AnswerRow, PureRow, RecordRow

KINDS = {"records": RecordRow, "pure": PureRow, "agreement": AgreementRow, "answers": AnswerRow}
READ: dict[Any, Callable[[str], Any]] = {str: str, int: int, float: float, bool: "True".__eq__}
READ |= {
    int | None: lambda cell: int(cell) if cell else None,
    float | None: lambda cell: float(cell) if cell else None,
}
ORDER = ("norm", "final", "raw", "prism", "tuned")  # any other lens stands behind these
HIDDEN = {
    0: "\udc00",
    13: "\udc0d",
}  # what csv splits at or refuses, as code points that no file can hold
SHOWN = {0xDC00: "\0", 0xDC0D: "\r"}


def load(folder: str | PathLike[str], name: str | None = None) -> Run:
    """The run in a directory, of the model of that name (file names bear it) where there are several.

    Raises LensError where the directory holds no such run, or one that cannot be read.
    """
    place = Path(folder)
    names = runs_in(place)
    if name is None and len(names) > 1:
        raise LensError(f"{place} holds {len(names)} runs: {', '.join(names)}; name one of them")
    if name is not None and name not in names:
        raise LensError(f"{place} holds no run named {name}; it holds {', '.join(names)}")
    return read(place, name or names[0])


def runs_in(place: Path) -> list[str]:
    """The names of the runs in a directory; raises LensError where there is none."""
    try:
        files = sorted(path.name for path in place.iterdir())
    except OSError as error:
        raise LensError(
            f"cannot read {place}: {error.strerror}; give the directory of a run"
        ) from error
    found = list(
        filter(None, (re.fullmatch(r"output-(.+?)(\.error)?\.json", file) for file in files))
    )
    if names := [match[1] for match in found if not match[2]]:
        return names
    failed = ", ".join(f"{match[0]} tells why {match[1]} failed" for match in found)
    raise LensError(
        f"{place} holds no run: no output-NAME.json; {failed or 'give the --out-dir of a run'}"
    )


def read(place: Path, name: str) -> Run:
    document = read_json(place / f"output-{name}.json")
    told = place / f"run-{name}.manifest.json"
    found = {key: path for path in place.iterdir() if (key := table_of(path.name, name))}
    if ("pure", "norm") not in found:
        raise LensError(f"{place} holds no output-{name}-pure-next-token.csv; the run is not whole")
    order = sorted(
        found, key=lambda key: (ORDER.index(key[1]) if key[1] in ORDER else len(ORDER), key)
    )
    tables = {
        key: list(read_table(found[key], key[0], document.get("contract") == "corrected"))
        for key in order
    }
    if not tables["pure", "norm"]:
        raise LensError(f"{found['pure', 'norm']} has no rows; the run is not whole")
    kept = {
        path: re.fullmatch(rf"{re.escape(name)}_(\d\d+)_resid\.pt", path.name)
        for path in sorted(place.iterdir())
    }
    residuals = {int(match[1]): read_tensor(path) for path, match in kept.items() if match}
    return Run(
        name, tables, document, read_json(told) if told.exists() else {}, residuals, str(place)
    )


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LensError(f"cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise LensError(f"cannot read {path}: it holds no JSON object")
    return found


def read_tensor(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types on a broken file
        raise LensError(f"cannot read {path}: {error}") from error


def read_table(path: Path, table: str, corrected: bool) -> Iterator[Any]:
    """The typed rows of a file, by what its header names; cells beyond the header are left."""
    number = 1
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            lines = cells(stream.read(), corrected)
        header = next(lines, [])
        for number, line in enumerate(lines, start=2):  # noqa: B007
            yield row(KINDS[table], dict(zip(header, [*line, *[""] * len(header)])))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise LensError(
            f"cannot read {path}, near row {number}: {type(error).__name__}: {error}"
        ) from error


def cells(text: str, corrected: bool) -> Iterator[list[str]]:
    """The lines of a file in the reference's dialect, a carriage return bare in it (R5), or the corrected one's."""
    if corrected:
        for line in csv.reader(io.StringIO(text, newline=""), strict=True):
            yield [json.loads(cell) if cell.startswith('"') else cell for cell in line]
        return
    hidden = io.StringIO(text.translate(HIDDEN), newline="\n")
    for line in csv.reader(hidden, escapechar="\\", strict=True):
        yield [cell.translate(SHOWN) for cell in line]


def row(kind: type, found: Mapping[str, str]) -> Any:
    """One row of its dataclass; the pairs of `top` end at the first without a probability."""
    values = {f.name: READ[f.type](found[f.name]) for f in fields(kind) if f.name != "top"}
    if "top" in kind.__dataclass_fields__:  # type: ignore[attr-defined]
        pairs = [(found[f"top{i}"], found[f"prob{i}"]) for i in range(1, TOP_COLUMNS + 1)]
        values["top"] = tuple((token, float(p)) for token, p in pairs if p)
    return kind(**values)
