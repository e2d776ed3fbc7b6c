"""Meets a runner as a command line: writes the jobs, runs the command once, says how it ended."""

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
    """How a runner ended: exit status (negative: killed by that signal), its last words, wall seconds.

    `problems` tells by case what went wrong in it, as far as the runner says so.
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
        """What is wrong with the way the runner ended, empty where nothing is."""
        if self.status < 0:
            return f"the runner was killed by signal {-self.status}"
        return f"the runner exited with status {self.status}" if self.status else ""


def job(case: Case, golden: Path, out_dir: Path) -> dict[str, Any]:
    """One line of the jobs file: a case's model, options and output folder, all paths absolute."""
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
    """The command's words, by default the lean runner's; raises SpecError where it cannot be split."""
    if command is None:
        return [sys.executable, "-m", "lenses_min", "batch"]
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SpecError(
            f"cannot read the runner command {command!r}: {error}; balance its quotes"
        ) from error
    if not words:
        raise SpecError(
            "the runner command is empty; give a program that takes the path of a jobs file"
        )
    return words


def run_command(
    command: str | None,
    cases: Sequence[Case],
    golden: Path,
    folders: Mapping[str, Path],
    work: Path,
) -> Outcome:
    """Run `command` once on all cases, each into its folder; raises SpecError where it cannot be started."""
    words = split_command(command)
    jobs = work / "jobs.jsonl"
    write_jobs(jobs, [job(case, golden, folders[case.name]) for case in cases])
    return run_jobs(words, jobs.resolve(), work / "runner.log")


def run_jobs(words: Sequence[str], jobs: Path, log: Path) -> Outcome:
    """Run the command with the jobs file as its last argument; stdout and stderr go to `log`."""
    started = time.monotonic()
    try:
        with log.open("wb") as stream:
            ended = subprocess.run(
                [*words, str(jobs)], stdout=stream, stderr=subprocess.STDOUT, env=os.environ
            )
    except OSError as error:
        raise SpecError(
            f"cannot start the runner {words[0]!r}: {error.strerror}; give the path of an executable program"
        ) from error
    return Outcome(ended.returncode, last_words(log), time.monotonic() - started)


def last_words(log: Path) -> str:
    """The end of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])
