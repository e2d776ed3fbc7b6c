"""A fit draws its bars and spinners on standard error alone, and only where that is a terminal."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from lenses_min import LensError, RunOptions
from lenses_min.cli import command_line
from lenses_min.fit import prism, progress
from lenses_min.model import load as loading
from tests.terminal import Terminal

STREAMS = pytest.mark.parametrize("stream", [Terminal, io.StringIO])


@STREAMS
def test_bars_are_drawn_on_a_terminal_alone(
    stream: type[io.StringIO], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress.tracked([3, 4], "residuals")) == [3, 4]
    with progress.steps() as bar:
        task = bar.add_task("loss", total=7)
        bar.advance(task, 2)
    drawn = stderr.getvalue()
    if stderr.isatty():
        assert "residuals" in drawn
        assert "loss" in drawn
        assert "2/7" in drawn
    else:
        assert drawn == ""
    assert capsys.readouterr().out == ""


def test_a_bar_over_sequences_is_erased_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    list(progress.tracked([3, 4], "residuals"))
    _, _, behind = stderr.getvalue().rpartition("residuals")
    assert "\x1b[1A\x1b[2K" in behind, "a line up, and that line is erased"


def test_a_bar_counts_the_sequences_whose_residuals_prism_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bars: list[tuple[str, int]] = []

    def tracked(items: list[list[int]], description: str) -> list[list[int]]:
        bars.append((description, len(items)))
        return []

    monkeypatch.setattr(prism, "tracked", tracked)
    no_model: Any = None
    assert list(prism.normed_rows(no_model, [[1], [2]], [0])) == []
    assert bars == [("residuals", 2)]


@STREAMS
def test_a_spinner_names_the_model_that_is_loaded(
    stream: type[io.StringIO],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(options: RunOptions) -> None:
        raise LensError("mend it")

    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(loading, "load", refuse)
    text = tmp_path / "text.txt"
    text.touch()
    assert command_line.main(["fit", "prism", "m", "--out", "o", "--text", str(text)]) == 1
    assert ("loading m" in stderr.getvalue()) == stderr.isatty()
    assert capsys.readouterr().out == ""
