"""Sweeps in real processes, killed as they run: the files are those of `lenses-min run` in one go."""

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from lenses_min.cli import command_line

pytestmark = pytest.mark.long
MODELS = ("fact", "rms-rope", "qk-norm")
MEASURED = {"finished_at", "elapsed_s", "peak_memory"}


def command(models: Path, out: Path, *more: str, names: Sequence[str] = MODELS) -> list[str]:
    return [
        *(str(models / name) for name in names),
        "--device",
        "cpu",
        "--out-dir",
        str(out),
        "--quiet",
        *more,
    ]


def files(folder: Path) -> dict[str, object]:
    """Outputs by name: bytes, and manifests without measured values and paths of outputs."""
    read: dict[str, object] = {}
    for path in folder.glob("*[!y].*"):  # all but summary.csv
        read[path.name] = path.read_bytes()
        if path.name.startswith("run-"):
            content = json.loads(path.read_bytes())
            assert content["options"].pop("out_dir")
            read[path.name] = {key: value for key, value in content.items() if key not in MEASURED}
    return {name: value for name, value in read.items() if not name.startswith("sweep.")}


@pytest.fixture(scope="module")
def expected(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    out = tmp_path_factory.mktemp("runs")
    for model in MODELS:
        assert (
            command_line.main(
                ["run", str(models / model), "--device", "cpu", "--out-dir", str(out), "--quiet"]
            )
            == 0
        )
    return files(out)


def workers(out: Path) -> list[psutil.Process]:
    """Processes of runs that belong to the sweep in `out`, whoever started them."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = process.cmdline()
            processes += [process] if "lenses_min.sweep" in line and str(out) in line[-1] else []
    return processes


@contextlib.contextmanager
def started(*line: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "lenses_min", "sweep", *line])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait(holds: object, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_killed_at_random_points_a_sweep_ends_with_the_same_files(
    models: Path, tmp_path: Path, expected: dict[str, object]
) -> None:
    line, latest, draw = (
        command(models, tmp_path, "--jobs", "2"),
        tmp_path / "run-latest",
        random.Random(316),
    )
    with started(*line):
        wait(lambda: workers(tmp_path))
        time.sleep(draw.uniform(0, 2))
        workers(tmp_path)[0].kill()
    with started(*line):
        wait(lambda: list(latest.glob("run-*")))  # a run is complete, the last one begins
        time.sleep(draw.uniform(0, 2))
    wait(lambda: not workers(tmp_path))
    times = {path.name: path.stat().st_mtime_ns for path in latest.glob("run-*")}
    assert command_line.main(["sweep", *line]) == 0
    assert files(latest) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"run-latest", ".run-latest.lock"}, (
        "never anew"
    )
    assert (
        times.items()
        <= {path.name: path.stat().st_mtime_ns for path in latest.glob("run-*")}.items()
    ), "not again"


@pytest.mark.nightly
def test_on_ray_a_lost_worker_costs_a_retry_and_an_absent_model_only_itself(
    models: Path, tmp_path: Path, expected: dict[str, object]
) -> None:
    names = MODELS[:2]  # both at work when one is lost
    with started(
        str(tmp_path / "absent"), *command(models, tmp_path, "--engine", "ray", names=names)
    ) as process:
        wait(lambda: len(workers(tmp_path)) > 1 or process.poll() is not None)
        lost = workers(tmp_path)[0].parent()
        assert lost
        assert lost.name().startswith("ray::")
        lost.kill()
        assert process.wait(240) == 1
    written = files(tmp_path / "run-latest")
    report = json.loads(written.pop("output-absent.error.json"))  # type: ignore[arg-type]
    assert report["message"].startswith("there is no checkpoint folder or .gguf file at ")
    assert written == {name: read for name, read in expected.items() if MODELS[2] not in name}
    assert not workers(tmp_path)


@pytest.mark.nightly
def test_on_ray_a_battery_is_divided_and_its_files_are_those_of_one_run(
    models: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "battery.jsonl"
    lines = [
        {"id": f"p{i}", "context": "The capital of Germany is called simply", "answer": "Berlin"}
        for i in range(300)
    ]
    prompts.write_text("\n".join(map(json.dumps, lines)))
    words = command(models, tmp_path, "--prompts", str(prompts), names=["fact"])
    assert command_line.main(["run", *words]) == 0
    with started(*words, "--engine", "ray") as process:
        assert process.wait(240) == 0
    whole, divided = files(tmp_path), files(tmp_path / "run-latest")
    manifest = divided["run-fact.manifest.json"]
    assert isinstance(manifest, dict)
    assert manifest["segments"] == {"passes": 300, "most": 128}
    assert divided == {name: whole[name] for name in divided}
