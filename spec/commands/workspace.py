"""The folder into which a runner writes during a command."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SpecError


@contextmanager
def workspace(keep: Path | None) -> Iterator[Path]:
    """Yield the folder for the runs: `keep`, or a temporary one.

    `keep` must be empty so that no old run is taken for a new one.
    Raises SpecError where `keep` cannot be used or is not empty.
    """
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
