"""The document: values at paths by an expression of the value."""

from typing import Any

from expressions import KEYS, NEW_KEYS


def of(content: Any) -> Any:
    for path, expression in KEYS.items():
        *inside, last = path.split(".")
        block = content
        for name in inside:
            block = block[name]
        block[last] = expression(block[last])
    for path, value in NEW_KEYS.items():
        *inside, last = path.split(".")
        block = content
        for name in inside:
            block = block[name]
        block[last] = value
    return content
