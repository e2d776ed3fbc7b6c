"""What a fit is doing, on standard error where that is a terminal; nothing elsewhere."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)

T = TypeVar("T")


def tracked(items: Sequence[T], description: str) -> Iterable[T]:
    """The items, counted by a bar that goes with the last of them."""
    out = Console(stderr=True)
    return track(items, description, console=out, transient=True, disable=not out.is_terminal)


def steps() -> Progress:
    """A bar of the steps of a training, each with its description."""
    out = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=out, disable=not out.is_terminal)
