"""What each column is made of; the tests write this file."""

from collections.abc import Callable
from typing import Any

Expressions = dict[str, dict[str, Callable[..., Any]]]
COLUMNS: Expressions = {}
ROWS: dict[str, Callable[..., Any]] = {}
MORE: Expressions = {}
KEYS: dict[str, Callable[..., Any]] = {}
NEW_KEYS: dict[str, Any] = {}
