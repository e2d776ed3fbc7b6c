"""Classes of mismatches: their layers, passes, example, order and hint; and files compared by their bytes."""

from pathlib import Path

import pytest

from spec.compare.bytewise import compare_bytes, excerpt
from spec.compare.classify import (
    MismatchClass,
    classes,
    distribution_of,
    error,
    hint,
    relation_of,
    stages_reached,
    swapped_columns,
)
from spec.compare.kinds import Kind
from spec.compare.recorder import Mismatch, Recorder
from spec.compare.stages import STAGES
from spec.compare.tolerance import FP32
from spec.runs.places import Place, TableRow, at_path
from spec.runs.run import same_bytes

FILE = "output-F-pure-next-token.csv"


def mismatch(
    column: str = "entropy",
    layer: str = "0",
    name: str = "pos/orig",
    values: tuple[str, str] = ("1.5", "2.0"),
    kind: Kind = Kind.VALUE,
) -> tuple[str, Mismatch]:
    prompt, _, variant = name.partition("/")
    place = Place(FILE, TableRow(prompt, variant, layer, "4"), column)
    return "fact", Mismatch(place, *values, kind)


def test_what_the_probabilities_of_a_list_share() -> None:
    row = TableRow("pos", "orig", "3", "4")
    assert distribution_of("case", Place("x.csv", row, "prob7")) == ("case", "x.csv", row)
    assert distribution_of("case", Place("x.csv", row, "p_top1")) is None
    in_list = at_path("x.json", ("test_prompts", 3, "topk", 1, "p"))
    assert distribution_of("case", in_list) == ("case", "x.json", ("test_prompts", 3, "topk"))
    assert distribution_of("case", at_path("x.json", ("diagnostics", "p"))) is None


def test_a_class_has_the_layers_of_its_rows_in_order() -> None:
    (group,) = classes([mismatch(layer=layer) for layer in ("12", "3", "last", "3", "0")])
    assert group.layers == (0, 3, 12)
    assert group.name == "pure-next-token: entropy"
    assert (len(group.mismatches), group.cases) == (5, ("fact",))


def test_a_class_without_a_mismatch_is_refused() -> None:
    (group,) = classes([mismatch()])
    with pytest.raises(ValueError, match="a class needs a mismatch, got none for x; leave it out"):
        MismatchClass("x", group.kind, group.meaning, ())


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["pos/orig"], "in pos/orig only"),
        (["ctl/orig", "pos/orig", "ctl/orig"], "in ctl/orig, pos/orig only"),
        (["pos/orig", "pos/no_filler", "ctl/orig"], "in all three passes"),
        (["a/orig", "b/orig", "c/orig"], "in 3 passes"),
        (["a/orig", "b/orig", "c/orig", "d/orig"], "in 4 passes"),
        (["pos", "/orig"], ""),
        (["/orig/twice"], ""),
    ],
)
def test_the_hint_names_the_passes(names: list[str], sentence: str) -> None:
    (group,) = classes([mismatch(name=name, values=("a", "b")) for name in names])
    assert hint(group) == sentence


def test_the_hint_has_relation_and_passes() -> None:
    pairs = [mismatch(layer=str(i), values=(str(i + 1.5), str(2 * i + 3.0))) for i in range(3)]
    (group,) = classes(pairs)
    assert hint(group) == "obtained / expected = 2 in every one of them; in pos/orig only"


def multiplied(case: str, factor: float, numbers: tuple[float, ...]) -> list[tuple[str, Mismatch]]:
    """Mismatches of a case, each of a number and its multiple."""
    values = [(str(number), str(factor * number)) for number in numbers]
    pairs = [mismatch(layer=str(layer), values=pair) for layer, pair in enumerate(values)]
    return [(case, pair) for _, pair in pairs]


def test_cases_with_too_few_numbers_show_a_relation_together() -> None:
    (group,) = classes([*multiplied("a", 2, (1.5, 2.5)), *multiplied("b", 2, (3.5, 5.5))])
    assert relation_of(group) == "obtained / expected = 2 in every one of them"


def test_cases_of_two_relations_show_none() -> None:
    pairs = [*multiplied("a", 2, (1.5, 2.75, 3.875)), *multiplied("b", 3, (1.125, 2.25, 4.75))]
    (group,) = classes(pairs)
    assert relation_of(group) == ""


