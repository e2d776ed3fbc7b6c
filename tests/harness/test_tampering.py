"""Whatever is done to a file of a run, no comparison calls the two identical, and diff exits 1."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

import pytest
from corrupting import Change, lines, raw
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spec.commands.diff import DEFAULT
from spec.compare.diff import diff
from spec.compare.runs import compare
from spec.compare.tolerance import FP32, by_name
from spec.compare.verdicts import BROKEN, CHANGED, EXTENDED, IDENTICAL, file_verdicts
from spec.golden import GOLDEN
from spec.runs.run import read_run

Capture = Callable[[str], Path]
SIDECARS = {
    "output-Fact-prism-milestones.csv": b"layer,is_copy\n0,False\n1,True\n",
    "logs/deep.bin": b"\xff\xfe1\0",
    "notes.txt": b"1\n",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with Prism tables and files of other kinds, and its copy. Tests restore what they change."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("a", "b"):
        copytree(GOLDEN / "outputs" / "fact-prism", folder / name)
        for file, content in SIDECARS.items():
            (folder / name / file).parent.mkdir(exist_ok=True)
            (folder / name / file).write_bytes(content)
    return folder / "a", folder / "b"


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


NAMES = [*SIDECARS, *(p.name for p in sorted((GOLDEN / "outputs" / "fact-prism").iterdir()))]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
@example("output-Fact-prism.json", 0.0, 1)
def test_any_changed_byte_of_any_file_is_reported(
    runs: tuple[Path, Path], name: str, place: float, step: int
) -> None:
    content = bytearray((runs[0] / name).read_bytes())
    at = int(place * len(content))
    content[at] = (content[at] + step) % 256
    with changed(runs[1] / name, bytes(content)):
        result = diff(runs, (None, None), by_name(DEFAULT))
        assert result.verdict != IDENTICAL
        assert [file.file for file in result.files if file.verdict != IDENTICAL] == [name]
        # what check reports of the same two runs
        pair = read_run(runs[0]), read_run(runs[1])
        assert file_verdicts(*pair, compare(*pair, FP32))[name] != IDENTICAL


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0, 1, exclude_max=True), st.integers(1, 9))
def test_any_changed_digit_of_any_file_is_reported(
    runs: tuple[Path, Path], name: str, place: float, step: int
) -> None:
    content = bytearray((runs[0] / name).read_bytes())
    digits = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    at = digits[int(place * len(digits))]
    content[at] = 48 + (content[at] - 48 + step) % 10
    with changed(runs[1] / name, bytes(content)):
        result = diff(runs, (None, None), FP32)
        assert [file.file for file in result.files if file.verdict != IDENTICAL] == [name]


def recoded(old: bytes, new: bytes, name: str) -> Change:
    def apply(folder: Path) -> None:
        path = next(folder.glob(name))
        content = path.read_bytes()
        assert old in content or not old
        path.write_bytes(content.replace(old, new) if old else new + content)

    return apply


def cut(name: str, rest: int) -> Change:
    def apply(folder: Path) -> None:
        path = next(folder.glob(name))
        path.write_bytes(path.read_bytes()[:-rest])

    return apply


PURE = "pure-next-token"
TABLE, DOCUMENT = f"output-*-{PURE}.csv", "output-*.json"
# changes that no tolerance explains: of rows, columns, quotes, line ends, layout
CHANGES: dict[str, Change] = {
    "row dropped": lines(PURE, lambda content: [*content[:3], *content[4:]]),
    "last row dropped": lines(PURE, lambda content: content[:-1]),
    "rows swapped": lines(PURE, lambda c: [*c[:3], c[4], c[3], *c[5:]]),
    "row twice": lines(PURE, lambda content: [*content, content[-1]]),
    "column twice": lines(PURE, lambda content: [[*line, line[-1]] for line in content]),
    "cell beyond the header": lines(PURE, lambda c: [*c[:2], [*c[2], "1"], *c[3:]]),
    "column of no contract": lines(
        PURE, lambda c: [[*line, "more" if i == 0 else "1"] for i, line in enumerate(c)]
    ),
    "header in quotes": raw(PURE, "prompt_variant,", '"prompt_variant",'),
    "cell in quotes": raw(PURE, "⟨NEXT⟩", '"⟨NEXT⟩"'),
    "line ends of Windows": recoded(b"\n", b"\r\n", TABLE),
    "byte order mark": recoded(b"", b"\xef\xbb\xbf", TABLE),
    "one character short": cut(TABLE, 1),
    "half a row": cut(TABLE, 30),
    "blank line at the end": recoded(b"", b"", TABLE),
    "document with line ends of Windows": recoded(b"\n", b"\r\n", DOCUMENT),
    "document with a byte order mark": recoded(b"", b"\xef\xbb\xbf", DOCUMENT),
    "document cut": cut(DOCUMENT, 3),
    "document with a final line feed": recoded(b"\n}", b"\n}\n", DOCUMENT),
    "key twice": recoded(b'"type": "prompt",', b'"type": "prompt", "type": "prompt",', DOCUMENT),
    "space in the document": recoded(b'"type": "prompt"', b'"type":  "prompt"', DOCUMENT),
    "escape in the document": recoded(b"Germany", b"German\\u0079", DOCUMENT),
}


def blank_line(folder: Path) -> None:
    path = next(folder.glob(TABLE))
    path.write_bytes(path.read_bytes() + b"\n")


CHANGES["blank line at the end"] = blank_line


@pytest.mark.parametrize("name", CHANGES)
def test_no_tolerance_explains_another_form(name: str, capture: Capture) -> None:
    folder = capture("fact")
    CHANGES[name](folder)
    verdict = diff((GOLDEN / "outputs" / "fact", folder), (None, None), FP32).verdict
    assert verdict == VERDICTS.get(name, CHANGED)


VERDICTS = {
    "column of no contract": EXTENDED,
    **dict.fromkeys(("document cut", "document with a byte order mark", "key twice"), BROKEN),
}
CORRECTED = {
    "line ends of Windows": recoded(b"\n", b"\r\n", TABLE),
    "header in quotes": recoded(b"prompt_variant,", b'"prompt_variant",', TABLE),
    "cell in quotes": recoded(b"pos,orig,0", b'pos,"orig",0', TABLE),
    "row ends of an old Mac": recoded(b"\n", b"\r", TABLE),
    "byte order mark": recoded(b"", b"\xef\xbb\xbf", TABLE),
    "blank line at the end": blank_line,
    "one character short": cut(TABLE, 1),
}


@pytest.mark.parametrize("name", CORRECTED)
def test_nor_in_the_dialect_of_the_corrected_contract(name: str, tmp_path: Path) -> None:
    known = GOLDEN / "corrected" / "fact"
    folder = Path(copytree(known, tmp_path / "run"))
    CORRECTED[name](folder)
    assert diff((known, folder), (None, None), FP32).verdict == CHANGED


def test_a_layout_of_its_own_is_held_to_it(tmp_path: Path) -> None:
    """Documents that are not laid out as the contract says are still compared byte for byte where values are equal."""
    folders = [Path(copytree(GOLDEN / "outputs" / "fact", tmp_path / name)) for name in "ab"]
    for folder in folders:
        recoded(b"\n  ", b"\n ", DOCUMENT)(folder)
    assert diff(folders, (None, None), FP32).verdict == IDENTICAL
    recoded(b'"type": "prompt"', b'"type":  "prompt"', DOCUMENT)(folders[1])
    assert diff(folders, (None, None), FP32).verdict == CHANGED
