"""Meets a foreign run.py in its own interpreter: one worker process per group of cases, whatever happens in it told.

Cases whose environment is the same share a process, since importing TransformerLens takes longer than a tiny case.
A process that dies takes only the case it died in; the rest of its group starts again in a new one.
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
from .command import Outcome, job, last_words, write_jobs

WORKER = Path(__file__).with_name("worker.py")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TQDM_DISABLE": "1"}


@dataclass(frozen=True)
class Foreign:
    """A run.py, the interpreter it works in, and the seconds a case may take."""

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
class Ended:
    """How the foreign runs ended: the outcome with its problems per case, seconds per case, and what ran."""

    outcome: Outcome
    seconds: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))


def run_foreign(
    foreign: Foreign, cases: Sequence[Case], golden: Path, folders: Mapping[str, Path], work: Path
) -> Ended:
    """Run every case; outputs go to its folder, logs and events to `work`."""
    started = time.monotonic()
    events: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    for group in groups(cases):
        waiting = group
        while waiting:
            told, ending = one_process(foreign, waiting, golden, folders, work)
            events += told
            problems |= settled(waiting, told, ending)
            waiting = [case for case in waiting if case.name not in problems]
    problems = {name: problem for name, problem in problems.items() if problem}
    tail = last_words(work / "worker.log") if problems else ""
    outcome = Outcome(0, tail, time.monotonic() - started, problems)
    seconds = {event["case"]: event["seconds"] for event in events if event["event"] == "end"}
    return Ended(
        outcome, seconds, merged([event for event in events if event["event"] == "provenance"])
    )


def settled(
    waiting: Sequence[Case], told: Sequence[Mapping[str, Any]], ending: str
) -> dict[str, str]:
    """Cases that need no further process and what went wrong in each: those that ended, and the one it died in."""
    if not told:
        return {case.name: f"run.py could not be loaded: it {ending}" for case in waiting}
    ended = {event["case"]: event["problem"] for event in told if event["event"] == "end"}
    begun = {
        event["case"]: f"run.py {ending} in this case"
        for event in told
        if event["event"] == "start"
    }
    return begun | ended


def groups(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases by environment, in the order in which each environment first comes."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(json.dumps(dict(case.env), sort_keys=True), []).append(case)
    return list(found.values())


def one_process(
    foreign: Foreign, cases: Sequence[Case], golden: Path, folders: Mapping[str, Path], work: Path
) -> tuple[list[dict[str, Any]], str]:
    """Run one worker on cases of one environment; its events, and in words how it ended."""
    jobs, events = work / "jobs.jsonl", work / "events.jsonl"
    events.unlink(missing_ok=True)
    write_jobs(
        jobs, [{"case": case.name, **job(case, golden, folders[case.name])} for case in cases]
    )
    words = [
        foreign.python.absolute(),
        WORKER,
        foreign.run_py.resolve(),
        jobs.resolve(),
        events.resolve(),
    ]
    place = work / "cwd"
    place.mkdir(exist_ok=True)
    how: dict[str, Any] = {
        "cwd": place,
        "env": environment(cases[0]),
        "timeout": foreign.timeout * len(cases),
    }
    try:
        with (work / "worker.log").open("ab") as log:
            ended = subprocess.run(
                list(map(str, words)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, **how
            )
        status = ended.returncode
        ending = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
    except subprocess.TimeoutExpired:
        ending = f"took longer than {foreign.timeout:g} s a case"
    except OSError as error:
        raise SpecError(
            f"cannot start {foreign.python}: {error.strerror}; give a Python interpreter"
        ) from error
    return read_events(events), ending


def environment(case: Case) -> dict[str, str]:
    """The caller's environment without its own LOGOS_RAW_LENS and PYTHONPATH, offline, with the case's variables."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("LOGOS_RAW_LENS", "PYTHONPATH")}
    return {**inherited, **OFFLINE, **case.env}


def read_events(path: Path) -> list[dict[str, Any]]:
    """The worker's events; a last line that was cut off is dropped."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def merged(found: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """One provenance of several processes of one run.py; None where none lived to tell."""
    if not found:
        return None
    modules = {name: digest for told in found for name, digest in told["modules"].items()}
    return {
        **{k: v for k, v in found[0].items() if k != "event"},
        "modules": dict(sorted(modules.items())),
    }
