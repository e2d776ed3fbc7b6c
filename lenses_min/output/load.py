"""A run directory → Run: those of this runner, under either contract, and those of every published run.py."""

import json
import os
import re
from collections.abc import Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import LensError
from ..options import CSV, PARQUET, TABLE_FORMATS, contract_of
from . import parquet
from .run import Run
from .store import COLUMNS, is_table_end, table_name
from .tables import KINDS, Source, missing_columns, read_rows, split

LENSES = ("norm", "final", "raw", "prism", "tuned")  # any other lens stands behind these
STEMS = {"records": "records", "pure": "pure-next-token"}  # of the tables that each lens has
SUFFIXES = tuple(f".{table_format}" for table_format in TABLE_FORMATS)
DOCUMENT = r"output-(.+?)(\.error)?\.json"
Key = tuple[str, str]


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
    documents = [match for file in files if (match := re.fullmatch(DOCUMENT, file))]
    if names := [match[1] for match in documents if not match[2]]:
        return names
    failed = ", ".join(f"{match[0]} tells why {match[1]} failed" for match in documents)
    raise LensError(
        f"{place} holds no run: no output-NAME.json; {failed or 'give the --out-dir of a run'}"
    )


def read(place: Path, name: str) -> Run:
    document = read_json(place / f"output-{name}.json")
    manifest = place / f"run-{name}.manifest.json"
    table_format = format_of(place, name)
    sources = read_tables(place, name, contract_of(document).standard_csv)
    pure = sources.get(("pure", "norm"))
    if pure is None:
        raise LensError(f"{place} holds no output-{name}-pure-next-token.csv; the run is not whole")
    if not pure.rows:
        file = table_name(name, "pure", table_format=table_format)
        raise LensError(f"{place}/{file} has no rows; the run is not whole")
    files = {
        path: re.fullmatch(rf"{re.escape(name)}_(\d\d+)_resid\.pt", path.name)
        for path in sorted(place.iterdir())
    }
    return Run(
        name,
        {key: list(source.rows) for key, source in sources.items()},
        document,
        read_json(manifest) if manifest.exists() else {},
        {int(match[1]): read_tensor(path) for path, match in files.items() if match},
        str(place),
        sources,
        table_format,
    )


def format_of(place: Path, name: str) -> str:
    """The format of the tables of a run: that of its pure-next-token table."""
    is_parquet = (place / table_name(name, "pure", table_format=PARQUET)).exists()
    return PARQUET if is_parquet else CSV


def read_tables(place: Path, name: str, standard: bool) -> dict[Key, Source]:
    """Every table of a run by table and lens, the further ones last; raises LensError where one cannot be read."""
    sources: dict[Key, Source] = {}
    for kind, path in table_files(place, name):
        key, source = read_table(path, kind, standard)
        if key in sources:
            raise LensError(f"{place} holds two tables {key[0]} of {key[1]}; take away {path.name}")
        sources[key] = source

    def order(key: Key) -> tuple[bool, int, Key]:
        table, lens = key
        return table not in COLUMNS, LENSES.index(lens) if lens in LENSES else len(LENSES), key

    return {key: sources[key] for key in sorted(sources, key=order)}


def table_files(place: Path, name: str) -> list[tuple[str, Path]]:
    """The tables of a run, each behind the end of its file's name.

    Where the document of a run is missing, its tables are of none: no end has `-records` or `-pure-next-token` inside.
    """
    files = sorted(place.iterdir())
    names = {match[1] for path in files if (match := re.fullmatch(DOCUMENT, path.name))}
    foreign = re.compile(r".+-(records|pure-next-token)")
    ends = {path: end_of(path.name, name) for path in files if path.suffix in SUFFIXES}
    return [
        (end, path)
        for path, end in ends.items()
        if end and owner(path.name, names) == name and not foreign.match(end)
    ]


def end_of(file: str, name: str) -> str:
    """The end of the name of a table's file, behind a run's name; empty where it is not of a run of that name."""
    stem = f"output-{name}-"
    return os.path.splitext(file.removeprefix(stem))[0] if file.startswith(stem) else ""


def owner(file: str, names: Collection[str]) -> str:
    """Whose table a file is: the longest name that leaves a known end, else the longest that it begins with."""
    ends = {name: end for name in names if (end := end_of(file, name))}
    known = [name for name, end in ends.items() if is_table_end(end)]
    return max(known or ends, key=len, default="")


def read_table(path: Path, kind: str, standard: bool) -> tuple[Key, Source]:
    """Key and rows of a file; raises LensError that names the file, and row, column and text of a wrong cell."""
    try:
        if path.suffix == f".{PARQUET}":
            return read_parquet(path, kind)
        with path.open(encoding="utf-8", newline="") as stream:
            text = stream.read()
        lines = split(text, standard)
        key = key_of(kind, lines[0] if lines else [])
        columns, rows = read_rows(lines, KINDS.get(key[0]))
    except (OSError, ValueError) as error:
        raise LensError(f"cannot read {path}: {error}") from error
    return key, Source(tuple(columns), tuple(rows), text)


def read_parquet(path: Path, kind: str) -> tuple[Key, Source]:
    content = parquet.read(path)
    columns = content.column_names
    key = key_of(kind, columns)
    return key, Source(tuple(columns), tuple(parquet.read_rows(content, KINDS.get(key[0]))))


def key_of(kind: str, header: Sequence[str]) -> Key:
    """Table and lens of a file by the end of its name; what is no table of a lens has that name, and norm as its lens.

    A table named like a lens's is one where the lens is known, or the header has all that such a table has.
    """
    for table, stem in STEMS.items():
        if kind == stem:
            return table, "norm"
        if kind.startswith(f"{stem}-"):
            lens = kind.removeprefix(f"{stem}-")
            if lens in LENSES or not missing_columns(KINDS[table], header):
                return table, lens
    return kind, "norm"


def read_json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise LensError(f"cannot read {path}: {error}") from error
    try:
        content = json.loads(text)
    except ValueError as error:
        begins = (text.splitlines() or [""])[0][:80]
        hint = f"it begins with {begins!r}; run.py writes there why a run failed (R9)"
        raise LensError(f"cannot read {path}: no JSON: {error}; {hint}") from error
    if not isinstance(content, dict):
        raise LensError(f"cannot read {path}: it holds no JSON object")
    return content


def read_tensor(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types on a broken file
        raise LensError(f"cannot read {path}: {error}") from error
