"""The hidden folders of a run beside its outputs: the part that it writes, and its finished segments."""

import os
import time
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

import pytest

from lenses_min import LensError
from lenses_min.model.proof import Measured
from lenses_min.output import hidden, store
from lenses_min.output.battery.numbers import Numbers
from lenses_min.output.digest import Digest
from lenses_min.output.entries import json_parts
from lenses_min.output.run import Run
from lenses_min.output.segments import Segments, behind, opened

NUMBERS = Numbers(["p"], {}, {}, {}, {})


def segment(value: int) -> Run:
    return Run("M", {("notes", "norm"): [{"a": value}]}, {})


def digest_of(name: str, defects: list[str], agreement: list[Any], kl: float = 0.5) -> Digest:
    return Digest(
        defects=defects,
        blocks=[{"prompt_id": name}],
        prompts=[{"prompt_id": name, "token_ids": [1, 2]}],
        lenses={lens: {f"{name}/orig": {"L_copy": 3}} for lens in ("final", "raw")},
        agreement=agreement,
        measured=[Measured({"kl": kl}, [1, 2], {})],
    )


FIRST = digest_of("p", ["R15"], [])
SECOND = digest_of("q", ["R14", "R15"], [{"layer": 4}])


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Segments]:
    """A run at work that has two segments."""
    with opened(tmp_path, "M", {"seed": 1}) as segments:
        for number, digest in enumerate((FIRST, SECOND)):
            segments.add(number, segment(number), digest, NUMBERS)
        yield segments


def test_the_part_of_a_run_is_empty_at_first_and_gone_at_the_end(tmp_path: Path) -> None:
    """What an interrupted run left is deleted."""
    (tmp_path / ".M.part").mkdir()
    (tmp_path / ".M.part" / "half").touch()
    with store.part(tmp_path, "M") as stage:
        assert stage == tmp_path / ".M.part"
        assert list(stage.iterdir()) == []
        assert {path.name for path in tmp_path.iterdir()} == {".M.part", ".M.lock"}
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LensError) as refused, store.staged(tmp_path, "M"):
        raise OSError(28, "No space left on device")
    assert str(refused.value) == (
        f"could not write the outputs to {tmp_path}: No space left on device"
    )


def test_the_digest_of_all_segments(two: Segments) -> None:
    whole = two.digest(2)
    assert whole.defects == ["R14", "R15"]
    assert whole.agreement == [{"layer": 4}]
    assert whole.measured == [Measured({"kl": 0.5}, [1, 2], {})] * 2
    written = {"blocks": whole.blocks, "prompts": whole.prompts, "lenses": whole.lenses}
    of_both = {"p/orig": {"L_copy": 3}, "q/orig": {"L_copy": 3}}
    expected = {
        "blocks": [{"prompt_id": "p"}, {"prompt_id": "q"}],
        "prompts": [{"prompt_id": name, "token_ids": [1, 2]} for name in ("p", "q")],
        "lenses": {"final": of_both, "raw": of_both},
    }
    assert "".join(json_parts(written)) == store.json_text(expected)


def test_the_digest_of_one_segment(two: Segments) -> None:
    one = two.digest(1)
    assert (one.defects, one.agreement) == (["R15"], [])
    assert [*one.blocks] == FIRST.blocks
    assert {lens: dict(entries) for lens, entries in one.lenses.items()} == FIRST.lenses


def test_the_files_of_a_run_come_from_its_segments(two: Segments, tmp_path: Path) -> None:
    paths = two.publish(2, Run("M", {}, {}), {"passes": [1]}, {"seed": 1})
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    assert list(texts.items()) == [
        ("output-M-notes.csv", "a\n0\n1\n"),
        ("output-M.json", '{\n  "passes": [\n    1\n  ]\n}'),
        ("run-M.manifest.json", '{\n  "seed": 1\n}\n'),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {*texts}


def test_a_hidden_folder_that_cannot_be_deleted_is_no_error(
    two: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder of a network share, of which a file is open; the outputs are written all the same."""

    def busy(*path: Any, **options: Any) -> None:
        raise OSError(39, "Directory not empty")

    two_more = Segments(tmp_path, "M-2")
    two_more.folder.mkdir()
    two_more.add(0, segment(0), FIRST, NUMBERS)
    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", busy)
        for segments in (two, two_more):
            for path in segments.publish(1, Run(segments.name, {}, {}), {}, {}):
                assert path.is_file()
    assert {path.name for path in tmp_path.glob("run-*")} == {
        "run-M.manifest.json",
        "run-M-2.manifest.json",
    }


@pytest.mark.parametrize(("headed", "content"), [(True, b"a\n1\n2\n"), (False, b"a\n1\na\n2\n")])
def test_tables_one_behind_the_other_have_one_header(
    headed: bool, content: bytes, tmp_path: Path
) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    for number, file in enumerate(files, start=1):
        file.write_bytes(b"a\n%d\n" % number)
    assert b"".join(behind(files, headed)) == content


def test_a_segment_has_no_number_that_json_lacks(two: Segments) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        two.add(2, segment(2), digest_of("r", [], [], nan), NUMBERS)
    assert not two.has(2)


def test_segments_of_another_key_are_deleted(tmp_path: Path) -> None:
    with opened(tmp_path, "M", {"seed": 1}) as segments:
        segments.add(0, segment(0), FIRST, NUMBERS)
    for seed, kept in ((1, True), (2, False)):
        with opened(tmp_path, "M", {"seed": seed}) as segments:
            assert segments.has(0) is kept


def test_a_run_at_work_is_not_waited_for(
    two: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with (
        pytest.raises(LensError, match=f"^another run of M is at work in {tmp_path}; wait for it"),
        opened(tmp_path, "M", {"seed": 1}),
    ):
        pass
    hidden.discard_segments(tmp_path, "M")
    assert two.has(0)
    assert waits == []


def test_segments_that_cannot_be_written_are_one_clear_error(tmp_path: Path) -> None:
    """The folder of the outputs is a file, its key is a folder, or the segments' folder is gone."""
    (file := tmp_path / "file").touch()
    (tmp_path / "odd" / ".M.segments" / "key.json").mkdir(parents=True)
    for out, fault in ((file, "Not a directory"), (tmp_path / "odd", "Is a directory")):
        with pytest.raises(LensError) as refused, opened(out, "M", {}):
            pass
        assert str(refused.value) == f"could not write the outputs to {out}: {fault}"
    with pytest.raises(LensError) as refused:
        Segments(tmp_path, "gone").add(0, segment(0), FIRST, NUMBERS)
    assert str(refused.value) == (
        f"could not write the outputs to {tmp_path}: No such file or directory"
    )
