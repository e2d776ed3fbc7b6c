"""What a run is doing, on standard error where that is a terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

log = logging.getLogger("lenses_min")


class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar of this package, which `silence_transformers` does not hide."""


def bar(total: int) -> Bar:
    """A bar that counts passes; drawn on a terminal, unless only errors are printed."""
    return Bar(total=total, unit="pass", leave=False, disable=hidden())


@contextmanager
def stage(text: str) -> Iterator[None]:
    """A line that names what is done meanwhile, drawn where a bar is and gone at the end."""
    with Bar(desc=text, bar_format="{desc}", leave=False, disable=hidden()):
        yield


def hidden() -> bool | None:
    """What tqdm calls `disable`: None hides a bar where there is no terminal."""
    return None if log.isEnabledFor(logging.WARNING) else True