def test_columns_are_swapped_by_their_numbers_and_never_by_texts() -> None:
    numbers = ("1.5", "2.5", "4.0"), ("7.0", "8.5", "9.5")
    pairs = [
        mismatch(column, str(layer), values=(sides[0][layer], sides[1][layer]))
        for column, sides in (("p_top1", numbers), ("p_top5", numbers[::-1]))
        for layer in range(3)
    ]
    texts = [mismatch("token", str(layer), values=("a", "b")) for layer in range(3)]
    names = ("pure-next-token: p_top1", "pure-next-token: p_top5")
    assert swapped_columns(classes([*pairs, *texts])) == [names]


def test_the_example_is_the_largest_difference() -> None:
    pairs = [
        mismatch(layer="0", values=("1.0", "3.0")),
        mismatch(layer="1", values=("1.0", "-4.0")),
        mismatch(layer="2", values=("a", "b")),
    ]
    (group,) = classes(pairs)
    assert group.worst == pairs[1]
    assert [error(m) for _, m in pairs] == [2.0, 5.0, -1.0]


def test_classes_come_in_the_order_of_computation() -> None:
    pairs = [mismatch("is_answer", values=("True", "False")), mismatch(), mismatch("token")]
    groups = classes(pairs)
    assert [group.meaning.stage for group in groups] == ["rows", "metrics", "flags"]
    first, before = stages_reached(groups)
    assert (first, before) == ("rows", STAGES[: STAGES.index("rows")])
    assert stages_reached([]) == (STAGES[0], ())
    assert stages_reached(classes([*pairs, mismatch("odd")])) == ("rows", ())


def recorded(tmp_path: Path, a: bytes | None, b: bytes | None) -> list[Mismatch]:
    """The mismatches of two files, None for one that is not there."""
    recorder = Recorder("notes", FP32)
    paths = tmp_path / "a", tmp_path / "b"
    for path, content in zip(paths, (a, b), strict=True):
        if content is not None:
            path.write_bytes(content)
    compare_bytes(recorder, *paths)
    assert same_bytes(*paths) is (a is not None and a == b)
    return recorder.mismatches


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (b"1\n2\n3", b"1\n2\n3", None),
        (b"1\n2\n3", b"1\n4\n3", ("line 2", "2", "4", "text")),
        (b"1\n2\n3", b"1\n4\n5", ("line 2", "2", "4 (and 1 more lines)", "text")),
        (b"1\n2", b"1", ("line 2", "2", "", "text")),
        (b"1", b"1\n2", ("line 2", "", "2", "text")),
        (b"a\0b", b"a\0c", ("byte 2", "62 of 3 bytes", "63 of 3 bytes", "bytes")),
        (b"a\0b", b"abc", ("byte 1", "00 62 of 3 bytes", "62 63 of 3 bytes", "bytes")),
        (b"a\xffb", b"abc", ("byte 1", "ff 62 of 3 bytes", "62 63 of 3 bytes", "bytes")),
        (
            b"\0abcdefghij",
            b"\0",
            ("byte 1", "61 62 63 64 65 66 67 68 of 11 bytes", " of 1 bytes", "bytes"),
        ),
    ],
)
def test_the_first_difference_of_two_files(
    a: bytes, b: bytes, expected: tuple[str, ...] | None, tmp_path: Path
) -> None:
    mismatches = recorded(tmp_path, a, b)
    shown = [(m.place.row_text, m.expected, m.obtained, m.kind) for m in mismatches]
    assert shown == ([expected] if expected else [])


def test_a_file_that_cannot_be_read_is_its_own_mismatch(tmp_path: Path) -> None:
    (found,) = recorded(tmp_path, b"1", None)
    reason = "cannot be read: no regular file, or a link to nothing"
    assert (found.expected, found.obtained, found.kind) == ("", reason, "obtained run")


def test_why_a_file_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)

    def forbid(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied") if path.name == "a" else OSError()

    monkeypatch.setattr(Path, "read_bytes", forbid)
    recorder = Recorder("notes", FP32)
    compare_bytes(recorder, tmp_path / "a", tmp_path / "b")
    assert [(m.obtained, m.kind) for m in recorder.mismatches] == [
        ("cannot be read: Permission denied", "expected run"),
        ("cannot be read: OSError", "obtained run"),
    ]
    assert same_bytes(tmp_path / "a", tmp_path / "b") is False


def test_a_long_line_is_shown_around_its_difference() -> None:
    line = "".join(chr(97 + i % 26) for i in range(100))
    assert excerpt(line, 0) == line[:48] + "…"
    assert excerpt(line, 12) == line[:48] + "…"
    assert excerpt(line, 13) == "…" + line[1:49] + "…"
    assert excerpt(line, 64) == "…" + line[52:100]
    assert excerpt(line[:48], 5) == line[:48]
