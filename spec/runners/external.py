"""Run an external run.py in its own interpreter, in one worker process per group of cases, and report every failure.

Cases with the same environment variables share a process, since importing TransformerLens takes longer than a tiny
case. If a process dies, only the case that was running fails; a new process runs the rest of its group.
"""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import SpecError
from ..golden import Case
from .command import Outcome, job, log_tail, write_jobs

WORKER = Path(__file__).with_name("worker.py")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TQDM_DISABLE": "1"}


@dataclass(frozen=True)
class ExternalRunner:
    """An external run.py, the interpreter that runs it, and the seconds that a case may take."""

    run_py: Path
    python: Path
    timeout: float = 600.0

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


def run_external(
    runner: ExternalRunner,
    cases: Sequence[Case],
    golden: Path,
    folders: Mapping[str, Path],
    work: Path,
) -> ExternalResult:
    """Run every case; each writes into its folder of `folders`, logs and events go to `work`."""
    started = time.monotonic()
    events: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    for group in group_by_environment(cases):
        waiting = group
        while waiting:
            new_events, ending = run_worker(runner, waiting, golden, folders, work)
            events += new_events
            problems |= finished_cases(waiting, new_events, ending)
            waiting = [case for case in waiting if case.name not in problems]
    problems = {name: problem for name, problem in problems.items() if problem}
    tail = log_tail(work / "worker.log") if problems else ""
    outcome = Outcome(0, tail, time.monotonic() - started, problems)
    seconds = {event["case"]: event["seconds"] for event in events if event["event"] == "end"}
    provenances = [event for event in events if event["event"] == "provenance"]
    return ExternalResult(outcome, seconds, merge_provenances(provenances))


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


def group_by_environment(cases: Sequence[Case]) -> list[list[Case]]:
    """Group cases by environment variables, in the order in which each environment first occurs."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(json.dumps(dict(case.env), sort_keys=True), []).append(case)
    return list(groups.values())


def run_worker(
    runner: ExternalRunner,
    cases: Sequence[Case],
    golden: Path,
    folders: Mapping[str, Path],
    work: Path,
) -> tuple[list[dict[str, Any]], str]:
    """Run one worker process on cases of one environment; return its events and a phrase on how it ended.

    Raises SpecError where the interpreter cannot be started.
    """
    jobs, events = work / "jobs.jsonl", work / "events.jsonl"
    events.unlink(missing_ok=True)
    write_jobs(
        jobs, [{"case": case.name, **job(case, golden, folders[case.name])} for case in cases]
    )
    working_directory = work / "cwd"
    working_directory.mkdir(exist_ok=True)
    try:
        with (work / "worker.log").open("ab") as log:
            process = subprocess.run(
                worker_command(runner, jobs, events),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=working_directory,
                env=environment(cases[0]),
                timeout=runner.timeout * len(cases),
            )
        status = process.returncode
        ending = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
    except subprocess.TimeoutExpired:
        ending = f"took longer than {runner.timeout:g} s a case"
    except OSError as error:
        raise SpecError(
            f"cannot start {runner.python}: {error.strerror}; give a Python interpreter"
        ) from error
    return read_events(events), ending


def worker_command(runner: ExternalRunner, jobs: Path, events: Path) -> list[str]:
    """Return the worker's command line; the interpreter stays a symlink, as a virtual environment needs."""
    paths = (runner.run_py.resolve(), jobs.resolve(), events.resolve())
    return [str(runner.python.absolute()), str(WORKER), *map(str, paths)]


def environment(case: Case) -> dict[str, str]:
    """Return the caller's environment without LOGOS_RAW_LENS and PYTHONPATH, offline, with the case's variables."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("LOGOS_RAW_LENS", "PYTHONPATH")}
    return {**inherited, **OFFLINE, **case.env}


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
