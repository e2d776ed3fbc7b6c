"""Where a run keeps the segments that it has finished, see segments.py."""

import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

SEGMENTS, LOCK = "segments", "lock"


def segments_folder(out_dir: Path, file_stem: str) -> Path:
    return out_dir / f".{file_stem}.{SEGMENTS}"


def discard_segments(out_dir: Path, file_stem: str) -> None:
    """Delete what an earlier run had finished, unless a run is at work on it."""
    if (folder := segments_folder(out_dir, file_stem)).is_dir():
        with suppress(Timeout), FileLock(folder / LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
