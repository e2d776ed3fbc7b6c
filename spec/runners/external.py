"""Run an external run.py in its own interpreter, in worker processes of some cases each, and report every failure.

Cases with the same environment variables share a process, since importing TransformerLens takes longer than a tiny
case; several workers take a part of the cases each. If a process dies, only the case that was running fails; a new
process runs the rest of its cases.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Any

from ..errors import SpecError
from ..golden import Case
from .command import Outcome, job, log_tail, write_jobs
from .shares import divide, group_by_environment

WORKER = Path(__file__).with_name("worker.py")
LOG = "worker.log"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # of torch: another number rounds otherwise
POLL = 0.05  # seconds
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TQDM_DISABLE": "1"}


@dataclass(frozen=True)
class ExternalRunner:
    """An external run.py, the interpreter that runs it, and the seconds that a case may take.

    At most `jobs` processes run at a time, each with one torch thread unless OMP_NUM_THREADS is set: what they write
    does not depend on `jobs`.
    """

    run_py: Path
    python: Path
    timeout: float = 600.0
    jobs: int = 1

    def __post_init__(self) -> None:
        problems = []
        if not (self.run_py.is_file() and self.run_py.suffix == ".py"):
            problems.append(f"--run-py: no Python file at {self.run_py}; give the path of a run.py")
        if not os.access(self.python, os.X_OK) or self.python.is_dir():
            problems.append(
                f"--python: no interpreter at {self.python}; give one that has torch, transformer-lens 2.16.1 and "
                "transformers < 5, as scripts/setup_reference_env.sh makes it"
            )
        if not self.timeout > 0:
            problems.append(
                f"--timeout: seconds must be > 0, got {self.timeout}; give a positive number"
            )
        if self.jobs < 1:
            problems.append(f"--jobs takes a number from 1 on, got {self.jobs}")
        if problems:
            raise SpecError("\n".join(problems))


@dataclass(frozen=True)
class ExternalResult:
    """The outcome with its problems per case, the seconds of each case, and the provenance of the worker."""

    outcome: Outcome
    seconds: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))


Part = tuple[
    list[dict[str, Any]], dict[str, str]
]  # of one worker: its events, the problem of each case


def run_external(
    runner: ExternalRunner,
    cases: Sequence[Case],
    golden: Path,
    folders: Mapping[str, Path],
    work: Path,
) -> ExternalResult:
    """Run every case; each writes into its folder of `folders`, logs and events go to `work`.

    Raises SpecError where the interpreter cannot be started.
    """
    started = time.monotonic()
    shares = divide(group_by_environment(cases), runner.jobs)
    stopped = Event()
    workers = [
        Worker(runner, golden, folders, work / f"worker-{i + 1}", stopped)
        for i in range(len(shares))
    ]
    with ThreadPoolExecutor(runner.jobs) as pool:
        try:
            parts = list(pool.map(Worker.run, workers, shares))
        finally:
            stopped.set()
    events = [event for part_events, _ in parts for event in part_events]
    ended = {name: problem for _, part in parts for name, problem in part.items()}
    problems = {case.name: ended[case.name] for case in cases if ended[case.name]}
    logs = [worker.work / LOG for worker in workers]
    join(logs, work / LOG)
    failed = [log for log, (_, part) in zip(logs, parts, strict=True) if any(part.values())]
    tail = log_tail(failed[0]) if failed else ""
    outcome = Outcome(0, tail, time.monotonic() - started, problems)
    seconds = {event["case"]: event["seconds"] for event in events if event["event"] == "end"}
    provenances = [event for event in events if event["event"] == "provenance"]
    return ExternalResult(outcome, seconds, merge_provenances(provenances))


def join(logs: Sequence[Path], whole: Path) -> None:
    """Write the logs of all workers to one file."""
    with whole.open("wb") as joined:
        for log in logs:
            with log.open("rb") as stream:
                shutil.copyfileobj(stream, joined)


@dataclass(frozen=True)
class Worker:
    """Runs cases in one process after the other until `stopped`; logs and events go to `work`."""

    runner: ExternalRunner
    golden: Path
    folders: Mapping[str, Path]
    work: Path
    stopped: Event

    def run(self, groups: Sequence[Sequence[Case]]) -> Part:
        """Run groups of one environment each, a process for each of them and after each death."""
        self.work.mkdir()
        events: list[dict[str, Any]] = []
        problems: dict[str, str] = {}
        for group in groups:
            waiting = group
            while waiting and not self.stopped.is_set():
                new_events, ending = self.run_process(waiting)
                events += new_events
                problems |= finished_cases(waiting, new_events, ending)
                waiting = [case for case in waiting if case.name not in problems]
        return events, problems

    def run_process(self, cases: Sequence[Case]) -> tuple[list[dict[str, Any]], str]:
        """Run one process on cases of one environment; return its events and a phrase on how it ended.

        Raises SpecError where the interpreter cannot be started.
        """
        jobs, events = self.work / "jobs.jsonl", self.work / "events.jsonl"
        events.unlink(missing_ok=True)
        lines = ({"case": c.name, **job(c, self.golden, self.folders[c.name])} for c in cases)
        write_jobs(jobs, lines)
        working_directory = self.work / "cwd"
        working_directory.mkdir(exist_ok=True)
        try:
            with (self.work / LOG).open("ab") as log:
                process = subprocess.Popen(
                    worker_command(self.runner, jobs, events),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=working_directory,
                    env=environment(cases[0]),
                )
        except OSError as error:
            raise SpecError(
                f"cannot start {self.runner.python}: {error.strerror}; give a Python interpreter"
            ) from error
        with process:
            try:
                in_time = self.wait(process, events, len(cases))
            finally:
                process.kill()
        status = process.returncode
        ending = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        late = f"took longer than {self.runner.timeout:g} s a case"
        return read_events(events), ending if in_time else late

    def wait(self, process: subprocess.Popen[bytes], events: Path, cases: int) -> bool:
        """Wait for a process; False where a case took too long, or the imports as long as `cases` of them may."""
        timeout = self.runner.timeout
        size, limit = 0, time.monotonic() + timeout * cases
        while time.monotonic() < limit and not self.stopped.is_set():
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
                return True
            written = events.stat().st_size if events.exists() else 0
            if written != size:
                size, limit = written, time.monotonic() + timeout
        return False


def finished_cases(
    waiting: Sequence[Case], events: Sequence[Mapping[str, Any]], ending: str
) -> dict[str, str]:
    """Return the problem ("" for none) of each case that ended, and of the case in which the process died."""
    if not events:
        return {case.name: f"run.py could not be loaded: it {ending}" for case in waiting}
    ended = {event["case"]: event["problem"] for event in events if event["event"] == "end"}
    begun = {
        event["case"]: f"run.py {ending} in this case"
        for event in events
        if event["event"] == "start"
    }
    return begun | ended


def worker_command(runner: ExternalRunner, jobs: Path, events: Path) -> list[str]:
    """Return the worker's command line; the interpreter stays a symlink, as a virtual environment needs."""
    paths = (runner.run_py.resolve(), jobs.resolve(), events.resolve())
    return [str(runner.python.absolute()), str(WORKER), *map(str, paths)]


def environment(case: Case) -> dict[str, str]:
    """Return the caller's environment without LOGOS_RAW_LENS and PYTHONPATH, offline, with the case's variables.

    Torch has one thread where the caller does not say otherwise.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in ("LOGOS_RAW_LENS", "PYTHONPATH")}
    return {**ONE_THREAD, **inherited, **OFFLINE, **case.env}


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read the worker's events; an incomplete last line is dropped."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def merge_provenances(events: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Merge the provenance events of several processes of one run.py; None where no process reported one."""
    if not events:
        return None
    modules = {name: digest for event in events for name, digest in event["modules"].items()}
    return {
        **{k: v for k, v in events[0].items() if k != "event"},
        "modules": dict(sorted(modules.items())),
    }
