"""Text files that people write: read with or without a byte-order mark; no JSON or YAML object has a key twice."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..errors import LensError

JSON_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:]')
Place = tuple[int, int]  # line and column, both from 1 on


def read_text(path: Path) -> str:
    """The text of a UTF-8 file without its byte-order mark. Raises OSError or UnicodeDecodeError."""
    return path.read_text(encoding="utf-8-sig")


def parse_json(text: str, line: int = 1) -> Any:
    """The value of a JSON text that begins on `line` of its file.

    Raises JSONDecodeError, and LensError where an object has a key twice: the key and every place of it.
    """
    value = json.loads(text)
    refuse_repeated(json_keys(text, line))
    return value


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises YAMLError, and LensError where a mapping has a key twice."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        refuse_repeated(yaml_keys(root))
        return loader.construct_document(root)
    finally:
        loader.dispose()


def refuse_repeated(objects: Iterator[dict[str, list[Place]]]) -> None:
    """Raises LensError with a line for every key that an object has more than once."""
    problems = []
    for keys in objects:
        for key, places in keys.items():
            if len(places) > 1:
                *others, last = (f"line {line} column {column}" for line, column in places)
                times = "twice" if len(places) == 2 else f"{len(places)} times"
                locations = f"{', '.join(others)} and {last}"
                problem = (
                    f"the key {key} comes {times} in one object: {locations}; keep one of them"
                )
                problems.append((places[0], problem))
    if problems:
        raise LensError("\n".join(text for _, text in sorted(problems)))


def json_keys(text: str, line: int) -> Iterator[dict[str, list[Place]]]:
    """The keys of each object of a valid JSON text, as it spells them first, with their places."""
    starts = [0, *(end.end() for end in re.finditer("\n", text))]
    parents: list[dict[Any, tuple[str, list[Place]]]] = []
    string = JSON_PIECE.search('""')
    for piece in JSON_PIECE.finditer(text):
        if piece[0] in "{[":
            parents.append({})
        elif piece[0] in "}]":
            yield dict(parents.pop().values())
        elif piece[0] != ":":
            string = piece
        elif string:
            row = bisect_right(starts, string.start()) - 1
            _, places = parents[-1].setdefault(json.loads(string[0]), (string[0], []))
            places.append((line + row, string.start() - starts[row] + 1))


def yaml_keys(root: yaml.Node) -> Iterator[dict[str, list[Place]]]:
    """The keys of each mapping of a YAML document with their places; what aliases repeat is looked at once."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        keys: dict[Any, tuple[str, list[Place]]] = {}
        for key in (key for key, _ in pairs if isinstance(key, yaml.ScalarNode)):
            key_text = json.dumps(key.value, ensure_ascii=False)
            _, places = keys.setdefault((key.tag, key.value), (key_text, []))
            places.append((key.start_mark.line + 1, key.start_mark.column + 1))
        yield dict(keys.values())
        items = node.value if isinstance(node, yaml.SequenceNode) else []
        for child in (*items, *(part for pair in pairs for part in pair)):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
