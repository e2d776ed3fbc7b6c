"""What performs the jobs of a sweep: the interface, and this machine's processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from ..options import RunOptions


@dataclass(frozen=True)
class Job:
    """One run of a sweep; with `self_test` it computes the proof only.

    With `share`, a number from 0 on and a count, it runs that share of the segments of a suite and writes no outputs.
    """

    options: RunOptions
    self_test: bool = False
    verbose: bool = False
    share: tuple[int, int] | None = None


@dataclass(frozen=True)
class Outcome:
    """Exit status of a run and its printed output; `files` by name where they are not yet in the sweep's folder."""

    status: int
    output: str
    files: Mapping[str, bytes] | None = None


class Engine(Protocol):
    """Performs jobs side by side. The outcome of a lost machine or worker is an exception."""

    def submit(self, job: Job) -> "Future[Outcome]": ...


@dataclass(frozen=True)
class Local:
    """This machine, some runs at a time; `tied` is the standard input of every run, and its end theirs.

    Runs work in `directory` under the variables of `environment`; None is this process's own.
    """

    pool: ThreadPoolExecutor
    tied: int
    directory: str | None = None
    environment: Mapping[str, str] | None = None

    def submit(self, job: Job, folder: Path | None = None) -> "Future[Outcome]":
        return self.pool.submit(self.perform, job, folder or Path(job.options.out_dir))

    def perform(self, job: Job, folder: Path) -> Outcome:
        """A run in a process of its own, which writes into `folder`."""
        settings = {
            "options": asdict(job.options),
            "self_test": job.self_test,
            "verbose": job.verbose,
            "share": job.share,
            "folder": str(folder),
        }
        command = [sys.executable, "-m", "lenses_min.sweep", json.dumps(settings)]
        done = subprocess.run(
            command,
            stdin=self.tied,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=self.directory,
            env=self.environment,
        )
        return Outcome(done.returncode, (done.stdout + done.stderr).strip())


@contextmanager
def local(
    jobs: int, directory: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Local]:
    """Runs of this machine. On leaving, those that wait are dropped and those that run are ended, killed or not."""
    pool, (tied, write_end) = ThreadPoolExecutor(jobs), os.pipe()
    try:
        yield Local(pool, tied, directory, environment)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        os.close(write_end)
        pool.shutdown(wait=True)
        os.close(tied)
