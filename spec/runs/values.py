"""What a cell, a leaf or a row is: the small questions that comparison and schema both ask."""

import re
from collections.abc import Mapping
from typing import Any

from . import columns
from .csv_dialect import Table, numbered
from .json_text import Float, layout

Path = tuple[str | int, ...]  # of a JSON leaf: keys and list indices
FURTHER_KEYS = ("lens", "against", "fact_index")


def is_integer(text: str) -> bool:
    """Whether the text is an integer as Python writes it."""
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and str(int(digits)) == digits and text != "-0"


def is_float(text: str) -> bool:
    """Whether the text is the canonical repr of a float: `1.0` is, `1`, `1.00` and `1e-5` are not."""
    try:
        return repr(float(text)) == text
    except ValueError:
        return False


def row_name(table: Table, row: int) -> str:
    """A row in words: prompt, variant, layer, position, and the lenses and the fact where the table has them."""
    prompt, variant, layer, pos = (table.column(name, row) for name in columns.KEY_COLUMNS)
    more = [f" {name} {table.column(name, row)}" for name in FURTHER_KEYS if name in table.places]
    place = f" pos {pos}" if "pos" in table.places else ""
    return f"{prompt}/{variant} layer {layer}{place}{''.join(more)}"


def row_names(table: Table) -> dict[str, int]:
    """Each row's name → its index; a name that comes again gets a number."""
    names = (row_name(table, row) for row in range(len(table.rows)))
    return {name: row for row, name in enumerate(numbered(names))}


def dotted(path: Path) -> str:
    """A path as text: `passes[2].control`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(
        "."
    )


def place(path: Path) -> tuple[str, str]:
    """Row and column of a leaf: the path up to its last list index, and what follows."""
    last = max((i for i, part in enumerate(path) if isinstance(part, int)), default=-1)
    return dotted(path[: last + 1]), dotted(path[last + 1 :])


def column_name(path: Path) -> str:
    """The path without its list indices: the column that statistics are kept for."""
    return re.sub(r"\[\d+\]", "[]", dotted(path))


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
    return kind(value) if kind(value) in ("object", "list") else layout(value)
