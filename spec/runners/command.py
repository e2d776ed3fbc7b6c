"""Run a runner by its command line: write the jobs file, run the command once, return how it ended."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..golden import Case

DEFAULTS: dict[str, Any] = {
    "device": "cpu",
    "prism": "auto",
    "fp32_unembed": False,
    "keep_residuals": False,
    "copy_threshold": 0.95,
    "copy_margin": 0.1,
}
LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class Outcome:
    """How a runner ended: exit status (negative: killed by that signal), end of its log, wall seconds.

    `problems` has the failure of each case that the runner reports as failed, by case.
    """

    status: int
    log_tail: str
    seconds: float
    problems: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise ValueError(
                f"wall seconds are ≥ 0, got {self.seconds}; measure with a monotonic clock"
            )

    @property
    def problem(self) -> str:
        """The failure of the runner as a whole, empty after exit status 0."""
        if self.status < 0:
            return f"the runner was killed by signal {-self.status}"
        return f"the runner exited with status {self.status}" if self.status else ""


def job(case: Case, golden: Path, out_dir: Path) -> dict[str, Any]:
    """Return one line of the jobs file: a case's model, options and output folder, all paths absolute."""
    return {
        "model": str(case.model_path(golden).resolve()),
        "model_id": case.model_id,
        "out_dir": str(out_dir.resolve()),
        "prism_dir": str(case.prism_path(golden).resolve()),
        "raw_lens": case.env.get("LOGOS_RAW_LENS", "sample"),
        **DEFAULTS,
        **case.args,
    }


def write_jobs(path: Path, jobs: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in jobs), encoding="utf-8")


def split_command(command: str | None) -> list[str]:
    """Split a command into its arguments; None is the lean runner's. Raises SpecError where it cannot be split."""
    if command is None:
        return [sys.executable, "-m", "lenses_min", "batch"]
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise SpecError(
            f"cannot read the runner command {command!r}: {error}; balance its quotes"
        ) from error
    if not arguments:
        raise SpecError(
            "the runner command is empty; give a program that takes the path of a jobs file"
        )
    return arguments


def run_command(
    command: str | None,
    cases: Sequence[Case],
    golden: Path,
    folders: Mapping[str, Path],
    work: Path,
) -> Outcome:
    """Run `command` once on all cases; each case writes into its folder of `folders`.

    Raises SpecError where the command cannot be started.
    """
    arguments = split_command(command)
    jobs = work / "jobs.jsonl"
    write_jobs(jobs, [job(case, golden, folders[case.name]) for case in cases])
    return run_jobs(arguments, jobs.resolve(), work / "runner.log")


def run_jobs(arguments: Sequence[str], jobs: Path, log: Path) -> Outcome:
    """Run the command with the jobs file as its last argument; stdout and stderr go to `log`."""
    started = time.monotonic()
    try:
        with log.open("wb") as stream:
            process = subprocess.run(
                [*arguments, str(jobs)], stdout=stream, stderr=subprocess.STDOUT, env=os.environ
            )
    except OSError as error:
        raise SpecError(
            f"cannot start the runner {arguments[0]!r}: {error.strerror}; give the path of an executable program"
        ) from error
    return Outcome(process.returncode, log_tail(log), time.monotonic() - started)


def log_tail(log: Path) -> str:
    """Return the last lines of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])
