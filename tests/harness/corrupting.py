"""Ways to corrupt a captured run: each returns a change to apply to a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from spec.runs import csv_dialect
from spec.runs.run import sole_run

Change = Callable[[Path], object]
Corruption = tuple[str, Change, str, str, str, str]  # case, change, rule, file part, row, column
PURE, RECORDS, PURE_PRISM, RECORDS_PRISM = (
    "pure-next-token",
    "records",
    "pure-next-token-prism",
    "records-prism",
)
ROW0 = "pos/orig layer 0 pos 16"


def csv_path(folder: Path, kind: str) -> Path:
    return folder / f"output-{sole_run(folder)}-{kind}.csv"


def lines(kind: str, change: Callable[[list[list[str]]], Any]) -> Change:
    """A change of a table's decoded lines, header first: in place, or a new list of lines."""

    def apply(folder: Path) -> None:
        path = csv_path(folder, kind)
        table = csv_dialect.parse(path.read_text(encoding="utf-8"))
        content = [list(table.header), *map(list, table.rows)]
        changed = change(content)
        content = changed if changed and isinstance(changed[0], list) else content
        path.write_text(
            "".join(",".join(map(csv_dialect.encode, line)) + "\n" for line in content),
            encoding="utf-8",
        )

    return apply


def cell(kind: str, row: int, column: str, text: str | Callable[[float], float]) -> Change:
    """A change of one cell of the row-th data row."""

    def change(content: list[list[str]]) -> None:
        at = content[0].index(column)
        old = content[row + 1][at]
        content[row + 1][at] = text if isinstance(text, str) else repr(text(float(old)))

    return lines(kind, change)


def raw(kind: str, old: str, new: str) -> Change:
    """A change of a table's text as written."""

    def apply(folder: Path) -> None:
        path = csv_path(folder, kind)
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return apply


def document(change: Callable[[dict[str, Any]], Any], indent: int = 2) -> Change:
    """A change of the document."""

    def apply(folder: Path) -> None:
        path = folder / f"output-{sole_run(folder)}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content, indent=indent, ensure_ascii=False), encoding="utf-8")

    return apply


def key(*path: str | int, value: Any) -> Change:
    """A change of one leaf of the document."""

    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value(inner[path[-1]]) if callable(value) else value

    return document(change)


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def both(*changes: Change) -> Change:
    def apply(folder: Path) -> None:
        for change in changes:
            change(folder)

    return apply


def tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    def apply(folder: Path) -> None:
        torch.save(change(torch.load(folder / name, weights_only=True)), folder / name)

    return apply


def swap(content: list[list[str]]) -> None:
    content[2], content[3] = content[3], content[2]


def nan_at(values: torch.Tensor) -> torch.Tensor:
    values = values.clone()
    values[0, 2, 3] = float("nan")
    return values
