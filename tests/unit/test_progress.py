"""What a run draws on a terminal, letter for letter, and where it draws nothing."""

import io
import sys
from typing import Any

import pytest
from tqdm import tqdm

from lenses_min.pipeline import progress
from lenses_min.process import silence_transformers
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


def test_bars_of_the_package_are_drawn_and_those_of_libraries_are_not() -> None:
    own: Any = type("Own", (tqdm,), {"__module__": "lenses_min.fit.tuned"})
    with silence_transformers():
        bars = [kind(file=io.StringIO(), disable=False) for kind in (own, tqdm)]
    assert [bar.disable for bar in bars] == [False, True]
    bars[0].close()
