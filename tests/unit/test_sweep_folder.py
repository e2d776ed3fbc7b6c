"""The folder of a sweep: how it is opened, gone on with, and tidied."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from lenses_min import LensError, RunOptions
from lenses_min.output.manifest import versions
from lenses_min.output.store import write_text
from lenses_min.sweep import folder as folders

OPTIONS = RunOptions("org/m", device="cpu")
LATEST = folders.LATEST


def test_only_an_object_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for content, expected in (('{"a": 1}', {"a": 1}), ("[1]", {}), ("{", {})):
        path.write_text(content, encoding="utf-8")
        assert folders.read_json(path) == expected


def test_the_folders_above_a_sweep_are_made_and_may_be_there(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / LATEST
    for _ in range(2):
        with folders.opened(folder, [], False) as remaining:
            assert remaining == []
            assert folder.is_dir()


def test_a_second_sweep_in_a_folder_is_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with (
        FileLock(tmp_path / f".{LATEST}.lock"),
        pytest.raises(LensError, match="another sweep is at work"),
        folders.opened(tmp_path / LATEST, [], False),
    ):
        pass
    assert waits == []


def test_a_sweep_that_goes_on_keeps_the_time_of_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, starts = tmp_path / LATEST, []
    for time_of_start in ("2026-11-24T12:34:56+00:00", "2026-11-25T12:34:56+00:00"):
        monkeypatch.setattr(folders, "now", lambda now=time_of_start: now)
        with folders.opened(folder, [OPTIONS], False):
            starts.append(folders.read_json(folder / folders.MANIFEST)["started_at"])
    assert starts == ["2026-11-24T12:34:56+00:00"] * 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("gone"), "gone"),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_error_with_the_reason(
    error: OSError, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> None:
        raise error

    monkeypatch.setattr(folders, "write", refuse)
    folder = tmp_path / LATEST
    with pytest.raises(LensError) as refused, folders.opened(folder, [], False):
        pass
    assert str(refused.value) == f"cannot write to {folder}: {reason}; give another --out-dir"


def test_a_folder_without_jobs_is_not_gone_on_with() -> None:
    manifest: dict[str, Any] = {"finished_at": None, "versions": {"torch": "2"}, "jobs": {"m": {}}}
    assert folders.can_resume(manifest, manifest)
    earlier = {"finished_at": None, "versions": {"torch": "2"}}
    assert not folders.can_resume(earlier, manifest)


def test_an_earlier_sweep_is_named_by_its_time_in_utc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / LATEST
    folder.mkdir()
    write_text(folder / folders.MANIFEST, '{"started_at": "2026-11-24T01:30:00+02:00"}')
    try:
        with monkeypatch.context() as here:
            here.setenv("TZ", "XYZ-9")
            time.tzset()
            assert folders.rotate(folder).name == "run-2026-11-23-23-30"
    finally:
        time.tzset()


def test_a_run_without_marks_of_its_inputs_is_not_complete(tmp_path: Path) -> None:
    manifest = {"options": asdict(OPTIONS), "versions": versions()}
    write_text(tmp_path / "output-m.json", "{}")
    for inputs, expected in (({"inputs": {"model": "0" * 40}}, True), ({}, False)):
        write_text(tmp_path / "run-m.manifest.json", json.dumps(manifest | inputs))
        assert folders.complete(tmp_path, OPTIONS) is expected


def test_hidden_files_and_folders_go_and_others_stay(tmp_path: Path) -> None:
    for name in (".part", "part"):
        (tmp_path / name).mkdir()
        write_text(tmp_path / f"{name}.json", "{}")
    folders.clean_up(tmp_path, [])
    assert sorted(os.listdir(tmp_path)) == ["part", "part.json"]
