"""What a sweep prints while it runs and at its end, letter for letter; a clock that is set stands for time."""

import io
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lenses_min import LensError, RunOptions
from lenses_min.sweep import folder as folders
from lenses_min.sweep import summary, sweep
from lenses_min.sweep.engines import Job, Outcome
from tests.terminal import Terminal

FOLDER = Path("out", "long" * 30)
SECONDS = 100  # that a run takes
ENGINE: Any = None


class Sweep:
    """Runs that take their time and end as they are listed: the models, what they print, and their errors."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, complete: Sequence[str]) -> None:
        self.time, self.complete = 0.0, complete
        self.outputs = {"[b]a": "said", "b": "hidden", "c": "", "d": "", "e": ""}
        self.errors = {"b": "no room"}
        self.out, self.err = (
            Console(file=io.StringIO(), width=100, get_time=lambda: self.time, markup=False)
            for _ in range(2)
        )
        monkeypatch.setattr(folders, "opened", self.opened)
        monkeypatch.setattr(folders, "store_outputs", lambda *given: None)
        monkeypatch.setattr(summary, "update", self.rows)
        monkeypatch.setattr(sweep, "outcomes", self.outcomes)

    @contextmanager
    def opened(self, folder: Path, runs: Any, fresh: bool) -> Iterator[list[RunOptions]]:
        yield [run for run in runs if run.model_id not in self.complete]

    def rows(self, folder: Path, runs: Sequence[RunOptions]) -> list[dict[str, Any]]:
        return [
            {"model_id": name, "status": "failed" if error else "done", "error": error}
            for name in (run.model_id for run in runs)
            for error in [self.errors.get(name)]
        ]

    def outcomes(self, engine: Any, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        for job in jobs:
            self.time += SECONDS
            yield job, Outcome(0, self.outputs[job.options.model_id])

    def run(self) -> int:
        jobs = [
            Job(RunOptions(name, model_id=name, device="cpu"), verbose=name != "b")
            for name in self.outputs
        ]
        return sweep.runs(jobs, nullcontext(ENGINE), FOLDER, False, self.out, self.err)

    def printed(self) -> tuple[list[str], list[str]]:
        out, err = (console.file for console in (self.out, self.err))
        assert isinstance(out, io.StringIO)
        assert isinstance(err, io.StringIO)
        return out.getvalue().splitlines(), err.getvalue().splitlines()


def test_a_sweep_prints_each_run_as_it_ends_with_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All runs count for the estimate, however long ago; one that was complete before takes no time."""
    of = Sweep(monkeypatch, complete=["e"])
    assert of.run() == 1
    out, err = of.printed()
    assert err == [
        "1 of 5 runs are complete already",
        "[b]a: done; about 0:05:00 left",
        "said",
        "b: no room; about 0:03:20 left",
        "c: done; about 0:01:40 left",
        "d: done",
        f"{'━' * 40} 5/5 0:06:40 left: 0:00:00",
    ]
    assert out[-2:] == ["", f"{FOLDER}/summary.csv"], "a path stays on one line"
    assert [line.split()[0] for line in out[1:-2]] == ["[b]a", "b", "c", "d", "e"]


def test_a_new_sweep_prints_no_count_of_complete_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Sweep(monkeypatch, complete=[])
    of.run()
    assert of.printed()[1][0] == "[b]a: done; about 0:06:40 left"


