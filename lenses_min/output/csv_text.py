"""Rows → CSV text, in the reference's dialect or in that of Python's csv module."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.rows import Row
from .store import cells

QUOTED = re.compile(r'[,"\n]')  # what is quoted in the reference's dialect
MISSING = frozenset(  # what pandas reads as missing, quoted or not
    (
        *(
            "",
            "#N/A",
            "#N/A N/A",
            "#NA",
            "-1.#IND",
            "-1.#QNAN",
            "-NaN",
            "-nan",
            "1.#IND",
            "1.#QNAN",
        ),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)


def csv_cell(value: Any) -> str:
    """The reference's dialect: minimal quoting for `,` `"` and newline, backslash doubled, CR bare (R5).

    Written out because Python's csv module quotes a carriage return from 3.13 on, and the reference ran on 3.11.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    text = value.replace("\\", "\\\\")
    return '"' + text.replace('"', '""') + '"' if QUOTED.search(text) else text


def csv_text(
    rows: Sequence[Row | Mapping[str, Any]], columns: Sequence[str], standard: bool = False
) -> str:
    """A table in the reference's dialect, or in that of Python's csv module (R5)."""
    lines = [columns, *(cells(row, columns) for row in rows)]
    return (
        table_text(lines)
        if standard
        else "".join(",".join(map(csv_cell, line)) + "\n" for line in lines)
    )


def table_text(lines: Iterable[Sequence[Any]]) -> str:
    """Lines as csv and pandas read them back with their defaults; None is an empty cell."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(
        [plain(value) for value in line] for line in lines
    )
    return stream.getvalue()


def plain(value: Any) -> Any:
    """A text unchanged, or as a JSON string where a reader would take it for something else.

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
