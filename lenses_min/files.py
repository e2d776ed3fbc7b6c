"""rows and documents → files. A run's files appear together, each whole, or not at all (R9, R10)."""

import csv
import io
import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from .errors import LensError
from .rows import AgreementRow, AnswerRow, PureRow, RecordRow

TOP_COLUMNS = 20
MISSING = frozenset(  # what pandas reads as missing, quoted or not
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
BASE = ["prompt_id", "prompt_variant", "layer", "pos", "token", "entropy"]
TOPS = [f"{kind}{i}" for i in range(1, TOP_COLUMNS + 1) for kind in ("top", "prob")]
RECORD_COLUMNS = [*BASE, *TOPS, "rest_mass"]
PURE_COLUMNS = [*RECORD_COLUMNS, *(f.name for f in fields(PureRow) if f.name not in {*BASE, "top", "rest_mass"})]
COLUMNS = {
    "records": RECORD_COLUMNS,
    "pure": PURE_COLUMNS,
    "agreement": [f.name for f in fields(AgreementRow)],
    "answers": [f.name for f in fields(AnswerRow)],
}
Row = RecordRow | AgreementRow | AnswerRow


def cells(row: Row, columns: Sequence[str]) -> list[Any]:
    """The values of a row in column order; absent ones are None."""
    flat: list[Any] = [value for pair in getattr(row, "top", ()) for value in pair]
    flat += [None] * (2 * TOP_COLUMNS - len(flat))
    values = vars(row) | dict(zip(TOPS, flat))
    return [values[column] for column in columns]


def csv_cell(value: Any) -> str:
    """The reference's dialect: minimal quoting for `,` `"` and newline, backslash doubled, CR bare (R5).

    Written out because Python's csv module quotes a carriage return from 3.13 on, and the reference ran on 3.11.
    """
    if value is None:
        return ""
    text = value if isinstance(value, str) else repr(value)
    text = text.replace("\\", "\\\\")
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def csv_text(rows: Sequence[Row], columns: Sequence[str], corrected: bool = False) -> str:
    """A table in the reference's dialect, or in that of Python's csv module (R5)."""
    lines = [columns, *(cells(row, columns) for row in rows)]
    return table_text(lines) if corrected else "".join(",".join(map(csv_cell, line)) + "\n" for line in lines)


def table_text(lines: Iterable[Sequence[Any]]) -> str:
    """Lines as csv and pandas read them back with their defaults; None is an empty cell."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([plain(value) for value in line] for line in lines)
    return stream.getvalue()


def plain(value: Any) -> Any:
    """A text as it stands, or as a JSON string where a reader would take it for something else.

    That is: a missing value, a number or a flag to pandas, a line end, or a text that begins with a quote already.
    """
    if not isinstance(value, str):
        return value
    odd = any(unicodedata.category(c) in ("Cc", "Cs") for c in value)
    taken = value in MISSING or value.strip().lower() in ("true", "false") or is_number(value)
    return json.dumps(value) if odd or taken or value.startswith('"') else value


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def json_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def table_name(clean: str, table: str, lens: str = "norm") -> str:
    """Name of a table's file; the norm lens has no suffix."""
    kind = "pure-next-token" if table == "pure" else table
    return f"output-{clean}-{kind}.csv" if lens == "norm" else f"output-{clean}-{kind}-{lens}.csv"


def table_of(name: str, clean: str) -> tuple[str, str] | None:
    """Table and lens of a file of this model, the inverse of `table_name`; None for any other file."""
    kinds = r"((?:records|pure-next-token)(?:-[a-z]+)?|agreement|answers)"
    if match := re.fullmatch(rf"output-{re.escape(clean)}-{kinds}\.csv", name):
        table, _, lens = match[1].replace("pure-next-token", "pure").partition("-")
        return table, lens or "norm"
    return None


def is_output(name: str, clean: str) -> bool:
    """Whether a file name is one that a run of this model may write."""
    others = r"output-{0}(\.error)?\.json|run-{0}\.manifest\.json|{0}_\d\d+_resid\.pt"
    return bool(table_of(name, clean) or re.fullmatch(others.replace("{0}", re.escape(clean)), name))


@contextmanager
def staged(out_dir: Path, clean: str) -> Iterator[Path]:
    """A folder to write a run into; on success its files replace the earlier run's, on failure it goes."""
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{clean}-", dir=out_dir))
    except OSError as error:
        raise LensError(f"cannot write to {out_dir}: {error.strerror}; give another --out-dir") from error
    try:
        yield stage
        names = sorted(path.name for path in stage.iterdir())
        for old in out_dir.iterdir():
            if is_output(old.name, clean) and old.name not in names:
                old.unlink()
        for name in sorted(names, key=lambda n: n.startswith("run-")):  # the manifest last
            os.replace(stage / name, out_dir / name)
    except OSError as error:
        raise LensError(f"could not write the outputs to {out_dir}: {error.strerror}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write through to the disk, so that a rename never publishes an empty file."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def write_error(out_dir: Path, clean: str, report: Mapping[str, Any]) -> Path | None:
    """`output-<clean>.error.json`, or None where even that cannot be written."""
    path = out_dir / f"output-{clean}.error.json"
    temporary = path.with_name(f".{path.name}")
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        write_text(temporary, json_text(report))
        os.replace(temporary, path)
    except OSError:
        return None
    return path
