"""JSON with lists and objects that are made while they are written; the text is that of `store.json_text`."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .store import json_text


@dataclass(frozen=True)
class Entries:
    """The entries of a list, or with `named` the pairs of an object, made anew each time that they are iterated over.

    There is at least one.
    """

    make: Callable[[], Iterable[Any]]
    named: bool = False

    def __iter__(self) -> Iterator[Any]:
        return iter(self.make())


def json_parts(value: Any, margin: str = "\n") -> Iterator[str]:
    """The text of a value piece by piece; `margin` is a line end with the indent of the line on which it begins."""
    if isinstance(value, Entries):
        entries, named = value, value.named
    elif isinstance(value, Mapping) and value:
        entries, named = Entries(value.items), True
    else:
        yield json_text(value).replace("\n", margin)
        return
    inner = margin + "  "
    before = ("{" if named else "[") + inner
    for entry in entries:
        name, content = entry if named else ("", entry)
        yield before + (json.dumps(name, ensure_ascii=False) + ": " if named else "")
        yield from json_parts(content, inner)
        before = "," + inner
    yield margin + ("}" if named else "]")
