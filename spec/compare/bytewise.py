"""Compare two files by their bytes: the first line or byte that differs.

runs.py compares the files that the contract knows by value, and all others here.
"""

import os
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from ..runs.places import Byte, Line, Place
from .kinds import Kind
from .recorder import Recorder

BEFORE, WIDTH = 12, 48  # characters shown of a line: before the first that differs, and in all


def compare_bytes(recorder: Recorder, expected: Path, obtained: Path) -> None:
    """Record one mismatch at the first line, else at the first byte that differs; none where the files are the same."""
    a = read_bytes(recorder, expected, Kind.EXPECTED_RUN)
    b = read_bytes(recorder, obtained, Kind.OBTAINED_RUN)
    if a is None or b is None or a == b:
        return
    text_a, text_b = as_text(a), as_text(b)
    if text_a is not None and text_b is not None:
        compare_lines(recorder, text_a.split("\n"), text_b.split("\n"))
        return
    at = first_difference(a, b)
    recorder.mismatch(Place(recorder.file, Byte(at)), byte_at(a, at), byte_at(b, at), Kind.BYTES)


def read_bytes(recorder: Recorder, path: Path, kind: Kind) -> bytes | None:
    """The content of a file; None where it cannot be read, which is recorded as a mismatch of `kind`."""
    try:
        if os.path.isfile(path):
            return path.read_bytes()
        reason = "no regular file, or a link to nothing"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    recorder.mismatch(Place(recorder.file), "", f"cannot be read: {reason}", kind)
    return None


def first_difference(a: Sequence[object], b: Sequence[object]) -> int:
    """The first index at which two sequences differ, the length of the shorter one where it begins the longer."""
    # strict=False: the lengths may differ
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def as_text(content: bytes) -> str | None:
    """The content as UTF-8; None where it is none, or holds a zero byte."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def byte_at(content: bytes, at: int) -> str:
    return f"{content[at : at + 8].hex(' ')} of {len(content)} bytes"


def compare_lines(recorder: Recorder, expected: list[str], obtained: list[str]) -> None:
    """Record the first line that differs, from its first different character, and how many more lines do."""
    differing = [i for i, (a, b) in enumerate(zip_longest(expected, obtained)) if a != b]
    first = differing[0]
    a, b = (lines[first] if first < len(lines) else "" for lines in (expected, obtained))
    at = first_difference(a, b)
    more = f" (and {len(differing) - 1} more lines)" if len(differing) > 1 else ""
    place = Place(recorder.file, Line(first + 1))
    recorder.mismatch(place, excerpt(a, at), excerpt(b, at) + more, Kind.TEXT)


def excerpt(line: str, at: int) -> str:
    """A line around one of its characters."""
    start = max(0, at - BEFORE)
    part = line[start : start + WIDTH]
    return "…" * (start > 0) + part + "…" * (start + WIDTH < len(line))
