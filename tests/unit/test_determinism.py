"""Two runs write the same bytes, any number of threads agrees within tolerance, and settings are restored."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from lenses_min import RunOptions, pipeline
from lenses_min.model.determinism import SEED, WORKSPACE, deterministic, settings
from spec.compare.diff import diff
from spec.compare.tolerance import by_name
from spec.compare.verdicts import CHANGED

MEASURED = ("finished_at", "elapsed_s", "peak_memory")


def state() -> tuple[Any, ...]:
    """All settings of a run, those that the manifest does not record included."""
    return (
        settings(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_rng_state().tolist(),
    )


@pytest.fixture
def odd_settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings of a caller that a run must neither keep nor lose."""
    threads = torch.get_num_threads()
    monkeypatch.delenv(WORKSPACE, raising=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    torch.set_num_threads(3)
    yield state()
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("threads", "holds"), [(0, 3), (2, 2)])
def test_settings_hold_in_a_run_and_return_after_it(
    threads: int, holds: int, odd_settings: tuple[Any, ...]
) -> None:
    expected = {"deterministic_algorithms": True, "float32_matmul_precision": "highest"}
    expected |= {"cublas_workspace_config": ":4096:8", "threads": holds}

    def run() -> None:
        with deterministic(threads):
            assert state()[:2] == (expected, False)
            assert torch.initial_seed() == SEED
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        run()
    assert state() == odd_settings


def test_a_workspace_of_ones_own_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with deterministic():
        assert settings()["cublas_workspace_config"] == ":16:8"
    assert os.environ[WORKSPACE] == ":16:8"


def test_a_workspace_that_is_removed_within_stays_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)
    with deterministic():
        del os.environ[WORKSPACE]
    assert WORKSPACE not in os.environ


@pytest.mark.parametrize(("in_use", "devices"), [(True, [0, 1]), (False, [])])
def test_the_random_states_of_gpus_in_use_return_too(
    in_use: bool, devices: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for the state of a GPU that is not in use would start CUDA."""
    forked: list[int] = []

    @contextmanager
    def fork_rng(devices: Iterable[int]) -> Iterator[None]:
        forked.extend(devices)
        yield

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: in_use)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: None)
    monkeypatch.setattr(torch.random, "fork_rng", fork_rng)
    with deterministic():
        pass
    assert forked == devices


def content(path: Path) -> Any:
    if not path.name.endswith(".manifest.json"):
        return path.read_bytes()
    return {
        key: value for key, value in json.loads(path.read_text()).items() if key not in MEASURED
    }


def test_two_runs_write_the_same_bytes_in_every_file(models: Path, tmp_path: Path) -> None:
    options = RunOptions(
        str(models / "rms-rope"),
        device="cpu",
        keep_residuals=True,
        lenses=("final", "raw"),
        threads=1,
    )
    outputs = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        pipeline.run(options).save(folder)
        outputs.append({path.name: content(path) for path in folder.iterdir()})
    assert len(outputs[0]) == 1 + 1 + 3 * 2 + 1 + 5
    assert outputs[0] == outputs[1]


def test_the_number_of_threads_changes_nothing_beyond_tolerance(
    models: Path, tmp_path: Path
) -> None:
    """One prompt alone: two threads that wait for each other are slow where others want the cores."""
    prompts = tmp_path / "one.jsonl"
    prompts.write_text(
        '{"id": "one", "context": "The capital of Germany is called", "answer": "Berlin"}'
    )
    folders = [tmp_path / "1", tmp_path / "2"]
    for threads, folder in enumerate(folders, start=1):
        options = RunOptions(
            str(models / "rms-rope"), device="cpu", prompts=str(prompts), threads=threads
        )
        run = pipeline.run(options)
        assert run.manifest["determinism"]["threads"] == threads
        run.save(folder)
    difference = diff(folders, (None, None), by_name("fp32"))
    assert (difference.verdict != CHANGED, difference.compared > 50) == (True, True)
