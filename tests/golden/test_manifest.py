"""golden/ is what its manifest says, and every way to break it is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spec.errors import SpecError
from spec.golden import GOLDEN, MANIFEST, build_manifest, load_cases, read_manifest, select, verify


def test_every_hash_holds_and_no_file_is_unlisted() -> None:
    assert verify() == []
    assert len(load_cases()) >= 20
    assert {case.name for case in load_cases().values()} == {path.name for path in (GOLDEN / "outputs").iterdir()}


def test_provenance_stands_in_the_manifest() -> None:
    assert read_manifest()["provenance"]["as_of"] == "2025-09-06"
    assert read_manifest()["provenance"]["transformer-lens"] == "2.16.1"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    golden = tmp_path / "golden"
    shutil.copytree(GOLDEN / "outputs" / "fact", golden / "outputs" / "fact")
    shutil.copy(GOLDEN / "cases.json", golden)
    (golden / MANIFEST).write_text(json.dumps(build_manifest(golden)), encoding="utf-8")
    assert verify(golden) == []
    return golden


def tamper(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"0.8179", b"0.8178", 1))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (
            lambda g: (g / "outputs/fact/output-Fact.json").unlink(),
            "outputs/fact/output-Fact.json is listed but missing",
        ),
        (lambda g: (g / "outputs/fact/more.csv").touch(), "outputs/fact/more.csv is not listed"),
        (lambda g: tamper(g / "outputs/fact/output-Fact-pure-next-token.csv"), "pure-next-token.csv was changed"),
        (
            lambda g: (g / "cases.json").write_text('{"cases": {}}'),
            "the cases of the manifest are not those of cases.json",
        ),
    ],
)
def test_each_harm_is_told(copy: Path, harm: Callable[[Path], object], told: str) -> None:
    harm(copy)
    assert any(told in problem for problem in verify(copy))


def test_a_missing_manifest_and_an_unknown_case(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*MANIFEST.json.*restore it"):
        verify(tmp_path)
    with pytest.raises(SpecError, match="unknown case facts; known cases: rms-rope, "):
        select(load_cases(), ["facts"])
