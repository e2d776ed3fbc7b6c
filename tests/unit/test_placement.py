"""Device and dtype by the contract's policy."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lenses_min import LensError, placement

GIB = 2**30


@pytest.mark.parametrize(
    ("device", "model_id", "family", "dtype"),
    [
        ("cpu", "org/M-8B", "llama", torch.float32),
        ("cpu", "org/M-34B", "llama", torch.bfloat16),
        ("cpu", "org/M-30b-it", "llama", torch.bfloat16),
        ("cpu", "org/B34-model", "llama", torch.float32),
        ("cpu", "org/8x34Big", "llama", torch.float32),
        ("cuda", "org/M-8B", "llama", torch.float16),
        ("cuda", "org/g-9b", "gemma2", torch.bfloat16),
        ("mps", "org/gemma-2-9b", "gemma2", torch.float16),
    ],
)
def test_compute_dtype(device: str, model_id: str, family: str, dtype: torch.dtype) -> None:
    assert placement.compute_dtype(device, model_id, family) == dtype


@pytest.mark.parametrize(("name", "size"), [("a-7b", 7), ("Qwen3-1.7B", 1.7), ("x-0.5B-34B", 34), ("plain", 0)])
def test_sizes_in_names(name: str, size: float) -> None:
    assert placement.billions(name) == size


def test_parameters_come_from_the_files(models: Path, tmp_path: Path) -> None:
    counted = placement.count_parameters(str(models / "rms-rope"), "tiny/x-70B", torch.float32)
    assert counted == pytest.approx(45_000, rel=0.05)
    assert placement.count_parameters("org/x-70B", "org/x-70B", torch.float32) == 70e9
    (tmp_path / "m.gguf").write_bytes(bytes(1000))
    assert placement.count_parameters(str(tmp_path / "m.gguf"), "m", torch.float32) == 2000


def test_auto_takes_the_first_device_that_holds_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"cuda": 20 * GIB, "mps": 99 * GIB, "cpu": 48 * GIB}
    monkeypatch.setattr(placement, "available", lambda device: device != "mps")
    monkeypatch.setattr(placement, "free_bytes", free.__getitem__)
    small = placement.place("auto", "org/M-7B", "org/M-7B", "llama", torch.float32)
    assert (small.device, small.dtype) == ("cuda", torch.float16)
    large = placement.place("auto", "org/M-8B", "org/M-8B", "llama", torch.float32)
    assert (large.device, large.notes[0]) == ("cpu", "cuda: needs 20.9 GiB, 20.0 GiB free")
    with pytest.raises(LensError, match=r"fits on no device \(cuda: .*; cpu: needs .* GiB, 48.0 GiB free\)"):
        placement.place("auto", "org/M-70B", "org/M-70B", "llama", torch.float32)


def test_an_absent_device_falls_back_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "available", lambda device: device == "cpu")
    found = placement.place("cuda", "m", "m", "llama", torch.float32)
    assert (found.device, found.warnings) == (
        "cpu",
        ("device cuda was asked for but is not available: running on cpu",),
    )


@pytest.mark.parametrize(("cuda", "mps"), [(False, True), (True, False)])
def test_what_is_available_is_asked_of_torch(cuda: bool, mps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert [placement.available(device) for device in ("cpu", "cuda", "mps")] == [True, cuda, mps]


def test_free_memory_is_the_devices_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (5, 80))
    monkeypatch.setattr(placement.psutil, "virtual_memory", lambda: SimpleNamespace(available=7, total=90))
    assert [placement.free_bytes(device) for device in ("cuda", "mps", "cpu")] == [5, 7, 7]


def test_a_renamed_model_is_sized_by_its_hub_id() -> None:
    assert placement.count_parameters("org/x-70B", "mine", torch.float32) == 70e9


def test_a_wanted_device_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "available", lambda device: True)
    assert placement.place("cuda", "m", "m", "llama", torch.float32) == placement.Placement("cuda", torch.float16)
