"""Two files of which nothing is known but their bytes: which line or byte is the first that differs.

Kinds of files that are to be compared by value get a comparer of their own in compare.py; what has none comes here.
"""

import os
from itertools import zip_longest
from pathlib import Path

from .recorder import Recorder

TEXT, BYTES = "text", "bytes"  # kinds of mismatch
BEFORE, WIDTH = 12, 48  # characters shown of a line: before the first that differs, and in all


def same_bytes(a: Path, b: Path) -> bool:
    """Whether two files can be read and hold the same bytes.

    Never by a cache, as filecmp would: a changed file may keep its size and time.
    """
    try:
        return os.path.isfile(a) and os.path.isfile(b) and a.read_bytes() == b.read_bytes()
    except OSError:
        return False


def compare_bytes(recorder: Recorder, expected: Path, obtained: Path) -> None:
    """One mismatch at the first line, else at the first byte that differs; none where the files are the same."""
    contents = []
    for path, kind in ((expected, "expected run"), (obtained, "obtained run")):
        try:
            contents.append(path.read_bytes() if os.path.isfile(path) else None)
            told = "no regular file, or a link to nothing"
        except OSError as error:
            contents.append(None)
            told = error.strerror or type(error).__name__
        if contents[-1] is None:
            recorder.mismatch("", "", "", f"cannot be read: {told}", kind)
    a, b = contents
    if a is None or b is None or a == b:
        return
    texts = [as_text(content) for content in (a, b)]
    if texts[0] is None or texts[1] is None:
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        recorder.mismatch(f"byte {at}", "", byte_at(a, at), byte_at(b, at), BYTES)
    else:
        compare_lines(recorder, texts[0].split("\n"), texts[1].split("\n"))


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
    """The first line that differs, from where it does, and how many more do."""
    differing = [i for i, (a, b) in enumerate(zip_longest(expected, obtained)) if a != b]
    first = differing[0]
    a, b = (lines[first] if first < len(lines) else "" for lines in (expected, obtained))
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    told = [f" (and {len(differing) - 1} more lines)"] if len(differing) > 1 else []
    recorder.mismatch(f"line {first + 1}", "", excerpt(a, at), excerpt(b, at) + "".join(told), TEXT)


def excerpt(line: str, at: int) -> str:
    """A line around one of its characters."""
    start = max(0, at - BEFORE)
    part = line[start : start + WIDTH]
    return "…" * (start > 0) + part + "…" * (start + WIDTH < len(line))
