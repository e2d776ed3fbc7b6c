"""Properties of a cell, a JSON leaf or a row that both the comparison and the schema need."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

from . import columns
from .csv_dialect import Table
from .json_text import LONGEST_INTEGER, Float
from .places import NamedRow, TableRow

FURTHER_KEYS = ("pos", "lens", "against", "fact_index")
KEYS = (
    "fact_key",
    "fact_index",
    *columns.KEY_COLUMNS,
    "lens",
    "against",
)  # names that tell rows apart
WITHIN_A_PASS = frozenset({"layer", "pos"})


def is_integer(text: str) -> bool:
    """Whether the text is an integer as Python writes it, and in the range of a float."""
    digits = text.removeprefix("-")
    if len(text) > LONGEST_INTEGER:
        return False
    return digits.isascii() and digits.isdigit() and str(int(digits)) == digits and text != "-0"


def is_float(text: str) -> bool:
    """Whether the text is the canonical repr of a float: `1.0` is, `1`, `1.00` and `1e-5` are not."""
    try:
        return repr(float(text)) == text
    except ValueError:
        return False


def table_row(table: Table, row: int) -> TableRow:
    """The key of a row: pass, layer, position, and the lenses and the fact where the table has them."""
    prompt_id, prompt_variant, layer = (table.column(name, row) for name in columns.KEY_COLUMNS[:3])
    pos, lens, against, fact_index = (
        table.column(name, row) if name in table.places else None for name in FURTHER_KEYS
    )
    return TableRow(prompt_id, prompt_variant, layer, pos, lens, against, fact_index)


def table_rows(table: Table, without: Collection[str] = ()) -> dict[TableRow, int]:
    """Each row's key → its index; repeated keys are counted in `repetition`, key columns of `without` left out."""
    counts: Counter[TableRow] = Counter()
    rows: dict[TableRow, int] = {}
    gone: dict[str, Any] = dict.fromkeys(name for name in FURTHER_KEYS if name in without)
    for index in range(len(table.rows)):
        key = table_row(table, index)
        key = replace(key, **gone) if gone else key
        counts[key] += 1
        rows[replace(key, repetition=counts[key]) if counts[key] > 1 else key] = index
    return rows


def row_of_each_layer(table: Table) -> list[TableRow]:
    """The key of one row of each layer of each pass."""
    names = columns.KEY_COLUMNS[:3]
    layers = {
        tuple(table.column(name, index) for name in names): index
        for index in range(len(table.rows))
    }
    return [table_row(table, index) for index in layers.values()]


def key_columns(table: Table) -> list[str]:
    """The leading columns of a table that the contract does not know which tell its rows apart."""
    return list(takewhile(KEYS.__contains__, table.names))


def named_rows(table: Table, names: Collection[str]) -> dict[NamedRow, int]:
    """Each row's key → its index, by the cells of `names`; equal keys are counted in `repetition`."""
    counts: Counter[tuple[tuple[str, str], ...]] = Counter()
    rows: dict[NamedRow, int] = {}
    for index in range(len(table.rows)):
        cells = tuple((name, table.column(name, index)) for name in names)
        counts[cells] += 1
        rows[NamedRow(cells, counts[cells])] = index
    return rows


def whole_pass(table: Table, row: int) -> tuple[str, ...]:
    """What tells the pass of a row apart from others: its key cells but layer and position."""
    return tuple(
        table.column(name, row)
        for name in KEYS
        if name in table.places and name not in WITHIN_A_PASS
    )


def kind(value: Any) -> str:
    """The JSON type of a value; floats and integers are two types, as Python writes them differently."""
    names = {
        type(None): "null",
        bool: "bool",
        int: "int",
        str: "string",
        Float: "float",
        float: "float",
    }
    return names.get(type(value), "object" if isinstance(value, Mapping) else "list")


def written(value: Any) -> str:
    """A leaf as the file has it, a string without its quotes; a container as its type."""
    if isinstance(value, Float):
        return value.text
    if isinstance(value, str):
        return value
    return kind(value) if kind(value) in ("object", "list") else json.dumps(value)


def lookup(document: Mapping[str, Any] | None, *path: str | int) -> Any:
    """The value at a path of keys of a document of any shape, None where there is none."""
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
