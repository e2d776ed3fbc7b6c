"""The processes and jobs of a sweep, one by one. No process is started and no model is read."""

import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.cli import command_line
from lenses_min.pipeline.segmented import Share
from lenses_min.sweep import __main__ as worker
from lenses_min.sweep import engines
from lenses_min.sweep import job as jobs
from lenses_min.sweep.engines import Job, Local, Outcome
from lenses_min.sweep.jobs import jobs_of

OPTIONS = RunOptions("org/m", out_dir="there", device="cpu", lenses=("raw",), copy_threshold=0.5)


def engine(**more: Any) -> Local:
    """An engine whose pool is not used."""
    pool: Any = None
    return Local(pool, 7, **more)


@pytest.mark.parametrize(
    ("job", "called"),
    [
        (Job(OPTIONS), ("run", OPTIONS, False, Path("parts"))),
        (Job(OPTIONS, share=(1, 3)), ("share", OPTIONS, Path("parts"), 1, 3)),
        (Job(OPTIONS, self_test=True), ("self_test", OPTIONS)),
    ],
)
def test_a_job_reaches_its_process_and_the_output_comes_back(
    job: Job, called: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands for the process does in this one what its command names."""
    calls: list[tuple[Any, ...]] = []
    given: dict[str, Any] = {}

    def process(command: Sequence[str], **settings: Any) -> "subprocess.CompletedProcess[str]":
        *start, text = command
        assert start == [sys.executable, "-m", "lenses_min.sweep"]
        given.update(settings)
        return subprocess.CompletedProcess(command, worker.perform(json.loads(text)), "a\n", "b\n")

    for name in ("run", "share", "self_test"):

        def end(*values: Any, name: str = name) -> int:
            calls.append((name, *values))
            return 3

        monkeypatch.setattr(worker, name, end)
    monkeypatch.setattr(subprocess, "run", process)
    outcome = engine(directory="d", environment={"A": "B"}).perform(job, Path("parts"))
    assert outcome == Outcome(3, "a\nb")
    assert calls == [called]
    assert given == {
        "stdin": 7,
        "capture_output": True,
        "text": True,
        "errors": "replace",
        "cwd": "d",
        "env": {"A": "B"},
    }


@pytest.mark.parametrize("verbose", [False, True])
def test_a_process_is_as_verbose_as_its_job(verbose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[dict[str, Any]] = []

    def process(command: Sequence[str], **settings: Any) -> Any:
        read.append(json.loads(command[-1]))
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    monkeypatch.setattr(subprocess, "run", process)
    engine().perform(Job(OPTIONS, verbose=verbose), Path("parts"))
    assert [settings["verbose"] for settings in read] == [verbose]


@pytest.mark.parametrize(("folder", "expected"), [(None, "there"), (Path("parts"), "parts")])
def test_a_job_writes_into_the_folder_that_is_given_or_its_own(
    folder: Path | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Local, "perform", lambda of, job, folder: Outcome(0, str(folder)))
    with engines.local(1) as running:
        assert running.submit(Job(OPTIONS), folder).result() == Outcome(0, expected)


def test_on_leaving_what_runs_is_ended_and_what_waits_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run ends when its standard input does; the engine is left when it has."""

    def run_until_the_end_of_input(of: Local, job: Job, folder: Path) -> Outcome:
        ready, _, _ = select.select([of.tied], [], [], 0.5)
        time.sleep(0.05)
        return Outcome(0, "ended" if ready else "still at work")

    monkeypatch.setattr(Local, "perform", run_until_the_end_of_input)
    futures: list[Future[Outcome]] = []
    with engines.local(2) as running:
        futures += [running.submit(Job(OPTIONS)) for _ in range(4)]
    assert [future.done() for future in futures] == [True] * 4
    assert [future.cancelled() for future in futures] == [False, False, True, True]
    assert [future.result().output for future in futures[:2]] == ["ended", "ended"]


def test_a_share_is_written_and_a_failure_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[tuple[Any, ...]] = []

    def refuse(*given: Any) -> None:
        raise LensError("no room")

    monkeypatch.setattr(pipeline, "write_share", lambda *given: written.append(given))
    assert jobs.share(OPTIONS, Path("parts"), 1, 3) == 0
    assert written == [(OPTIONS, Path("parts"), Share(1, 3))]
    monkeypatch.setattr(pipeline, "write_share", refuse)
    assert jobs.share(OPTIONS, Path("parts"), 1, 3) == 1
    assert capsys.readouterr().err == "lenses-min: error: org/m: no room\n"


def test_a_run_logs_its_start_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finished = SimpleNamespace(manifest={"elapsed_s": 1.5})
    monkeypatch.setattr(pipeline, "write", lambda *given: (finished, []))
    caplog.set_level("INFO", "lenses_min")
    assert jobs.perform(OPTIONS, False, tmp_path) == 0
    assert caplog.messages == ["org/m: starting", "org/m: done in 1.5 s"]


def read(*line: str) -> list[Job]:
    return jobs_of(command_line.parser().parse_args(["sweep", *line]), Path("x"))


def test_a_fault_of_a_model_on_the_command_line_has_no_place() -> None:
    with pytest.raises(LensError, match=r"^model must be a Hugging Face id, .* an empty string$"):
        read("")


def test_a_name_in_a_list_may_have_blanks_before_its_comment(tmp_path: Path) -> None:
    path = tmp_path / "models"
    path.write_text("a model  # mine\n", encoding="utf-8")
    assert [job.options.model for job in read("--models", str(path))] == ["a model"]


def test_a_model_may_not_have_the_name_of_the_failure_of_another() -> None:
    """The failure of `a` is written to `output-a.error.json`, as the document of `a.error` is."""
    with pytest.raises(LensError, match=r"^a and a.error would write to the same files"):
        read("a", "a.error")
