"""Files that describe how runs were made: the manifest of a run, and the manifest and summary of a sweep.

Values that are never the same twice (times, memory, the folder written to) are left out of a comparison, and named.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs.csv_dialect import parse_corrected
from ..runs.json_text import layout, parse
from ..runs.places import Path as ValuePath
from ..runs.run import read_text

RUN = frozenset(
    {"finished_at", "elapsed_s", "peak_memory.host", "peak_memory.cuda", "options.out_dir"}
)
NEVER_TWICE = (
    (r"run-.+\.manifest\.json", RUN),
    (r"sweep\.manifest\.json", frozenset({"started_at", "finished_at"})),
    (r"summary\.csv", frozenset({"elapsed_s", "peak_host_bytes", "peak_cuda_bytes"})),
)


LAYOUT: ValuePath = ("layout",)


@dataclass(frozen=True)
class HowMade:
    """How two such files differ: the names of what is never the same twice, and of all else, without list indices."""

    left_out: tuple[str, ...]
    differing: tuple[str, ...]


def never_twice(file: str) -> frozenset[str] | None:
    """What in a file of this name is never the same twice; None for any other file."""
    name = file.rsplit("/", 1)[-1]
    return next((left for pattern, left in NEVER_TWICE if re.fullmatch(pattern, name)), None)


def how_made(file: str, a: Path, b: Path) -> HowMade:
    """The differences of two such files; raises ValueError or OSError where one cannot be read."""
    ignored = never_twice(file) or frozenset()
    values_a, values_b = values(a), values(b)
    every = dict.fromkeys((*values_a, *values_b))
    differing = [path for path in every if values_a.get(path) != values_b.get(path)]
    # a value that is never the same twice must still be there, and be of its type
    left_out = [
        path
        for path in differing
        if without_indices(path) in ignored and same_type(values_a.get(path), values_b.get(path))
    ]
    names = [without_indices(path) for path in differing if path not in set(left_out)]
    if set(values_a) == set(values_b) and list(values_a) != list(values_b):
        names.append("order of its keys")
    left_out_names = dict.fromkeys(map(without_indices, left_out))
    return HowMade(tuple(left_out_names), tuple(dict.fromkeys(names)))


def without_indices(path: ValuePath) -> str:
    """A value's name without list and row indices."""
    return ".".join(part for part in path if isinstance(part, str))


def same_type(a: str | None, b: str | None) -> bool:
    """Whether both sides hold the value, as a number both or as another text both."""
    if a is None or b is None:
        return False
    numbers = [re.fullmatch(r"-?\d+(\.\d+)?", text) is not None for text in (a, b)]
    return numbers[0] == numbers[1]


def values(path: Path) -> dict[ValuePath, str]:
    """Every value of the file as it is written, by its path, and how the file is laid out."""
    text = read_text(path)
    if path.suffix == ".csv":
        table = parse_corrected(text)
        # strict=False: a row may have more or fewer cells than the header
        cells: dict[ValuePath, str] = {
            (i, name): cell
            for i, row in enumerate(table.sources)
            for name, cell in zip(table.names, row, strict=False)
        }
        widths = [len(row) for row in table.rows]
        shape = str((table.head, widths, table.complete))
        return {**cells, LAYOUT: shape if table.regular else text}
    document = parse(text)
    tail = text[len(text.rstrip()) :]
    usual = layout(document) + tail == text
    return {**dict(leaves((), document)), LAYOUT: tail if usual else text}


def leaves(path: ValuePath, value: Any) -> Iterator[tuple[ValuePath, str]]:
    """Every leaf of a JSON value, by its path; an empty container is one."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves((*path, key), inner)
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from leaves((*path, i), inner)
    else:
        yield path, json.dumps(value)
