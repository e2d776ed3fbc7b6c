"""Files that people write: a key that comes twice, byte-order marks, endings in capitals."""

import codecs
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from lenses_min import LensError
from lenses_min.cli import command_line
from lenses_min.prompts.suite import prompts_text, read_suite
from lenses_min.prompts.textfiles import parse_json, parse_yaml

PASS = '{"id": "a", "context": "b", "answer": "c"}'


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "whole.json",
            '{"passes": [],\n "passes": []}',
            ['the key "passes" comes twice in one object: line 1 column 2 and line 2 column 2'],
        ),
        (
            "inside.json",
            '{"passes": [{"id": "a",\n"answer": "{\\"id\\": 1}", "id": "b", "\\u0069d": "c"}]}',
            [
                'the key "id" comes 3 times in one object: line 1 column 14, line 2 column 26 '
                "and line 2 column 37"
            ],
        ),
        (
            "lines.jsonl",
            f'{PASS}\n\n{{"id": "a", "id": "b", "context": "x", "context": "y", "answer": "c"}}\nx',
            [
                'the key "id" comes twice in one object: line 3 column 2 and line 3 column 13',
                'the key "context" comes twice in one object: line 3 column 24 and line 3 column 40',
                "line 4: Expecting value: line 1 column 1 (char 0)",
            ],
        ),
        (
            "whole.yaml",
            "passes: []\ntest_prompts: [x]\n'passes': []\n",
            ['the key "passes" comes twice in one object: line 1 column 1 and line 3 column 1'],
        ),
        (
            "inside.yml",
            "passes:\n- {id: a, context: b, answer: c}\n- id: b\n  answer: c\n  id: d\n",
            ['the key "id" comes twice in one object: line 3 column 3 and line 5 column 3'],
        ),
    ],
)
def test_a_key_that_comes_twice_is_refused_with_every_place(
    name: str, text: str, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(LensError) as caught:
        read_suite(tmp_path / name)
    lines = [line.removesuffix("; keep one of them") for line in str(caught.value).splitlines()]
    assert lines == [f"{tmp_path / name}: {line}" for line in expected]


def test_merged_and_repeated_mappings_of_yaml_are_no_repetition() -> None:
    text = """
    deep: {inner: &x {<<: &y {k: 0, z: 1}, k: 1}}
    again: {<<: *x, k: 2}
    list: [*x, *x, *y]
    """
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml("") is None


def test_what_aliases_of_yaml_repeat_is_refused_once() -> None:
    """Also a mapping that holds itself. The key stands in the message as it is written."""
    cases = {
        "a: &x {ü: 1, ü: 2}\nb: [*x, *x]\nc: *x": "line 1 column 8 and line 1 column 14",
        "&x {ü: 1, ü: 2, self: *x}": "line 1 column 5 and line 1 column 11",
    }
    for text, places in cases.items():
        with pytest.raises(LensError) as refused:
            parse_yaml(text)
        message = f'the key "ü" comes twice in one object: {places}; keep one of them'
        assert str(refused.value) == message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES, st.sampled_from([None, 1]))
@example({'"': {"}": ["{", ":"]}}, None)
def test_what_has_no_key_twice_is_read_as_the_library_reads_it(
    value: object, indent: int | None
) -> None:
    text = json.dumps(value, indent=indent)
    assert parse_json(text) == value
    written = yaml.safe_dump(value)
    assert parse_yaml(written) == yaml.safe_load(written)


@pytest.mark.parametrize("name", ["own.JSON", "own.Json", "own.JSONL", "own.YAML", "own.Yml"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_byte_order_mark_and_any_case_of_the_ending(
    name: str, mark: bytes, tmp_path: Path
) -> None:
    text = PASS if name.endswith("L") and "JSON" in name else f'{{"passes": [{PASS}]}}'
    (tmp_path / name).write_bytes(mark + text.encode())
    (prompt,) = read_suite(tmp_path / name).passes
    assert (prompt.id, prompt.text, prompt.answer, prompt.join) == ("a", "b", "c", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("passes: [{id: a, context: b, answer: 2001-99-99}]", "month must be in 1..12"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_the_libraries_raise_becomes_one_error(
    text: str, message: str, tmp_path: Path
) -> None:
    for name in ("own.yaml", "own.json"):
        (tmp_path / name).write_text(text)
        with pytest.raises(LensError, match="cannot read the prompts of"):
            read_suite(tmp_path / name)


def test_join_is_a_space_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    entry = {"id": "a", "context": "b", "answer": "c"}
    path.write_text(json.dumps({"passes": [{**entry, "join": ""}, {**entry, "id": "b"}]}))
    assert [prompt.join for prompt in read_suite(path).passes] == ["", None]
    path.write_text(json.dumps({"passes": [{**entry, "join": "\n"}]}))
    message = r'passes\[0\] \(a/orig\): join: must be " " or "", what stands between context and answer, got "\\n"'
    with pytest.raises(LensError, match=message):
        read_suite(path)


def test_jobs_with_a_mark_and_with_a_key_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + b'\n{"model": "a", "model": "b"}')
    assert command_line.main(["batch", str(path)]) == 2
    message = (
        'the key "model" comes twice in one object: line 2 column 2 and line 2 column 16; keep one'
    )
    assert f"{path}:2: {message}" in capsys.readouterr().err
    path.write_bytes(codecs.BOM_UTF8 + b'# models\n{"model": "a", "model": "b"}')
    assert (
        command_line.main(["sweep", "--models", str(path), "--out-dir", str(tmp_path / "out")]) == 2
    )
    assert f"{path}:2: {message}" in capsys.readouterr().err


def test_repeated_keys_stand_in_the_order_in_which_they_first_come() -> None:
    with pytest.raises(LensError) as refused:
        parse_json('{"a": 1, "b": 1, "b": 2, "a": 2}')
    assert str(refused.value).splitlines() == [
        'the key "a" comes twice in one object: line 1 column 2 and line 1 column 26; keep one of them',
        'the key "b" comes twice in one object: line 1 column 10 and line 1 column 18; keep one of them',
    ]


def test_prompts_of_a_list_are_a_text_with_every_character_as_it_is() -> None:
    """The manifest of a run shows this text."""
    text = prompts_text([{"context": "Ça va à", "answer": "北京"}])
    assert text == '{"passes": [{"id": "1", "context": "Ça va à", "answer": "北京"}]}'
