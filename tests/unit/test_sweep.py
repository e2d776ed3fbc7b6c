"""Sweeps over an engine that starts no process: jobs, the folder, outcomes, the summary."""

import csv
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from lenses_min import LensError, RunOptions
from lenses_min.cli import command_line
from lenses_min.output import manifest
from lenses_min.output.inputs import inputs
from lenses_min.output.run import Run
from lenses_min.output.store import write_error
from lenses_min.sweep import folder as folders
from lenses_min.sweep import sweep
from lenses_min.sweep.engines import Job, Outcome
from lenses_min.sweep.jobs import BUILT_IN, entries, jobs_of

with suppress(ImportError):
    import ray  # noqa: F401  its import sets variables and sys.path, which is no test's doing

FLAGS = "--device cuda --fp32-unembed --keep-residuals --copy-threshold .5 --copy-margin .2 --prism off --prism-dir p"
FLAGS += " --lens raw --raw-lens full --contract corrected --tuned-dir t --prompts {} --batch-size 3 --no-cache"
FLAGS += " --dtype bfloat16 --device-map auto --threads 2 --bos none --table-format parquet"


@dataclass
class Fake:
    """Performs a job at once, with the outputs of a run of another model; `faults` by the name of the model."""

    run: Run
    faults: dict[str, Callable[[Job], Outcome]]
    done: list[str] = field(default_factory=list)

    def submit(self, job: Job) -> "Future[Outcome]":
        future: Future[Outcome] = Future()
        self.done.append(job.options.file_stem)
        try:
            future.set_result(self.faults.get(job.options.file_stem, self.perform)(job))
        except Exception as error:
            future.set_exception(error)
        return future

    def perform(self, job: Job) -> Outcome:
        written = {
            "options": asdict(job.options),
            "inputs": inputs(job.options),
            "model_id": job.options.model_id,
        }
        manifest = {**self.run.manifest, **written}
        replace(
            self.run, name=job.options.file_stem, manifest=manifest, folder=job.options.out_dir
        ).save()
        return Outcome(0, "")


