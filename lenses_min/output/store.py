"""rows and documents → files. A run's files appear together, each whole, or not at all (R9, R10).

They are written in a hidden folder, `.<name>.part`, by one process at a time; then each replaces the earlier run's in
one step. If the document exists, every other file is complete and of the same run: the earlier manifest and
document go first, the new ones come last, the manifest at the very end. A run that is killed on the way leaves no
document, and what it has hidden goes with the next run of that model.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from ..core.rows import AgreementRow, AnswerRow, PureRow, Row
from ..errors import LensError
from ..options import CSV, TABLE_FORMATS
from .battery.rows import BatteryRow
from .hidden import discard_segments

TOP_COLUMNS = 20
BASE = ["prompt_id", "prompt_variant", "layer", "pos", "token", "entropy"]
TOPS = [f"{kind}{i}" for i in range(1, TOP_COLUMNS + 1) for kind in ("top", "prob")]
RECORD_COLUMNS = [*BASE, *TOPS, "rest_mass"]
NO_COLUMNS = {"top", "further", "fact_key", "fact_index"}  # fields without a contract column
PURE_COLUMNS = [
    *RECORD_COLUMNS,
    *(f.name for f in fields(PureRow) if f.name not in {*RECORD_COLUMNS, *NO_COLUMNS}),
]
COLUMNS = {
    "records": RECORD_COLUMNS,
    "pure": PURE_COLUMNS,
    "agreement": [f.name for f in fields(AgreementRow) if f.name != "further"],
    "answers": [f.name for f in fields(AnswerRow) if f.name != "further"],
    "battery": [f.name for f in fields(BatteryRow) if f.name != "further"],
}
OTHER_KINDS = (
    *("agreement", "answers", "battery"),
    *("milestones", "artifact-audit", "positions-tuned-audit"),
)


def cells(row: Row | Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
    """The values of a row in column order; absent ones are None. A row of a further table is a mapping."""
    if isinstance(row, Mapping):
        return [row.get(column) for column in columns]
    pairs = enumerate(getattr(row, "top", ()), start=1)
    values = {**vars(row), **row.further}
    for i, (token, probability) in pairs:
        values[f"top{i}"], values[f"prob{i}"] = token, probability
    return [values.get(column) for column in columns]


def json_text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def table_name(file_stem: str, table: str, lens: str = "norm", table_format: str = CSV) -> str:
    """Name of a table's file; the norm lens is not named."""
    kind = "pure-next-token" if table == "pure" else table
    end = kind if lens == "norm" else f"{kind}-{lens}"
    return f"output-{file_stem}-{end}.{table_format}"


def is_table_end(end: str) -> bool:
    """Whether `output-NAME-<end>` is the name of a table that this runner or a published run.py writes."""
    lenses = r"(?:records|pure-next-token)(?:-[a-z]+){0,2}"
    return bool(re.fullmatch(rf"{lenses}|{'|'.join(OTHER_KINDS)}", end))


def is_output(name: str, file_stem: str) -> bool:
    """Whether a file name is one that a run of this model may write, by this runner or a published run.py."""
    stem = re.escape(file_stem)
    if match := re.fullmatch(rf"output-{stem}-(.+)\.(?:{'|'.join(TABLE_FORMATS)})", name):
        return is_table_end(match[1])
    patterns = (
        rf"output-{stem}(?:\.error)?\.json",
        rf"run-{stem}\.manifest\.json",
        rf"{stem}_\d\d+_resid\.pt",
    )
    return any(re.fullmatch(pattern, name) for pattern in patterns)


@contextmanager
def part(out_dir: Path, file_stem: str) -> Iterator[Path]:
    """The hidden folder of a run, locked against other processes; what a killed run left is deleted first."""
    stage, lock = (out_dir / f".{file_stem}.{end}" for end in ("part", "lock"))
    with ExitStack() as stack:
        try:
            out_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(lock))
            stack.callback(
                lock.unlink, missing_ok=True
            )  # while it is held; who waits for it locks a new one
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir()
        except OSError as error:
            raise LensError(
                f"cannot write to {out_dir}: {error.strerror}; give another --out-dir"
            ) from error
        stack.callback(shutil.rmtree, stage, ignore_errors=True)
        yield stage


def check_target(out_dir: Path, file_stem: str) -> None:
    """Raises LensError where a run could not be written, before anything is computed for it."""
    with part(out_dir, file_stem):
        pass


@contextmanager
def staged(out_dir: Path, file_stem: str) -> Iterator[Path]:
    """A folder to write a run into; on success its files replace the earlier run's, on failure it goes."""
    with part(out_dir, file_stem) as stage, write_errors(out_dir):
        yield stage
        publish(stage, out_dir, file_stem)
        discard_segments(out_dir, file_stem)


@contextmanager
def write_errors(out_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LensError(f"could not write the outputs to {out_dir}: {error.strerror}") from error


def file_names(stage: Path) -> list[str]:
    """The names of the files of a run, the manifest last."""
    names = [path.name for path in stage.iterdir()]
    return sorted(names, key=lambda name: (name.startswith("run-"), name))


def publish(stage: Path, out_dir: Path, file_stem: str) -> None:
    """The files of a finished run in place of the earlier one's, in the order that the head of this file describes."""
    ends = [f"output-{file_stem}.json", f"run-{file_stem}.manifest.json"]
    names = {path.name for path in stage.iterdir()}
    for name in reversed(ends):
        (out_dir / name).unlink(missing_ok=True)
    for old in list(out_dir.iterdir()):
        if is_output(old.name, file_stem) and old.name not in names:
            old.unlink()
    for name in [*sorted(names.difference(ends)), *filter(names.__contains__, ends)]:
        os.replace(stage / name, out_dir / name)


def write_text(path: Path, text: str) -> None:
    """UTF-8; a byte of a path that is none, a lone surrogate to Python, is written as JSON escapes it."""
    write_bytes(path, encoded(text))


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def write_bytes(path: Path, data: bytes) -> None:
    write_parts(path, [data])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    with written_through(path) as stream:
        stream.writelines(parts)


@contextmanager
def written_through(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it is on the disk at the end, so that a rename never publishes an empty file."""
    with path.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def write_error(out_dir: Path, file_stem: str, report: Mapping[str, Any]) -> Path | None:
    """`output-<name>.error.json`, or None where even that cannot be written."""
    path = out_dir / f"output-{file_stem}.error.json"
    try:
        with part(out_dir, file_stem) as stage:
            write_text(stage / path.name, json_text(report))
            os.replace(stage / path.name, path)
    except (LensError, OSError):
        return None
    return path
