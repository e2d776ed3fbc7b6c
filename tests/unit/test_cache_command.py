"""`lenses-min cache`: the folder and its size; --clear removes it."""

from pathlib import Path

import pytest

from lenses_min.cli import command_line


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lenses-min"


def test_an_empty_cache(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--clear"]):
        assert command_line.main(["cache", *words]) == 0
    assert capsys.readouterr().out == f"{cache}: 0 MB\n{cache}: removed 0 MB\n"


def test_a_cache_is_listed_and_removed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / "gguf" / "a").mkdir(parents=True)
    (cache / "gguf" / "a" / "model.safetensors").write_bytes(bytes(3_000_000))
    (cache.parent / "other").write_text("stays")
    assert command_line.main(["cache"]) == 0
    assert command_line.main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"{cache}: 3 MB\n{cache}: removed 3 MB\n"
    assert [path.name for path in cache.parent.iterdir()] == ["other"]


def test_a_cache_that_cannot_be_removed(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir()

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", denied)
    assert command_line.main(["cache", "--clear"]) == 1
    assert capsys.readouterr().err == (
        f"lenses-min: error: cannot empty {cache}: Permission denied; remove it by hand\n"
    )
