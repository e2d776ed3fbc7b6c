"""A Ray cluster: a task a run, on the share of a GPU that the estimate of its memory asks for.

A suite of several segments is divided over as many tasks as the cluster holds at once; one more joins their segments.
The package, and the files that options name, must be on every machine, under the same paths. Outputs travel as bytes.
"""

import logging
import math
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import LensError

try:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise LensError("--engine ray needs Ray; install it: pip install 'lenses-min[ray]'") from error

from ..model.estimate import needs
from ..options import RunOptions
from ..output.segments import read_files, write_files
from ..process import restore_environment
from ..prompts.suite import suite_of
from .engines import Job, Outcome, local

RETRIES = 3  # of a run whose worker or machine was lost
THREADS = "OMP_NUM_THREADS"  # Ray sets it to 1; a run takes the user's, as on this machine


def perform(job: Job, directory: str, threads: str | None, *shares: Outcome) -> Outcome:
    """On a worker: a run in a process of its own, tied to this one; it goes on from the segments of `shares`."""
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    if threads:
        environment[THREADS] = threads
    workdir = directory if Path(directory).is_dir() else None
    name = job.options.file_stem
    with tempfile.TemporaryDirectory() as path, local(1, workdir, environment) as engine:
        folder = Path(path)
        write_files(folder, name, [share.files for share in shares if share.files])
        outcome = engine.submit(job, folder).result()
        if job.share:
            return replace(outcome, files=read_files(folder, name))
        files = [path for path in folder.iterdir() if path.is_file()]
        return replace(outcome, files={path.name: path.read_bytes() for path in files})


def gpu_bytes() -> int:
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


@dataclass(frozen=True)
class Ray:
    """A cluster: the resources of its machines, and the memory of its smallest GPU in bytes, 0 without one."""

    machines: Sequence[Mapping[str, float]]
    gpu: int

    def submit(self, job: Job) -> "Future[Outcome]":
        try:
            amounts = resources(job.options, self.machines, self.gpu)
            count = min(segments(job), slots(amounts, self.machines))
        except Exception as error:  # of one run, which must not end the others
            refused: Future[Outcome] = Future()
            refused.set_exception(error)
            return refused
        task = ray.remote(perform).options(
            name=job.options.file_stem, max_retries=RETRIES, **amounts
        )
        where = (os.getcwd(), os.environ.get(THREADS))
        numbers = range(count) if count > 1 else ()
        shares = [task.remote(replace(job, share=(number, count)), *where) for number in numbers]
        return task.remote(job, *where, *shares).future()


def segments(job: Job) -> int:
    """How many segments a job has that can be divided."""
    if job.self_test or not job.options.prompts:
        return 1
    from ..pipeline.segmented import parts_of

    return len(parts_of(suite_of(job.options.prompts), job.options))


def slots(amounts: Mapping[str, float], machines: Sequence[Mapping[str, float]]) -> int:
    """How many tasks of these amounts, as `resources` gives them, the machines hold at once; each takes a processor."""
    needed = {"CPU": 1.0}
    for kind, amount in amounts.items():
        needed["GPU" if kind == "num_gpus" else kind] = amount
    return sum(
        min(times(machine.get(kind, 0), amount) for kind, amount in needed.items() if amount)
        for machine in machines
    )


def times(size: float, amount: float) -> int:
    """How often an amount fits; of 1.0, an amount of 0.2 fits 5 times, though 1.0 // 0.2 is 4."""
    return int(round(size / amount, 6))


def resources(
    options: RunOptions, machines: Sequence[Mapping[str, float]], gpu: int
) -> dict[str, float]:
    """What a task asks for: its share of a GPU (whole ones from one on), or memory, as Ray's options.

    `auto` takes the first that a machine of the cluster has, as a run does, or raises LensError. A named device is the
    user's word: a run that no machine holds asks for all that the largest has.
    """
    amounts = {}
    if gpu and options.device in ("auto", "cuda"):
        share = needs(options, "cuda") / gpu
        amounts["GPU"] = math.ceil(share) if share > 1 else math.ceil(100 * share) / 100
    if not gpu or options.device != "cuda":
        amounts["memory"] = math.ceil(needs(options, "cpu"))
    most = {kind: max(machine.get(kind, 0) for machine in machines) for kind in amounts}
    if options.device_map != "auto" and "GPU" in most:
        most["GPU"] = min(1, most["GPU"])  # such a run uses one
    for kind, amount in amounts.items():
        if amount <= most[kind] or options.device != "auto":
            return {"num_gpus" if kind == "GPU" else kind: min(amount, most[kind])}
    shortages = "; ".join(
        f"{kind}: needs {amount:,}, the largest has {most[kind]:,.0f}"
        for kind, amount in amounts.items()
    )
    raise LensError(f"{options.model_id} fits on no machine of the cluster ({shortages})")


@contextmanager
def on_ray(address: str) -> Iterator[Ray]:
    """The cluster at an address or at $RAY_ADDRESS, else one of its own on this machine for as long as it lasts."""
    address = address or os.environ.get("RAY_ADDRESS", "")
    with restore_environment(), restore_handlers():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when a cluster starts
        connect(address)
        try:
            yield cluster()
        finally:
            ray.shutdown()


@contextmanager
def restore_handlers() -> Iterator[None]:
    """The level of Ray's own log and the handler of SIGTERM as they were: Ray sets both and keeps them."""
    log = logging.getLogger("ray")
    level, on_termination = log.level, signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        log.setLevel(level)
        if threading.current_thread() is threading.main_thread():  # Ray sets it there only
            signal.signal(signal.SIGTERM, on_termination)


def connect(address: str) -> None:
    """Start Ray, or join the cluster at an address; raises LensError where there is none."""
    try:
        if ":" in address:  # Ray itself would wait for minutes
            host, port = address.rsplit("/", 1)[-1].rsplit(":", 1)
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise LensError(f"no Ray cluster at {address or 'this machine'}: {error}") from error


def cluster() -> Ray:
    """The resources of the machines that this process is connected to."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    with_gpus = [
        NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        for node in nodes
        if "GPU" in node["Resources"]
    ]
    probe = ray.remote(gpu_bytes)
    sizes = ray.get(
        [probe.options(num_gpus=0.01, scheduling_strategy=node).remote() for node in with_gpus]
    )
    return Ray([node["Resources"] for node in nodes], min(sizes, default=0))
