"""golden/ matches its manifest, and every way to break it is reported."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from spec.__main__ import main
from spec.errors import SpecError
from spec.golden import (
    CORRECTED,
    GOLDEN,
    LINE_ENDS,
    MANIFEST,
    build_manifest,
    file_hashes,
    load_cases,
    read_manifest,
    require_intact,
    select,
    verify,
)


def test_every_hash_holds_and_no_file_is_unlisted() -> None:
    assert verify() == []
    assert len(load_cases()) >= 28
    assert {case.name for case in load_cases().values()} == {
        path.name for path in (GOLDEN / "outputs").iterdir()
    }


def test_provenance_stands_in_the_manifest() -> None:
    assert read_manifest()["provenance"]["as_of"] == "2025-09-06"
    assert read_manifest()["provenance"]["transformer-lens"] == "2.16.1"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small golden/: one case under both contracts, one model, all cases."""
    golden = tmp_path / "golden"
    for folder in ("outputs/fact", f"{CORRECTED}/fact", "models/rms-rope"):
        shutil.copytree(GOLDEN / folder, golden / folder)
    shutil.copy(GOLDEN / "cases.json", golden)
    (golden / MANIFEST).write_text(json.dumps(build_manifest(golden)), encoding="utf-8")
    listed = json.dumps({"files": file_hashes(golden / CORRECTED)})
    (golden / CORRECTED / MANIFEST).write_text(listed, encoding="utf-8")
    assert verify(golden) == []
    return golden


def tamper(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"0.8179", b"0.8178", 1))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda g: (g / "outputs/fact/output-Fact.json").unlink(),
            "outputs/fact/output-Fact.json is listed but missing",
        ),
        (lambda g: (g / "outputs/fact/more.csv").touch(), "outputs/fact/more.csv is not listed"),
        (
            lambda g: tamper(g / "outputs/fact/output-Fact-pure-next-token.csv"),
            "pure-next-token.csv was changed",
        ),
        (
            lambda g: (g / "cases.json").write_text('{"cases": {}}'),
            "the cases of the manifest are not those of cases.json",
        ),
        (
            lambda g: (g / CORRECTED / "fact/output-Fact.json").unlink(),
            "corrected/fact/output-Fact.json is listed but missing",
        ),
        (
            lambda g: tamper(g / CORRECTED / "fact/output-Fact-records.csv"),
            "corrected/fact/output-Fact-records.csv was changed",
        ),
    ],
)
def test_each_harm_is_reported(copy: Path, harm: Callable[[Path], object], message: str) -> None:
    harm(copy)
    assert any(message in problem for problem in verify(copy))
    with pytest.raises(
        SpecError, match=r"is not what was captured: .*; restore it from version control"
    ):
        require_intact(copy)


def test_hidden_files_are_no_captures(copy: Path) -> None:
    (copy / "outputs" / ".DS_Store").write_bytes(b"x")
    assert verify(copy) == []


def git(*words: str, at: Path) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(at), *who, *words], check=True, capture_output=True)


def clone(folder: Path, line_ends: str) -> Path:
    """Commit a folder unchanged, then clone it under `core.autocrlf`; returns the clone."""
    git("init", "-q", at=folder)
    git("config", "core.autocrlf", "false", at=folder)
    git("add", "-A", "-f", at=folder)
    git("commit", "-qm", "all", at=folder)
    target = folder.parent / f"{folder.name}-{line_ends}"
    git("-c", f"core.autocrlf={line_ends}", "clone", "-q", str(folder), str(target), at=folder)
    return target


def odd_texts(golden: Path) -> None:
    """Texts with every kind of line end and odd bytes, which git takes for text or for binary."""
    for name, content in {
        "crlf": b"a\r\nb\r\n",
        "mixed": b"a\r\nb\n",
        "bare": b"a\rb\n",
        "nul": b"\0\r\n",
    }.items():
        (golden / "outputs" / f"{name}.csv").write_bytes(content)
    (golden / MANIFEST).write_text(json.dumps(build_manifest(golden)), encoding="utf-8")


@pytest.mark.parametrize("line_ends", ["true", "input", "false"])
def test_a_clone_has_the_captured_bytes_whatever_the_line_ends(copy: Path, line_ends: str) -> None:
    odd_texts(copy)
    shutil.copy(GOLDEN.parent / ".gitattributes", copy.parent)
    golden = clone(copy.parent, line_ends) / "golden"
    assert verify(golden) == []


def test_other_line_ends_are_reported_in_one_line(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = clone(copy.parent, "true") / "golden"
    assert verify(golden) == [LINE_ENDS]
    for command in (["check", "fact"], ["check", "fact", "--contract", "corrected"], ["audit"]):
        for module in ("spec.commands.check", "spec.golden"):
            monkeypatch.setattr(f"{module}.GOLDEN", golden)
        assert main(command) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err == f"spec: error: {LINE_ENDS}\n"
    (golden / "outputs/fact/output-Fact.json").unlink()
    assert verify(golden) == [LINE_ENDS, "outputs/fact/output-Fact.json is listed but missing"]


def test_a_missing_manifest_and_an_unknown_case(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*MANIFEST.json.*restore it"):
        verify(tmp_path)
    with pytest.raises(SpecError, match="unknown case facts; known cases: rms-rope, "):
        select(load_cases(), ["facts"])
