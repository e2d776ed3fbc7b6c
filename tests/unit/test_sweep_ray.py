"""A sweep on Ray, where a stub stands for the cluster and for the process of a run."""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lenses_min import LensError, RunOptions
from lenses_min.sweep.engines import Job, Outcome

on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
STATS = "RAY_USAGE_STATS_ENABLED"
JOB = Job(RunOptions("org/m", device="cpu"))
GB = 10**9


class Engine:
    """Writes the files of a run, and one of a finished segment, into the folder that it is given."""

    def submit(self, job: Job, folder: Path) -> "Future[Outcome]":
        future: Future[Outcome] = Future()
        (folder / "output-m.json").write_bytes(b"{}")
        for name in (".m.segments/1/table", ".other/table"):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(b"1")
        future.set_result(Outcome(3, "words"))
        return future


@pytest.mark.parametrize("share", [None, (1, 3)])
@pytest.mark.parametrize("there", [True, False])
def test_a_task_returns_the_files_of_its_run_and_a_share_those_of_its_segments(
    share: tuple[int, int] | None, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works in the folder of the sweep, or where its machine has none, in its own; the outcome stays."""
    given: list[tuple[Any, ...]] = []

    @contextmanager
    def local(*settings: Any) -> Iterator[Engine]:
        given.append(settings)
        yield Engine()

    monkeypatch.setattr(on_ray, "local", local)
    monkeypatch.setattr(on_ray.os, "environ", {"A": "B", on_ray.THREADS: "1"})
    directory = tmp_path if there else tmp_path / "none"
    outcome = on_ray.perform(replace(JOB, share=share), str(directory), "2")
    files = {".m.segments/1/table": b"1"} if share else {"output-m.json": b"{}"}
    assert outcome == Outcome(3, "words", files)
    assert given == [(1, str(tmp_path) if there else None, {"A": "B", on_ray.THREADS: "2"})]


def test_the_segments_of_shares_are_there_when_the_whole_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reader:
        def submit(self, job: Job, folder: Path) -> "Future[Outcome]":
            future: Future[Outcome] = Future()
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            future.set_result(Outcome(0, " ".join(str(p.relative_to(folder)) for p in paths)))
            return future

    @contextmanager
    def local(*settings: Any) -> Iterator[Reader]:
        yield Reader()

    monkeypatch.setattr(on_ray, "local", local)
    shares = [Outcome(0, "", {f".m.segments/{i}/table": b"1"}) for i in range(2)]
    outcome = on_ray.perform(JOB, str(tmp_path), None, *shares, Outcome(1, "no files"))
    assert outcome.output == ".m.segments/0/table .m.segments/1/table"


def test_the_memory_of_the_first_gpu_is_what_a_task_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray shows each task the GPU that it has, as the first."""
    sizes: dict[Any, float] = {0: 80.0}
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda i: SimpleNamespace(total_memory=sizes[i])
    )
    assert on_ray.gpu_bytes() == 80


class Remote:
    """What stands for the remote functions of Ray: it notes what they are, their options and their calls."""

    def __init__(self, *values: Any) -> None:
        self.values = iter(values)
        self.functions: list[Callable[..., Any]] = []
        self.given: list[dict[str, Any]] = []
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, function: Callable[..., Any]) -> "Remote":
        self.functions.append(function)
        return self

    def options(self, **options: Any) -> "Remote":
        self.given.append(options)
        return self

    def remote(self, *args: Any) -> Any:
        self.calls.append(args)
        return next(self.values)


