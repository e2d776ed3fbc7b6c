"""`lenses-min doctor`: what is here, and where a model would run."""

from pathlib import Path

import pytest

from lenses_min.cli import command_line
from lenses_min.model import placement

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
    assert printed["GGUF"] == ["cache", f"{cached.parent},", "0.1", "GiB"]
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
    assert printed["org/M-900B"][-2:] == ["nowhere", "here"]
