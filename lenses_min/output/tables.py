"""CSV text, or typed columns → the rows of a table, of any revision of run.py or of this runner."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import count, takewhile
from typing import Any

from ..core.rows import AgreementRow, AnswerRow, PureRow, RecordRow, Row
from .battery.rows import BatteryRow

KINDS = {
    "records": RecordRow,
    "pure": PureRow,
    "agreement": AgreementRow,
    "answers": AnswerRow,
    "battery": BatteryRow,
}
NOT_CELLS = {
    "top",
    "further",
}  # fields that are no column; a column of such a name is a further one
LONGEST_WHOLE = 18  # characters of a number that 64 bits hold with any sign
WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|inf)|nan", re.I)
TEXTS = re.compile(
    r"top\d+|token|.*_str(_.*)?|fact_key|prompt_id|prompt_variant|lens|against|answer"
)
# What csv splits at or refuses, as code points that no file can hold.
HIDDEN = {0: "\udc00", 13: "\udc0d"}
SHOWN = {0xDC00: "\0", 0xDC0D: "\r"}


# Reads a column: its name, its cells, and the type of its field, None where it is none's.
Read = Callable[[str, Any, Any], Sequence[Any]]


class CellError(ValueError):
    """A cell that is not of its column's type, with its place; row 1 is the header."""

    def __init__(self, row: int, column: str, cell: str, fault: str) -> None:
        super().__init__(f"row {row}, column {column}: {cell!r} {fault}")


@dataclass(frozen=True)
class Source:
    """A table as it was read from its file: its columns in their order, its rows, and the text of CSV."""

    columns: tuple[str, ...]
    rows: tuple[Any, ...]
    text: str = ""


def split(text: str, standard: bool) -> list[list[str]]:
    """The cells of every line of a file; raises ValueError where it is not in its dialect."""
    lines: list[list[str]] = []
    try:
        for line in (standard_lines if standard else reference_lines)(text):
            lines.append(line)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"near row {len(lines) + 1}: {error}") from error
    return lines


def standard_lines(text: str) -> Iterator[list[str]]:
    """The dialect of the csv module; a cell that begins with a quote is a JSON string."""
    for line in csv.reader(io.StringIO(text, newline=""), strict=True):
        yield [json.loads(cell) if cell.startswith('"') else cell for cell in line]


def reference_lines(text: str) -> Iterator[list[str]]:
    """The reference's dialect: a backslash is doubled, and a carriage return may be bare (R5).

    In June 2025 it was that of the csv module, of whose CR LF it is known: there a backslash is a backslash.
    """
    june = text.partition("\n")[0].endswith("\r")
    hidden = text.translate({0: HIDDEN[0]} if june else HIDDEN)
    escape = None if june else "\\"
    for line in csv.reader(io.StringIO(hidden, newline=""), escapechar=escape, strict=True):
        yield line if hidden == text else [cell.translate(SHOWN) for cell in line]


def read_rows(lines: Sequence[list[str]], kind: type[Row] | None) -> tuple[list[str], list[Any]]:
    """The columns of a table, and its rows: of a dataclass, or mappings by column where `kind` is None.

    A cell beyond the header is in the column `#i`, i its number from 1; a cell that a line lacks is empty.
    Raises ValueError where a column is missing or named twice, or a cell is not of its column's type.
    """
    header, *body = lines or [[]]
    width = max(map(len, lines), default=0)
    columns = [*header, *(f"#{i + 1}" for i in range(len(header), width))]
    check_names(columns)
    padded = [line + [""] * (width - len(line)) for line in body]
    cells = (
        dict(zip(columns, zip(*padded, strict=True), strict=True))
        if padded
        else dict.fromkeys(columns, ())
    )
    return columns, rows_of(cells, kind, len(body), read_cells)


def check_names(columns: Sequence[str]) -> None:
    if twice := [name for name, times in Counter(columns).items() if times > 1]:
        raise ValueError(f"it names the column {twice[0]!r} twice")


def rows_of(cells: Mapping[str, Any], kind: type[Row] | None, size: int, read: Read) -> list[Any]:
    """The rows of some columns: of a dataclass, or mappings by column where `kind` is None."""
    if kind is not None:
        return typed_rows(kind, cells, size, read)
    values = {name: read(name, column, None) for name, column in cells.items()}
    return [{name: values[name][i] for name in values} for i in range(size)]