@pytest.fixture
def engine(fact_run: Run, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(fact_run, {})

    @contextmanager
    def local(jobs: int) -> Iterator[Fake]:
        fake.done.clear()
        yield fake

    monkeypatch.setattr(sweep, "local", local)
    return fake


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "sweep"


def start(out: Path, *models: str, more: str = "") -> int:
    return command_line.main(["sweep", *models, "--out-dir", str(out), "--quiet", *more.split()])


def summary(out: Path) -> dict[str, dict[str, str]]:
    with (out / "run-latest" / "summary.csv").open(newline="") as stream:
        return {row["model_id"]: row for row in csv.DictReader(stream)}


def test_every_option_of_run_reaches_every_run(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "a", "context": "b", "answer": "c"}\n')
    flags = FLAGS.format(prompts).split()
    args = vars(command_line.parser().parse_args(["run", "m", "--out-dir", "x", *flags]))
    options = RunOptions(
        **{name: value for name, value in args.items() if name in asdict(RunOptions("m"))}
    )
    defaults = RunOptions("m", out_dir="x")
    same = {name for name, value in asdict(options).items() if value == getattr(defaults, name)}
    assert same == {"model", "model_id", "out_dir"}
    jobs = jobs_of(
        command_line.parser().parse_args(["sweep", "m", "org/n", "--self-test", *flags]), Path("x")
    )
    assert jobs == [
        Job(replace(options, model=name, model_id=name), self_test=True) for name in ("m", "org/n")
    ]


TEN = [
    "mistralai/Mistral-7B-v0.1",
    "meta-llama/Meta-Llama-3-8B",
    "Qwen/Qwen3-8B",
    "google/gemma-2-9b",
    "Qwen/Qwen3-14B",
    "google/gemma-2-27b",
    "01-ai/Yi-34B",
    "meta-llama/Meta-Llama-3-70B",
    "mistralai/Mistral-Small-24B-Base-2501",
    "Qwen/Qwen2.5-72B",
]


def test_without_models_there_is_a_list_of_ten(out: Path, engine: Fake) -> None:
    """run.py's own, in its order."""
    assert start(out) == 0
    assert [entry for _, _, entry in entries(BUILT_IN)] == TEN
    assert sorted(engine.done) == sorted(name.split("/")[1] for name in TEN)


def test_a_list_names_models_and_options_of_their_own(
    tmp_path: Path, out: Path, engine: Fake
) -> None:
    path = tmp_path / "models"
    path.write_text(
        '# ten\n\n  org/a # mine\n{"model": "org/a", "model_id": "a-loose", "copy_threshold": 0.5}\n'
    )
    assert start(out, "b", more=f"--models {path} --copy-margin 0.3") == 0
    assert engine.done == ["b", "a", "a-loose"]
    recorded = json.loads((out / "run-latest" / folders.MANIFEST).read_text())["jobs"]
    assert {(job["copy_threshold"], job["copy_margin"]) for job in recorded.values()} == {
        (0.95, 0.3),
        (0.5, 0.3),
    }


def test_everything_wrong_is_reported_before_anything_runs(
    tmp_path: Path, out: Path, engine: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "models"
    path.write_text(
        '{"model": "a", "modle": 1}\n{"model": "a", "out_dir": "x"}\n{a\na\n{"model": "a-records"}\n'
    )
    assert (
        start(out, "b/a", more=f"--models {path} --copy-margin 3 --lens x --jobs 0 --prompts /none")
        == 2
    )
    lines = capsys.readouterr().err.splitlines()
    for line, begin in zip(
        lines,
        [
            "lenses-min: error: copy_margin must be a probability between 0 and 1, got 3.0",
            f"{path}:1: unknown job keys modle",
            f"{path}:2: out_dir cannot be one model's own",
            f"{path}:3: Expecting property name",
            'b/a and a would write to the same files, as a and a; give one a name in a --models file: {"model": "a", ',
            "b/a and a-records would write to the same files",
            "a and a-records would write to the same files",
            "unknown lens x; known lenses: norm",
            "cannot read the prompts of /none",
            "--jobs must be a whole number from 1 on, got 0",
        ],
        strict=True,
    ):
        assert line.startswith(begin)
    assert start(out, more=f"--models {tmp_path / 'none'}") == 2
    path.write_text("# none\n")
    assert start(out, more=f"--models {path}") == 2
    message = capsys.readouterr().err
    assert "cannot read the list of models" in message
    assert f"{path} names no model; write one a line" in message
    assert not out.exists()
    assert engine.done == []


def test_a_model_that_fails_does_not_stop_the_rest(out: Path, engine: Fake) -> None:
    def refuse(job: Job) -> Outcome:
        report = {"message": "fits on no device"}
        write_error(out / "run-latest", job.options.file_stem, report)
        return Outcome(1, "lenses-min: error")

    def lost(job: Job) -> Outcome:
        raise RuntimeError("the worker is gone")

    engine.faults |= {"a": refuse, "c": lambda job: Outcome(-9, "one\nKilled"), "d": lost}
    assert start(out, "org/a", "org/b", "c", "d", "e") == 1
    rows = summary(out)
    assert {name: row["status"] for name, row in rows.items()} == {
        **dict.fromkeys(("org/a", "c", "d"), "failed"),
        **dict.fromkeys(("org/b", "e"), "done"),
    }
    assert rows["org/a"]["error"] == "fits on no device"
    assert rows["c"]["error"] == "the run ended with status -9: Killed"
    assert rows["d"]["error"].endswith("RuntimeError: the worker is gone")
    row = rows["org/b"]
    assert (row["L_copy"], row["L_semantic"], row["delta_layers"], row["answer_rank_lens"]) == (
        "1",
        "4",
        "3",
        "1",
    )
    assert (row["first_control_margin_pos"], row["max_control_margin"][:6]) == ("3", "0.9828")
    assert row["p_answer_lens"][:6] == "0.9364"
    assert int(row["peak_host_bytes"]) > 2**27
    assert {path.name for path in out.glob("run-latest/*error*")} == {
        f"output-{name}.error.json" for name in "acd"
    }
    engine.faults.clear()
    assert start(out, "org/a", "org/b", "c", "d", "e") == 0
    assert engine.done == ["a", "c", "d"]
    assert {row["status"] for row in summary(out).values()} == {"done"}
    assert not list(out.glob("run-latest/*error*"))
    assert len(list(out.iterdir())) == 2, "run-latest and its lock"


def test_outputs_come_back_as_bytes_or_not_at_all(out: Path, engine: Fake) -> None:
    def remote(job: Job) -> Outcome:
        return Outcome(0, "", {"output-a.json": b"{}", "run-a.manifest.json": b"[]"})

    engine.faults["a"] = remote
    assert start(out, "a") == 1
    assert "ended with status 0: it printed nothing" in summary(out)["a"]["error"]


def test_an_earlier_sweep_is_never_lost(
    out: Path, engine: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "now", lambda: "2026-11-24T12:34:56+00:00")
    for _ in range(3):
        assert start(out, "a") == 0
    (out / "run-latest" / folders.MANIFEST).write_text("{")
    os.utime(out / "run-latest", (0, 0))
    assert start(out, "a") == 0
    names = {path.name for path in out.glob("run-*")}
    assert names == {
        "run-latest",
        "run-2026-11-24-12-34",
        "run-2026-11-24-12-34-2",
        "run-1970-01-01-00-00",
    }
    assert all((out / name / "run-a.manifest.json").exists() for name in names)


def test_an_unfinished_sweep_goes_on(
    tmp_path: Path, out: Path, engine: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(job: Job) -> Outcome:
        latest = out / "run-latest"
        (latest / ".c-x").mkdir()
        (latest / "output-c.json").write_text("{}")
        raise KeyboardInterrupt

    (tmp_path / "a").mkdir()
    models = (str(tmp_path / "a"), "b", "c")
    engine.faults["c"] = stop
    assert start(out, *models) == 130
    assert not list(out.glob("run-latest/*c*.json"))
    assert not list(out.glob("run-latest/.*"))
    (tmp_path / "a" / "weights").write_text("others")
    assert start(out, *models) == 130
    assert engine.done == ["a", "c"], "whose inputs have changed, and what was not done"
    assert start(out, *models, "d", more="--lens raw") == 130
    assert engine.done == ["a", "b", "c"], "other options: anew"
    engine.faults.clear()
    assert start(out, *models, "d", more="--lens raw") == 0
    assert engine.done == ["c", "d"], "more models are the same sweep"
    assert len(list(out.glob("run-*"))) == 2
    engine.faults["c"] = stop
    assert start(out, *models) == 130
    engine.faults.clear()
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "__version__", "0.2")
        patch.setitem(engine.run.manifest, "versions", manifest.versions())
        assert start(out, *models) == 0
        assert engine.done == ["a", "b", "c"], "another version: anew"
        assert start(out, *models, more="--fresh") == 0
    assert len(list(out.glob("run-*"))) == 5


def test_a_hub_id_that_is_not_cached_here_agrees_with_any_commit(
    fact_run: Run, tmp_path: Path
) -> None:
    options = RunOptions("org/no-such-model", out_dir=str(tmp_path))
    content = {"options": asdict(options), "inputs": {"model": "0" * 40}}
    versions = fact_run.manifest["versions"] | {
        "torch": fact_run.manifest["versions"]["torch"].split("+")[0] + "+cu1"
    }
    manifest = {**fact_run.manifest, **content, "versions": versions}
    run = replace(fact_run, name=options.file_stem, folder=options.out_dir, manifest=manifest)
    run.save()
    assert folders.complete(tmp_path, options)
    replace(run, manifest={**run.manifest, "inputs": {**content["inputs"], "prompts": "x"}}).save()
    assert not folders.complete(tmp_path, options)


def test_two_sweeps_in_one_folder_and_an_unwritable_one(
    out: Path, engine: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    out.mkdir()
    with FileLock(out / ".run-latest.lock"):
        assert start(out, "a") == 1
    assert "another sweep is at work in" in capsys.readouterr().err
    (out / "file").write_text("")
    assert start(out / "file", "a") == 1
    assert "cannot write to" in capsys.readouterr().err


def test_self_tests_write_nothing(
    out: Path, engine: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.faults |= {
        "a": lambda job: Outcome(0, f"a: {job.self_test}"),
        "b": lambda job: Outcome(1, "b: no"),
    }
    assert start(out, "a", more="--self-test") == 0
    assert start(out, "a", "b", more="--self-test") == 1
    assert sorted(capsys.readouterr().out.splitlines()) == ["a: True", "a: True", "b: no"]
    assert not out.exists()


def test_a_sweep_tells_its_progress_and_ends_with_a_table(
    out: Path, engine: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.faults["b"] = lambda job: Outcome(1, "no luck")
    assert command_line.main(["sweep", "a", "b", "--out-dir", str(out), "--verbose"]) == 1
    out_text, err = capsys.readouterr()
    assert "a: done" in err
    assert re.search(r"b: the run ended with status 1: no luck.*\nno luck\n", err)
    assert [line.split()[:4] for line in out_text.splitlines()[1:3]] == [
        ["a", "done", "6", "1"],
        ["b", "failed", "-", "-"],
    ]
    assert out_text.rstrip().endswith("run-latest/summary.csv")


BIG, MACHINES = (
    80 * 10**9,
    ({"CPU": 8, "memory": 2 * 10**10}, {"CPU": 2, "memory": 10**10, "GPU": 4}),
)


@pytest.mark.parametrize(
    ("model", "device", "gpu", "expected"),
    [
        ("org/M-7B", "auto", BIG, {"num_gpus": 0.25}),
        ("org/M-70B", "cuda", BIG, {"num_gpus": 1}),
        ("org/M-70B", "sharded", BIG, {"num_gpus": 3}),
        ("org/M-400B", "auto", BIG, "GPU: needs 14, the largest has 1; memory: needs 964"),
        ("org/M-7B", "cuda", 0, {"memory": 2 * 10**10}),
        ("org/M-1B", "cpu", BIG, {"memory": 4_800_000_000 + 4 * 2**30}),
        ("org/M-1B", "auto", 0, {"memory": 4_800_000_000 + 4 * 2**30}),
        ("org/M-7B", "cpu", 0, {"memory": 2 * 10**10}),
        ("org/M-34B", "auto", 0, "needs 85,894,967,296, the largest has 20,000,000,000"),
        ("org/M-400B", "sharded", BIG, "GPU: needs 14, the largest has 4; memory: needs 964"),
    ],
)
def test_what_a_task_asks_of_a_cluster(
    model: str, device: str, gpu: int, expected: dict[str, float] | str
) -> None:
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    sharded = device == "sharded"
    options = RunOptions(
        model, device="auto" if sharded else device, device_map="auto" if sharded else "none"
    )
    if isinstance(expected, str):
        refused = on_ray.Ray(MACHINES, gpu).submit(Job(options)).exception()
        assert isinstance(refused, LensError)
        assert f"{model} fits on no machine of the cluster" in str(refused)
        assert expected in str(refused)
    else:
        assert on_ray.resources(options, MACHINES, gpu) == expected


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ({"memory": 5 * 10**9}, 4 + 4),
        ({"memory": 2 * 10**10}, 1 + 1),
        ({"num_gpus": 0.25}, 8 + 0),
        ({"num_gpus": 2}, 2 + 0),
        ({"num_gpus": 5}, 0),
        ({"num_gpus": 0.7}, 5 + 0),
        ({"num_gpus": 0.8}, 5 + 0),
    ],
)
def test_how_many_tasks_a_cluster_holds(amounts: dict[str, float], expected: int) -> None:
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    machines = [{"CPU": 8, "GPU": 4, "memory": 2e10}, {"CPU": 4, "memory": 2e10}]
    assert on_ray.slots(amounts, machines) == expected


def test_shares_that_fill_a_gpu_exactly_all_fit() -> None:
    """The quotient of two floats may be a little less than the whole number that it stands for."""
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    counts = range(1, 101)
    held = [on_ray.slots({"num_gpus": 1 / n}, [{"CPU": 100, "GPU": 1}]) for n in counts]
    hundredths = {n: on_ray.times(1.0, n / 100) for n in counts}
    assert held == list(counts)
    assert hundredths == {n: 100 // n for n in counts}


def test_a_suite_of_several_segments_can_be_divided(tmp_path: Path) -> None:
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    prompts = tmp_path / "prompts.jsonl"
    lines = (f'{{"id": "p{i}", "context": "one", "answer": "two"}}\n' for i in range(600))
    prompts.write_text("".join(lines))
    options = RunOptions("org/m", prompts=str(prompts), batch_size=1)
    assert on_ray.segments(Job(options)) == 5
    assert on_ray.segments(Job(options, self_test=True)) == 1
    assert on_ray.segments(Job(RunOptions("org/m"))) == 1


@pytest.mark.parametrize("model", ["/no/such/folder", "missing/", "org/absent", "broken", "m.gguf"])
def test_a_model_that_is_not_there_asks_for_what_any_needs(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run is what reports it, on a worker as on this machine."""
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").mkdir()
    for name in ("config.json", "model.safetensors", "model.safetensors.index.json"):
        (tmp_path / "broken" / name).write_text("{")
    amounts = on_ray.resources(RunOptions(model, device="cpu"), MACHINES, 0)
    assert amounts == {"memory": 4 * 2**30}


def test_an_estimate_that_fails_is_the_failure_of_its_run_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    monkeypatch.setattr(on_ray, "needs", lambda *given: 1 / 0)
    refused = on_ray.Ray(MACHINES, 0).submit(Job(RunOptions("org/m"))).exception()
    assert isinstance(refused, ZeroDivisionError)


def test_a_cluster_that_does_not_answer_is_one_clear_error(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(out, "a", more="--engine ray --address 127.0.0.1:1") == 1
    assert "no Ray cluster at 127.0.0.1:1: " in capsys.readouterr().err
    assert not out.exists()


class Remote:
    """What stands for a remote function of Ray: it notes its options and calls, and returns what it is given."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.options_given: list[dict[str, Any]] = []
        self.calls: list[tuple[Any, ...]] = []

    def options(self, **options: Any) -> "Remote":
        self.options_given.append(options)
        return self

    def remote(self, *args: Any) -> Any:
        self.calls.append(args)
        return self.value


def test_the_smallest_gpu_of_the_living_machines_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    nodes = [
        {"Alive": alive, "NodeID": number * 56, "Resources": resources}
        for alive, number, resources in (
            (True, "1", {"CPU": 8.0, "GPU": 2.0}),
            (True, "2", {"CPU": 4.0}),
            (True, "3", {"CPU": 8.0, "GPU": 1.0}),
            (False, "4", {"CPU": 8.0, "GPU": 1.0}),
        )
    ]
    probe = Remote(None)
    sizes = iter((80, 24))
    monkeypatch.setattr(on_ray.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(on_ray.ray, "remote", lambda function: probe)
    monkeypatch.setattr(on_ray.ray, "get", lambda asked: [next(sizes) for _ in asked])
    cluster = on_ray.cluster()
    assert (cluster.machines, cluster.gpu) == ([node["Resources"] for node in nodes[:3]], 24)
    asked = [options["scheduling_strategy"].node_id for options in probe.options_given]
    assert asked == ["1" * 56, "3" * 56]


def test_a_job_is_one_task_or_its_shares_and_one_that_joins_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    job, done = Job(RunOptions("org/m", device="cpu")), Future[Any]()
    task = Remote(SimpleNamespace(future=lambda: done))
    monkeypatch.setattr(on_ray, "resources", lambda *given: {"memory": 7})
    monkeypatch.setattr(on_ray, "slots", lambda *given: 3)
    monkeypatch.setattr(on_ray.ray, "remote", lambda function: task)
    monkeypatch.setenv(on_ray.THREADS, "2")
    for segments, shares in ((1, 0), (2, 2), (9, 3)):
        task.calls.clear()
        monkeypatch.setattr(on_ray, "segments", lambda given, count=segments: count)
        assert on_ray.Ray(MACHINES, 0).submit(job) is done
        *parts, whole = task.calls
        assert [part[0].share for part in parts] == [(i, shares) for i in range(shares)]
        assert whole == (job, os.getcwd(), "2", *[task.value] * shares)
    assert task.options_given[0] == {"name": "m", "max_retries": on_ray.RETRIES, "memory": 7}


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("127.0.0.1:6379", ("127.0.0.1", 6379)),
        ("ray://host:10001", ("host", 10001)),
        ("[::1]:6379", ("::1", 6379)),
    ],
)
def test_a_cluster_is_asked_for_at_its_address(
    address: str, place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    tried: list[tuple[str, int]] = []

    def refuse(where: tuple[str, int], timeout: float) -> None:
        tried.append(where)
        raise OSError("no route")

    monkeypatch.setattr(on_ray.socket, "create_connection", refuse)
    with pytest.raises(LensError, match=r"^no Ray cluster at .*: no route$"):
        on_ray.connect(address)
    assert tried == [place]


def test_handlers_are_as_they_were() -> None:
    """Of SIGTERM in the main thread alone, where a handler can be set."""
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    before = signal.getsignal(signal.SIGTERM)
    level = logging.getLogger("ray").level
    try:
        with on_ray.restore_handlers():
            signal.signal(signal.SIGTERM, lambda *_: None)
            logging.getLogger("ray").setLevel(logging.CRITICAL)
        assert signal.getsignal(signal.SIGTERM) is before
        assert logging.getLogger("ray").level == level
    finally:
        signal.signal(signal.SIGTERM, before)

    def elsewhere() -> None:
        with on_ray.restore_handlers():
            pass

    with ThreadPoolExecutor(1) as pool:
        pool.submit(elsewhere).result()


def test_without_ray_there_is_one_clear_error(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "lenses_min.sweep.on_ray", raising=False)
    assert start(out, "a", more="--engine ray") == 2
    assert (
        "--engine ray needs Ray; install it: pip install 'lenses-min[ray]'"
        in capsys.readouterr().err
    )
    assert not out.exists()
