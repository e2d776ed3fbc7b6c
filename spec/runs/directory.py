"""Paths on a command line → runs. A path that names no run, or several, raises SpecError."""

import re
from pathlib import Path

from ..errors import SpecError
from .listing import TABLE_KINDS, listing
from .run import Run, read_run, runs_in


def existing(folder: Path) -> Path:
    """The folder itself; raises SpecError where it is missing or a file."""
    if not folder.exists():
        raise SpecError(f"{folder} does not exist; give a directory that holds a run")
    if not folder.is_dir():
        raise SpecError(
            f"{folder} is a file; give the directory that holds the run, or its output-NAME.json"
        )
    return folder


def of_document(path: Path) -> tuple[Path, str | None]:
    """The folder and name of the run whose document a path is; any other path itself, without a name."""
    match = re.fullmatch(r"output-(.+?)(?:\.error)?\.json", path.name)
    return (path.parent, match[1]) if match and path.is_file() else (path, None)


def below(folder: Path) -> list[Path]:
    """The directories right inside that hold runs."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and runs_in(path))


def nothing(folder: Path) -> SpecError:
    return SpecError(
        f"{folder} holds no run: no output-NAME.json and no table of one; give the --out-dir of a run"
    )


def runs_of(folder: Path) -> list[tuple[Path, str]]:
    """Every run in a folder, else in the folders right inside it, as (folder, name)."""
    folders = [folder] if runs_in(existing(folder)) else below(folder)
    if not folders:
        raise nothing(folder)
    places = [(inside, name) for inside in folders for name in runs_in(inside)]
    for inside, name in places:
        check_csv(inside, name)
    return places


def check_csv(folder: Path, name: str) -> None:
    """Raises SpecError where a table of a run is there as Parquet alone."""
    files = listing(folder).runs.get(name, {})
    for file in files:
        table = re.fullmatch(
            rf"(output-{re.escape(name)}-(?:{'|'.join(TABLE_KINDS)})\.)parquet", file
        )
        if table and f"{table[1]}csv" not in files:
            raise SpecError(
                f"{folder / file} is a Parquet file, and spec reads CSV only; "
                "run lenses-min again with --table-format csv"
            )


def one_run(folder: Path, name: str | None = None, other: Run | None = None) -> Run:
    """The run of that name in a folder, by default its only one, with its own files; `other` as of read_run.

    Raises SpecError where that is not clear.
    """
    names = runs_in(existing(folder))
    if not names and (inside := below(folder)):
        raise SpecError(
            f"{folder} holds its runs in folders: {', '.join(p.name for p in inside)}; give one of them"
        )
    if not names:
        raise nothing(folder)
    if name is not None and name not in names:
        raise SpecError(f"{folder} holds no run named {name}; it holds {', '.join(names)}")
    if name is None and len(names) > 1:
        raise SpecError(
            f"{folder} holds {len(names)} runs: {', '.join(names)}; name one with --run NAME"
        )
    file_stem = name or names[0]
    check_csv(folder, file_stem)
    return read_run(folder, file_stem, listing(folder).runs[file_stem], other)
