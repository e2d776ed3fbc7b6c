"""`lenses-min doctor`: what is here, and where a model would run."""

import platform
import re
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from lenses_min import RunOptions
from lenses_min.cli import command_line
from lenses_min.model import estimate, placement
from lenses_min.output import manifest

GIB = 2**30


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    return {
        line.split()[0]: line.split()[1:]
        for line in capsys.readouterr().out.splitlines()
        if line.strip()
    }


def test_what_is_here_and_where_the_ten_would_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(placement, "available", lambda device: device != "mps")
    free = {"cuda": {"cuda:0": 9 * GIB, "cuda:1": 40 * GIB}, "cpu": {"cpu": 170 * GIB}}
    monkeypatch.setattr(placement, "free_memory", free.__getitem__)
    cached = tmp_path / "lenses-min" / "gguf" / "m"
    cached.mkdir(parents=True)
    (cached / "model.safetensors").write_bytes(bytes(2**27))
    assert command_line.main(["doctor"]) == 0
    printed = lines(capsys)
    assert printed["cache"][:3] == [f"{tmp_path / 'lenses-min'},", "0.1", "GiB;"]
    assert {"torch", "transformers", "ray", "accelerate", "cpu"} <= {*printed}
    assert printed["meta-llama/Meta-Llama-3-8B"] == [
        "8B",
        "20.9",
        "GiB",
        "23.6",
        "GiB",
        "39.8",
        "GiB",
        "cuda",
    ]
    assert printed["google/gemma-2-27b"][-1] == "cpu"
    assert printed["Qwen/Qwen2.5-72B"] == [
        "72B",
        "175.8",
        "GiB",
        "184.5",
        "GiB",
        "164.9",
        "GiB",
        "cpu",
    ]
    assert len([name for name in printed if "/" in name]) == 10


def test_models_that_are_named(
    models: Path,
    cpu_of_16_gib: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(models)
    assert command_line.main(["doctor", "fact", "some/model"]) == 0
    printed = lines(capsys)
    assert printed["fact"] == ["0.00101B", "1.5", "GiB", "3.5", "GiB", "4.0", "GiB", "cpu"]
    assert " ".join(printed["some/model"]).endswith(
        "neither its files here nor its name tell its size"
    )
    assert command_line.main(["doctor", "fact", "./none", "org/M-900B"]) == 1
    printed = lines(capsys)
    assert "nowhere here: there is no checkpoint folder or .gguf file at ./none" in " ".join(
        printed["./none"]
    )
    assert printed["./none"][:5] == ["-", "-", "-", "-", "nowhere"]
    assert printed["org/M-900B"][-2:] == ["nowhere", "here"]


def test_the_whole_print(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Facts, a blank line and the models; 160 columns wide without a terminal, long names folded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(platform, "platform", lambda: "Linux-6.1")
    monkeypatch.setattr(placement, "available", lambda device: device in ("cuda", "cpu"))
    monkeypatch.setattr(placement, "free_memory", lambda device: {device: 30 * GIB})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    memory = {0: (9 * GIB, 80 * GIB), 1: (40 * GIB, 80 * GIB)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory.__getitem__)
    names = {0: "NVIDIA H100", 1: "NVIDIA [b]"}
    monkeypatch.setattr(torch.cuda, "get_device_name", names.__getitem__)
    free = SimpleNamespace(available=6 * GIB, total=8 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(manifest, "versions", lambda: {"python": "3.11.2", "torch": "2.13"})

    def version(name: str) -> str:
        if name == "accelerate":
            raise metadata.PackageNotFoundError(name)
        return {"ray": "2.50", "hf-xet": "1.2"}[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.chdir(models)
    long = f"org/{'m' * 85}"
    assert command_line.main(["doctor", "fact", long, "org/M-900B"]) == 1
    first, second = capsys.readouterr().out.split("\n\n")
    facts = {
        "python": "3.11.2",
        "torch": "2.13",
        "system": "Linux-6.1",
        "ray": "2.50",
        "accelerate": "not installed (models over several GPUs)",
        "hf-xet": "1.2",
        "cuda:0": "NVIDIA H100, 9.0 GiB of 80.0 GiB free",
        "cuda:1": "NVIDIA [b], 40.0 GiB of 80.0 GiB free",
        "mps": "none",
        "cpu": "4 cores, 6.0 GiB of 8.0 GiB free",
        "cache": f"{tmp_path}/lenses-min, 0.0 GiB; lenses-min cache --clear empties it",
    }
    lines = [f"{name:<11} {fact}" for name, fact in facts.items()]
    assert [line.rstrip() for line in first.splitlines()] == lines
    rows = [
        ["model", "parameters", "needs on cuda", "on mps", "on cpu", "would run now on"],
        ["fact", "0.00101B", "1.5 GiB", "3.5 GiB", "4.0 GiB", "cuda"],
        [long[:54], "-", "-", "-", "-", "unknown: neither its files here nor its name tell its"],
        [long[54:], "size"],
        ["org/M-900B", "900B", "2180.8 GiB", "2266.6 GiB", "2015.7 GiB", "nowhere here"],
    ]
    assert [re.split(r"\s{2,}", line.strip()) for line in second.splitlines()] == rows
    assert {len(line) for line in second.splitlines()} <= {*range(161)}


def test_all_of_the_free_memory_is_not_enough(
    models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run with --device auto has it: it takes a device with more than it needs."""
    monkeypatch.chdir(models)
    free = {kind: estimate.needs(RunOptions("fact"), kind) for kind in ("cuda", "mps", "cpu")}
    monkeypatch.setattr(placement, "available", lambda device: device in ("mps", "cpu"))
    monkeypatch.setattr(placement, "free_memory", lambda device: {device: free[device]})
    assert command_line.main(["doctor", "fact"]) == 1
    assert lines(capsys)["fact"][-2:] == ["nowhere", "here"]
    free["mps"] += 1
    assert command_line.main(["doctor", "fact"]) == 0
    printed = lines(capsys)
    assert printed["fact"][-1] == "mps"
    assert printed["cuda"] == ["none"]
    assert printed["mps"] == ["available,", "in", "the", "machine's", "memory"]


def test_a_terminal_has_its_own_width_and_plain_numbers(
    cpu_of_16_gib: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert command_line.main(["doctor", "org/M-1B", f"org/{'m' * 85}"]) == 0
    facts, models = capsys.readouterr().out.split("\n\n")
    assert "\x1b" not in facts
    assert "\x1b[1m" in models, "the head of the table is bold"
    plain = re.sub(r"\x1b\[\d*m", "", models)
    assert {len(line) for line in plain.splitlines()} == {90}
