"""JSON text → values; numbers keep their text and objects the order of their keys."""

import json
from typing import Any

LONGEST_INTEGER = (
    308  # characters; so long a one can be a float, and a longer one is no number of a run
)


class JsonError(ValueError):
    """The text is not one JSON object with unique keys; the message names the place."""


class Float(float):
    """A float that keeps its text, so that `1e-5` and `1e-05` differ. NaN and Infinity are read too."""

    text: str

    def __new__(cls, text: str) -> "Float":
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __deepcopy__(self, memo: object) -> "Float":
        return Float(self.text)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; raises JsonError where a key comes twice."""
    unique_pairs = dict(pairs)
    if len(unique_pairs) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise JsonError(f"an object holds {', '.join(twice)} twice; each key may come once")
    return unique_pairs


def integer(text: str) -> int:
    """The integer of a text; raises JsonError where it may be beyond the range of a float."""
    if len(text) > LONGEST_INTEGER:
        raise JsonError(f"an integer of {len(text)} characters is beyond the range of a float")
    return int(text)


def parse(text: str) -> dict[str, Any]:
    """Read one object; raises JsonError where the text is cut off, malformed or no object."""
    document = parse_value(text)
    if not isinstance(document, dict):
        raise JsonError(f"the document must be an object, got {type(document).__name__}")
    return document


def parse_value(text: str) -> Any:
    """Read one JSON value; raises JsonError where the text is cut off or malformed."""
    try:
        return json.loads(
            text,
            parse_int=integer,
            parse_float=Float,
            parse_constant=Float,
            object_pairs_hook=unique,
        )
    except json.JSONDecodeError as error:
        raise JsonError(
            f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise JsonError("nested too deeply to be a run's document") from error


def layout(document: Any) -> str:
    """The document as run.py lays it out: two spaces of indent, UTF-8 unescaped, floats as Python repr."""
    return json.dumps(document, indent=2, ensure_ascii=False)
