"""Files that tell how runs were made: the manifest of a run, and the manifest and summary of a sweep.

What in them is never the same twice (times, memory, the folder written to) is left out of a comparison, and named.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs.csv_dialect import parse_corrected
from ..runs.json_text import layout, parse
from ..runs.run import read_text

RUN = frozenset(
    {"finished_at", "elapsed_s", "peak_memory.host", "peak_memory.cuda", "options.out_dir"}
)
NEVER_TWICE = (
    (r"run-.+\.manifest\.json", RUN),
    (r"sweep\.manifest\.json", frozenset({"started_at", "finished_at"})),
    (r"summary\.csv", frozenset({"elapsed_s", "peak_host_bytes", "peak_cuda_bytes"})),
)


@dataclass(frozen=True)
class HowMade:
    """How two such files differ: the names of what is never the same twice, and of all else, without list indices."""

    left_out: tuple[str, ...]
    differing: tuple[str, ...]


def never_twice(file: str) -> frozenset[str] | None:
    """What in a file of this name is never the same twice; None for a file that does not tell how runs were made."""
    name = file.rsplit("/", 1)[-1]
    return next((left for pattern, left in NEVER_TWICE if re.fullmatch(pattern, name)), None)


def how_made(file: str, a: Path, b: Path) -> HowMade:
    """In what two such files differ; raises ValueError or OSError where one cannot be read."""
    left_out = never_twice(file) or frozenset()
    ours, theirs = (values(path) for path in (a, b))
    names = [name for name in dict.fromkeys((*ours, *theirs)) if ours.get(name) != theirs.get(name)]
    # a value that is never the same twice must still be there, and be of its type
    free = [name for name in names if column(name) in left_out and same_kind(name, ours, theirs)]
    found = [column(name) for name in names if name not in set(free)]
    if set(ours) == set(theirs) and list(ours) != list(theirs):
        found.append("order of its keys")
    return HowMade(*(tuple(dict.fromkeys(some)) for some in (map(column, free), found)))


def column(name: str) -> str:
    """A value's name without the rows and indices it stands in."""
    return re.sub(r"\[\d+\]", "", name).lstrip(".")


def same_kind(name: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    """Whether both sides hold the value, as a number both or as another text both."""
    number = [re.fullmatch(r"-?\d+(\.\d+)?", told[name]) for told in (ours, theirs) if name in told]
    return len(number) == 2 and (number[0] is None) == (number[1] is None)


def values(path: Path) -> dict[str, str]:
    """Every value of the file as it is written, by its place, and how the file is laid out."""
    text = read_text(path)
    if path.suffix == ".csv":
        table = parse_corrected(text)
        cells = {
            f"[{i}].{name}": cell
            for i, row in enumerate(table.sources)
            for name, cell in zip(table.names, row, strict=False)
        }
        widths = [len(row) for row in table.rows]
        shape = str((table.head, widths, table.complete))
        return {**cells, "layout": shape if table.regular else text}
    document = parse(text)
    tail = text[len(text.rstrip()) :]
    usual = layout(document) + tail == text
    return {**dict(leaves("", document)), "layout": tail if usual else text}


def leaves(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every leaf of a JSON value, by its path; an empty container is one."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(f"{place}.{key}".lstrip("."), inner)
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from leaves(f"{place}[{i}]", inner)
    else:
        yield place, json.dumps(value)
