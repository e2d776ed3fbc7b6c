"""Run a lens tool by its command line: write the jobs file, watch for its files, read what it wrote.

L = blocks, V = vocabulary. A tool that crashes or hangs is started again on the jobs after the one in which it
stopped, unless it had written nothing.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np

from ..errors import SpecError
from ..oracle import Array
from .command import write_jobs

POLL = 0.05  # seconds
LOG_PROBS_SUM = 1e-3  # of ln sum p to 0: rounding of half precision


class ToolProblem(Exception):
    """What a tool wrote for a job is missing or cannot be judged; the message says what it is."""


@dataclass(frozen=True)
class LensJob:
    """A checkpoint folder, the token ids to read, and the .npz that the tool writes."""

    model: Path
    ids: tuple[int, ...]
    out: Path


@dataclass(frozen=True)
class ToolRows:
    """Logits or log-probabilities [N, V] of N layers; `unnamed`: there is no layer 0, and the tool did not say so."""

    logits: Array
    layers: tuple[int, ...]
    unnamed: bool = False


@dataclass(frozen=True)
class LensTool:
    """A command, the folder for its jobs and logs, and the seconds that it may take to its next file."""

    arguments: Sequence[str]
    work: Path
    timeout: float

    def run(self, jobs: Sequence[LensJob]) -> tuple[dict[Path, str], str]:
        """Run all jobs; return how the tool stopped, by the file that it did not write, and how after all files.

        Raises SpecError where the command cannot be started.
        """
        stopped: dict[Path, str] = {}
        waiting = list(jobs)
        while waiting:
            ending = self.run_process(waiting)
            missing = [job for job in waiting if not job.out.exists()]
            if not missing:
                return stopped, ending
            if not ending:
                break
            alone = len(missing) < len(waiting)
            stopped |= {job.out: ending for job in (missing[:1] if alone else missing)}
            waiting = missing[1:] if alone else []
        return stopped, ""

    def run_process(self, jobs: Sequence[LensJob]) -> str:
        """Run the command once; return how it stopped, empty after exit status 0."""
        path, log = self.work / "jobs.jsonl", self.work / "tool.log"
        lines = ({"model": str(j.model), "ids": list(j.ids), "out": str(j.out)} for j in jobs)
        write_jobs(path, lines)
        try:
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    [*self.arguments, str(path)],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                )
        except OSError as error:
            raise SpecError(
                f"cannot start the tool {self.arguments[0]!r}: {error.strerror}; "
                "give the path of an executable program"
            ) from error
        with process:
            try:
                in_time = self.wait(process, jobs)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if not in_time:
            return f"the tool wrote nothing for {self.timeout:g} s and was stopped"
        return ending(process.returncode, log)

    def wait(self, process: subprocess.Popen[bytes], jobs: Sequence[LensJob]) -> bool:
        """Wait for a process; False where it took too long to its next file."""
        written, limit = 0, time.monotonic() + self.timeout
        while time.monotonic() < limit:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
                return True
            count = sum(job.out.exists() for job in jobs)
            if count != written:
                written, limit = count, time.monotonic() + self.timeout
        return False


def ending(status: int, log: Path) -> str:
    """How a process ended with the last line of its log; empty for status 0."""
    if status == 0:
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
    how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
    return f"the tool {how}: {last}"


def read_rows(path: Path, n_layers: int, vocabulary: int) -> ToolRows:
    """Read what a tool wrote for a model of L blocks; raises ToolProblem where it cannot be judged."""
    arrays = read_arrays(path)
    if "error" in arrays:
        raise ToolProblem(f"the tool cannot: {arrays['error']}")
    names = sorted({"logits", "log_probs"} & set(arrays))
    if len(names) != 1:
        raise ToolProblem(
            f"the file holds {', '.join(sorted(arrays)) or 'nothing'}, "
            "not one of the arrays logits and log_probs"
        )
    logits = arrays[names[0]]
    check_values(names[0], logits, vocabulary)
    layers, unnamed = layers_of(len(logits), arrays.get("layers"), n_layers)
    return ToolRows(logits.astype(np.float64), layers, unnamed)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise ToolProblem("the tool wrote no file")
    if not is_zipfile(path):
        raise ToolProblem("the file is no .npz: it is no zip archive")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise ToolProblem(f"the file is no .npz: {error}") from error


def check_values(name: str, logits: np.ndarray, vocabulary: int) -> None:
    """Raise ToolProblem for a shape other than [N, V], NaN, +inf, a row of -inf, and log_probs that are none."""
    if logits.ndim != 2 or logits.shape[1] != vocabulary or logits.dtype.kind != "f":
        raise ToolProblem(
            f"{name} is {logits.dtype} {list(logits.shape)}, "
            f"not floats of shape [layers, {vocabulary}]"
        )
    largest = logits.max(axis=1)  # NaN where a row has one
    if not np.all(np.isfinite(largest)):
        row = int(np.argmin(np.isfinite(largest)))
        raise ToolProblem(f"{name} has NaN or infinity in row {row}")
    rows = logits.astype(np.float64)
    sums = np.log(np.exp(rows - largest[:, None]).sum(axis=1)) + largest
    if name == "log_probs" and np.max(np.abs(sums)) > LOG_PROBS_SUM:
        row = int(np.argmax(np.abs(sums)))
        raise ToolProblem(
            f"the probabilities of log_probs sum to {np.exp(sums[row]):.3g} in row {row}"
        )


def layers_of(rows: int, named: np.ndarray | None, n_layers: int) -> tuple[tuple[int, ...], bool]:
    """The layer of each row, and whether layer 0 is missing without a word.

    Raises ToolProblem for another number of rows, or names that are no layers.
    """
    every = tuple(range(n_layers + 1))
    if named is None:
        if rows not in (n_layers, n_layers + 1):
            raise ToolProblem(
                f"{rows} rows of a model with {n_layers} blocks; {n_layers + 1} are needed, "
                f"or {n_layers} where there is no layer 0"
            )
        return every[-rows:], rows == n_layers
    layers = tuple(int(layer) for layer in named.ravel())
    if len(layers) != rows or len(set(layers)) != rows or not set(layers) <= set(every):
        raise ToolProblem(f"layers is {list(layers)} for {rows} rows of layers 0 … {n_layers}")
    if n_layers not in layers:
        raise ToolProblem(f"layers is {list(layers)}, without the last layer {n_layers}")
    return layers, False
