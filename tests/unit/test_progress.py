"""What a run draws on a terminal, letter for letter, and where it draws nothing."""

import sys

import pytest

from lenses_min.pipeline import progress
from tests.terminal import Terminal


@pytest.fixture(autouse=True)
def warnings_are_printed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "lenses_min")


def test_a_bar_counts_passes_and_is_blank_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", drawn := Terminal())
    with progress.bar(3):
        pass
    line = "  0%|          | 0/3 [00:00<?, ?pass/s]"
    assert drawn.getvalue().split("\r") == ["", line, " " * len(line), ""]


def test_a_stage_is_its_text_alone_and_is_blank_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", drawn := Terminal())
    with progress.stage("loading m"):
        assert drawn.getvalue() == "\rloading m"
    assert drawn.getvalue() == "\rloading m\r         \r"


@pytest.mark.parametrize(("level", "hidden"), [("INFO", None), ("WARNING", None), ("ERROR", True)])
def test_nothing_is_drawn_where_only_errors_are_printed(
    level: str,
    hidden: bool | None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None leaves it to tqdm, which draws on terminals alone."""
    monkeypatch.setattr(sys, "stderr", drawn := Terminal())
    caplog.set_level(level, "lenses_min")
    assert progress.hidden() is hidden
    with progress.stage("loading m"), progress.bar(3):
        pass
    assert (drawn.getvalue() == "") == bool(hidden)