def missing_columns(kind: type[Row], columns: Sequence[str]) -> list[str]:
    """The columns that every revision has of such rows, and these have not."""
    names = [f.name for f in fields(kind) if f.name not in NOT_CELLS and f.type in NEEDED]
    pairs = ["top1", "prob1"] if issubclass(kind, RecordRow) else []
    return [name for name in (*names, *pairs) if name not in columns]


def typed_rows(kind: type[Row], cells: Mapping[str, Any], size: int, read: Read) -> list[Row]:
    """Rows of a dataclass; optional fields without a column are None, columns without a field are `further`."""
    if lacking := missing_columns(kind, list(cells)):
        raise ValueError(f"it has no column {lacking[0]!r}")
    nothing = [None] * size
    values: dict[str, Sequence[Any]] = {
        f.name: read(f.name, cells[f.name], f.type) if f.name in cells else nothing
        for f in fields(kind)
        if f.name not in NOT_CELLS
    }
    pairs = pair_columns(cells) if issubclass(kind, RecordRow) else []
    if pairs:
        values["top"] = tops(
            [
                (read(top, cells[top], str), read(prob, cells[prob], float | None))
                for top, prob in pairs
            ],
            size,
        )
    known = {*values, *(name for pair in pairs for name in pair)}.difference(NOT_CELLS)
    further = {name: read(name, cells[name], None) for name in cells if name not in known}
    values["further"] = [{name: further[name][i] for name in further} for i in range(size)]
    return [kind(**{name: column[i] for name, column in values.items()}) for i in range(size)]


def pair_columns(columns: Collection[str]) -> list[tuple[str, str]]:
    """The columns `top1, prob1 …`, as far as there are both."""
    pairs = ((f"top{i}", f"prob{i}") for i in count(1))
    return list(takewhile(lambda pair: pair[0] in columns and pair[1] in columns, pairs))


def tops(
    pairs: Sequence[tuple[Sequence[Any], Sequence[Any]]], size: int
) -> list[tuple[tuple[str, float], ...]]:
    """The pairs of token and probability of every row; behind the last one all cells are empty."""
    rows = []
    for row in range(size):
        listed = [(tokens[row], probs[row]) for tokens, probs in pairs]
        end = next((i for i, (_, p) in enumerate(listed) if p is None), len(listed))
        if any(token or p is not None for token, p in listed[end:]):
            fault = "has no probability, or a pair stands behind one that is empty"
            raise CellError(row + 2, f"top{end + 1}", listed[end][0], fault)
        rows.append(tuple(listed[:end]))
    return rows


def read_cells(name: str, cells: Sequence[str], kind: Any) -> list[Any]:
    """The values of a column of CSV: of the type of a field, or inferred where `kind` is None."""
    return infer(name, cells) if kind is None else read_column(name, cells, READERS[kind])


def read_column(name: str, cells: Sequence[str], read: Callable[[str], Any]) -> list[Any]:
    """The values of a column; raises CellError at the first cell that is none."""
    known: dict[str, Any] = {}
    for row, cell in enumerate(cells, start=2):
        if cell not in known:
            try:
                known[cell] = read(cell)
            except ValueError as error:
                raise CellError(row, name, cell, str(error)) from error
    return [known[cell] for cell in cells]


def infer(name: str, cells: Sequence[str]) -> list[Any]:
    """The values of a column that no field types; an empty cell is None.

    Flags, whole numbers or numbers, where all its other cells are; texts otherwise, and in columns of tokens.
    """
    for read in () if TEXTS.fullmatch(name) else (flag, whole, number):
        try:
            return read_column(name, cells, partial(optional, read))
        except CellError:
            continue
    return [cell or None for cell in cells]


def optional(read: Callable[[str], Any], cell: str) -> Any:
    return read(cell) if cell else None


def flag(cell: str) -> bool:
    if cell not in ("True", "False"):
        raise ValueError("is neither True nor False")
    return cell == "True"


def whole(cell: str) -> int:
    """As Python writes it: int() would take 1_0, full-width digits and spaces too. Arrays hold 64 bits."""
    if not WHOLE.fullmatch(cell):
        raise ValueError("is no whole number")
    if len(cell) > LONGEST_WHOLE:
        raise ValueError("is too long for a whole number of 64 bits")
    return int(cell)


def number(cell: str) -> float:
    if not NUMBER.fullmatch(cell):
        raise ValueError("is no number")
    return float(cell)


NEEDED: dict[Any, Callable[[str], Any]] = {str: str, int: whole, float: number, bool: flag}
READERS: dict[Any, Callable[[str], Any]] = NEEDED | {
    kind | None: partial(optional, read) for kind, read in NEEDED.items()
}
