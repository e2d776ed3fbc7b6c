"""A bar that counts passes on standard error, where that is a terminal."""

import logging

from tqdm import tqdm

log = logging.getLogger("lenses_min")


class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A bar of this package, which `silence_transformers` does not hide."""


def bar(total: int) -> Bar:
    """Drawn on a terminal, unless only errors are printed."""
    quiet = not log.isEnabledFor(logging.WARNING)
    return Bar(total=total, unit="pass", leave=False, disable=True if quiet else None)