def test_a_sweep_of_complete_runs_ends_with_their_table(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Sweep(monkeypatch, complete=["[b]a", "b", "c", "d", "e"])
    of.errors = {}
    assert of.run() == 0
    out, err = of.printed()
    assert err[0] == "5 of 5 runs are complete already"
    assert [line.split()[:2] for line in out[1:-2]] == [[name, "done"] for name in of.outputs]


@pytest.mark.parametrize(
    ("error", "left", "expected"),
    [
        (None, None, "org/m: done"),
        (None, 0.0, "org/m: done"),
        (None, 61.6, "org/m: done; about 0:01:02 left"),
        ("no room", 86400.0, "org/m: no room; about 1 day, 0:00:00 left"),
    ],
)
def test_the_line_of_a_run_that_ends(error: str | None, left: float | None, expected: str) -> None:
    row = {"model_id": "org/m", "status": "done", "error": error}
    assert sweep.sentence(row, left) == expected


def test_a_run_whose_worker_is_lost_has_failed() -> None:
    future: Future[Outcome] = Future()
    future.set_exception(RuntimeError("gone"))
    assert sweep.outcome_of(future) == Outcome(1, "RuntimeError: gone")


def args(**more: Any) -> Namespace:
    given = {"out_dir": "there", "quiet": False, "self_test": False, "fresh": False}
    return Namespace(**{**given, **more})


@pytest.fixture
def printing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Runs that only print; the widths of their consoles."""
    widths: list[int] = []

    def runs(jobs: Any, engine: Any, folder: Path, fresh: bool, *consoles: Console) -> int:
        for name, console in zip(("out", "err"), consoles, strict=True):
            console.print(f"[b]{name}[/b] 12 'a' /b")
            widths.append(console.width)
        return 0

    monkeypatch.setattr(sweep, "jobs_of", lambda *given: [])
    monkeypatch.setattr(sweep, "engine_of", lambda *given: None)
    monkeypatch.setattr(sweep, "runs", runs)
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": "90", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    return widths


@pytest.mark.parametrize(
    ("stream", "width", "quiet"),
    [(Terminal, 90, False), (io.StringIO, sweep.WIDTH, False), (Terminal, 90, True)],
)
def test_texts_are_printed_as_they_are_in_the_width_of_the_terminal_and_quietly_not_at_all(
    stream: type[io.StringIO],
    width: int,
    quiet: bool,
    printing: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Brackets are no markup, and numbers and paths have no colour."""
    monkeypatch.setattr(sys, "stdout", out := stream())
    monkeypatch.setattr(sys, "stderr", err := stream())
    assert sweep.sweep(args(quiet=quiet)) == 0
    texts = [f"[b]{name}[/b] 12 'a' /b\n" for name in ("out", "err")]
    assert [out.getvalue(), err.getvalue()] == (["", ""] if quiet else texts)
    assert printing == [width, width]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (
            KeyboardInterrupt(),
            130,
            "stopped; there/run-latest keeps what is complete, and the same command goes on from there\n",
        ),
        (LensError("no room"), 1, "lenses-min: error: no room\n"),
    ],
)
def test_a_sweep_that_is_stopped_or_refused_ends_with_one_line(
    error: BaseException,
    status: int,
    text: str,
    printing: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*given: Any) -> int:
        raise error

    monkeypatch.setattr(sweep, "runs", stop)
    assert sweep.sweep(args()) == status
    assert capsys.readouterr() == ("", text)


def test_this_machine_runs_as_many_jobs_at_a_time_as_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(sweep, "local", counts.append)
    sweep.engine_of(Namespace(engine="local", jobs=3))
    assert counts == [3]


def test_a_run_without_warnings_has_an_empty_last_cell() -> None:
    stream = io.StringIO()
    row = {"model_id": "tiny/A", "status": "done", "warnings": None}
    Console(file=stream, width=160).print(summary.table([row]))
    assert stream.getvalue().splitlines()[1].split() == ["tiny/A", "done", *["-"] * 9]


def test_on_a_terminal_every_head_of_the_table_is_bold_with_its_blanks() -> None:
    stream = io.StringIO()
    row = {"model_id": "tiny/Abc", "status": "done", "n_layers": 12, "warnings": "a longer remark"}
    out = Console(file=stream, width=160, force_terminal=True, color_system="standard")
    out.print(summary.table([row]))
    heads = re.findall("\x1b\\[1m([^\x1b]*)\x1b\\[0m", stream.getvalue().splitlines()[0])
    texts = [head for head in heads if head.strip()]
    assert texts[:3] == ["model   ", "status", "layers"]
    assert texts[-1] == "warnings       "
