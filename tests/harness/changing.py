"""Captured runs, and the same with one thing changed."""

import copy
from dataclasses import replace
from functools import cache
from typing import Any

from spec.compare.runs import Comparison
from spec.golden import GOLDEN
from spec.runs import csv_dialect, json_text
from spec.runs.run import Run, read_run


@cache
def captured(case: str) -> Run:
    return read_run(GOLDEN / "outputs" / case)


def with_cell(run: Run, kind: str, row: int, column: str, text: str) -> Run:
    """The run with one cell replaced, as text and as written."""
    table = run.tables[kind]
    rows, at = [list(r) for r in table.rows], table.header.index(column)
    rows[row][at] = text
    return replace(run, tables={**run.tables, kind: rebuilt(table.header, rows)})


def rebuilt(header: Any, rows: Any) -> csv_dialect.Table:
    lines = [list(header), *map(list, rows)]
    return csv_dialect.parse(
        "".join(",".join(map(csv_dialect.encode, line)) + "\n" for line in lines)
    )


def with_leaf(run: Run, path: tuple[str | int, ...], value: Any) -> Run:
    """The run with one leaf of its document replaced."""
    document = copy.deepcopy(dict(run.document or {}))
    inner: Any = document
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    text = json_text.layout(document)
    return replace(run, document=json_text.parse(text), document_text=text)


def only(comparison: Comparison) -> tuple[str, str, str, str]:
    """File, row, column and kind of the single mismatch."""
    assert len(comparison.mismatches) == 1, comparison.mismatches
    mismatch = comparison.mismatches[0]
    return mismatch.file, mismatch.place.row_text, mismatch.place.column_text, mismatch.kind