@pytest.mark.parametrize(("passes", "shares"), [(128, 0), (129, 2), (600, 3)])
def test_a_suite_is_divided_over_as_many_tasks_as_the_cluster_holds(
    passes: int, shares: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 128 passes a segment; the machines have memory for three tasks. Every task works where the sweep does."""
    prompts = tmp_path / "prompts.jsonl"
    lines = [f'{{"id": "p{i}", "context": "one", "answer": "two"}}\n' for i in range(passes)]
    prompts.write_text("".join(lines), encoding="utf-8")
    job = Job(RunOptions("org/m", device="cpu", prompts=str(prompts), batch_size=1))
    machines = [{"CPU": 8.0, "memory": 5.0 * GB}, {"CPU": 8.0, "memory": 2.5 * GB}]
    done = Future[Any]()
    parts = [f"part {i}" for i in range(shares)]
    remote = Remote(*parts, SimpleNamespace(future=lambda: done))
    monkeypatch.setattr(on_ray, "needs", lambda options, device: 2.0 * GB)
    monkeypatch.setattr(on_ray.ray, "remote", remote)
    monkeypatch.setenv(on_ray.THREADS, "2")
    assert on_ray.Ray(machines, 0).submit(job) is done
    where = (os.getcwd(), "2")
    assert remote.functions == [on_ray.perform]
    assert remote.given == [{"name": "m", "max_retries": on_ray.RETRIES, "memory": 2 * GB}]
    assert remote.calls == [
        *((replace(job, share=(i, shares)), *where) for i in range(shares)),
        (job, *where, *parts),
    ]


def test_more_than_one_gpu_is_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "needs", lambda options, device: 150.0)
    options = RunOptions("org/m", device_map="auto")
    assert on_ray.resources(options, [{"GPU": 4.0, "memory": 9.0}], 100) == {"num_gpus": 2}


@pytest.mark.parametrize(("memory", "fits"), [(150.0, True), (149.0, False)])
def test_a_run_fits_where_a_machine_has_exactly_what_it_needs(
    memory: float, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "needs", lambda options, device: 150.0)
    options, machines = RunOptions("org/m"), [{"CPU": 8.0}, {"memory": memory}]
    if fits:
        assert on_ray.resources(options, machines, 0) == {"memory": 150}
    else:
        with pytest.raises(LensError, match=r"\(memory: needs 150, the largest has 149\)$"):
            on_ray.resources(options, machines, 0)


def test_a_machine_has_none_of_what_it_does_not_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "needs", lambda options, device: 150.0)
    with pytest.raises(LensError, match=r"\(memory: needs 150, the largest has 0\)$"):
        on_ray.resources(RunOptions("org/m"), [{"CPU": 8.0}], 0)


@pytest.mark.parametrize(
    ("address", "variable", "expected"),
    [("", None, ""), ("", "host:1", "host:1"), ("other:2", "host:1", "other:2")],
)
@pytest.mark.parametrize("statistics", [None, "1"])
def test_a_cluster_is_that_of_the_address_or_the_variable_and_ray_sends_no_statistics(
    address: str,
    variable: str | None,
    expected: str,
    statistics: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless the user's own variable asks for statistics."""
    steps: list[Any] = []
    for name, value in (("RAY_ADDRESS", variable), (STATS, statistics)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(on_ray, "connect", lambda to: steps.append((to, os.environ[STATS])))
    monkeypatch.setattr(on_ray, "cluster", lambda: "cluster")
    monkeypatch.setattr(on_ray.ray, "shutdown", lambda: steps.append("shutdown"))
    with on_ray.on_ray(address) as cluster:
        assert cluster == "cluster"
    assert steps == [(expected, statistics or "0"), "shutdown"]
    assert os.environ.get(STATS) == statistics


@pytest.mark.parametrize(
    ("address", "place", "joined"),
    [
        ("", None, "local"),
        ("auto", None, "auto"),
        ("MAX:6379", ("MAX", 6379), "MAX:6379"),
        ("ray://[::1]:10001", ("::1", 10001), "ray://[::1]:10001"),
    ],
)
def test_a_cluster_is_joined_in_silence_when_it_answers_within_ten_seconds(
    address: str, place: tuple[str, int] | None, joined: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []

    def connection(where: tuple[str, int], timeout: float) -> Any:
        steps.append((where, timeout))
        return SimpleNamespace(close=lambda: steps.append("closed"))

    monkeypatch.setattr(on_ray.socket, "create_connection", connection)
    monkeypatch.setattr(on_ray.ray, "init", lambda to, **more: steps.append((to, more)))
    on_ray.connect(address)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    assert steps == [*([(place, 10), "closed"] if place else []), (joined, quiet)]


def test_a_cluster_of_this_machine_that_does_not_start_is_one_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*given: Any, **more: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(on_ray.ray, "init", refuse)
    with pytest.raises(LensError, match=r"^no Ray cluster at this machine: no room$"):
        on_ray.connect("")


@pytest.mark.parametrize("gpus", [0, 2])
def test_every_machine_with_gpus_is_asked_for_their_memory_on_that_machine(
    gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = [{"CPU": 8.0, "GPU": 1.0}] * gpus + [{"CPU": 4.0}]
    nodes = [
        {"Alive": True, "NodeID": str(i) * 56, "Resources": of} for i, of in enumerate(resources)
    ]
    remote = Remote(80, 24)
    monkeypatch.setattr(on_ray.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(on_ray.ray, "remote", remote)
    monkeypatch.setattr(on_ray.ray, "get", lambda values: values)
    assert on_ray.cluster() == on_ray.Ray(resources, 24 if gpus else 0)
    assert remote.functions == [on_ray.gpu_bytes]
    asked = [(given["num_gpus"], given["scheduling_strategy"]) for given in remote.given]
    places = [(share, place.node_id, place.soft) for share, place in asked]
    assert places == [(0.01, str(i) * 56, False) for i in range(gpus)]
