"""Columns of numbers as typed arrays, and texts once: how the page holds what it draws."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .facts import is_number

UNSIGNED = ("u1", "u2", "u4")


def floats(values: Iterable[Any]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Numbers in single precision, as runs compute them; NaN, which is not drawn, for what is no finite number."""
    return np.array([value if is_number(value) else np.nan for value in values], dtype="<f4")


def packed(values: Iterable[Any]) -> dict[str, str]:
    """Numbers as plotly writes a typed array: the name of its type, and its bytes in base64."""
    return encoded(floats(values))


def counted(values: Iterable[int]) -> dict[str, str]:
    """Whole numbers as the smallest unsigned type that holds them all; as floats where none does."""
    whole = list(values)
    least, most = min(whole, default=0), max(whole, default=0)
    for name in UNSIGNED:
        if least >= 0 and most <= np.iinfo(name).max:
            return encoded(np.array(whole, dtype=f"<{name}"))
    return packed(whole)


def encoded(array: "np.ndarray[Any, Any]") -> dict[str, str]:
    return {
        "dtype": array.dtype.str.lstrip("<|"),
        "bdata": base64.b64encode(array.tobytes()).decode(),
    }


class Texts:
    """A table of texts, each once; `index` gives the place of one and adds it where it is new."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def index(self, text: str) -> int:
        return self.places.setdefault(text, len(self.places))

    def indices(self, texts: Iterable[str]) -> list[int]:
        return [self.index(text) for text in texts]

    @property
    def texts(self) -> Sequence[str]:
        return list(self.places)
