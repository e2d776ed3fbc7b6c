"""The folder in which a command lets a runner write."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SpecError


@contextmanager
def workspace(keep: Path | None) -> Iterator[Path]:
    """The folder for the runs: the one to keep, which must be empty lest old runs pass for new, or a passing one."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="spec-check-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        occupied = any(keep.iterdir())
    except OSError as error:
        raise SpecError(
            f"cannot use {keep} for the runs: {error.strerror}; give another folder"
        ) from error
    if occupied:
        raise SpecError(
            f"{keep} must be new or empty, it holds files; give another folder or empty it"
        )
    yield keep
