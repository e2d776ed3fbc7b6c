"""Rows of the tables: each column by an expression of its cell `x` and its row."""

from typing import Any

from expressions import COLUMNS, MORE, ROWS

Row = dict[str, str]


def of(kind: str, rows: list[list[str]]) -> list[list[str]]:
    header, *lines = rows
    body = [cells(kind, dict(zip(header, row, strict=True))) for row in lines]
    if kind in ROWS:
        body = ROWS[kind](body)
    more = MORE.get(kind, {})
    names = [*header, *more]
    return [
        names,
        *([*(row[n] for n in header), *(make(row) for make in more.values())] for row in body),
    ]


def cells(kind: str, row: Row) -> Row:
    changed = dict(row)
    for name, expression in COLUMNS.get(kind, {}).items():
        if row[name]:
            changed[name] = written(expression(read(row[name]), row))
    return changed


def read(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def written(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
