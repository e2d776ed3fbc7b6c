"""A local model is read without a connection, an installation, code of its checkpoint, or a question to the user."""

import builtins
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from transformers import (
    AutoModelForImageTextToText,
    Gemma3Config,
    LlavaConfig,
    Mistral3Config,
    Qwen2_5_VLConfig,
)

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.output.run import Run
from spec.recipe import FAMILIES, build, new_model
from tests import tiny_gguf

CALLS = [(socket.socket, "connect"), (socket, "getaddrinfo"), (socket, "create_connection")]
CALLS += [(subprocess, "Popen"), (os, "system"), (os, "execv"), (os, "posix_spawn")]
CALLS += [(builtins, "input")]


@pytest.fixture(autouse=True)
def alarms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sockets, processes and questions raise and are noted; installers on PATH leave a file."""
    rung: list[str] = []

    def alarm(name: str) -> Callable[..., None]:
        def ring(*given: Any, **more: Any) -> None:
            rung.append(name)
            raise OSError(f"alarm: {name}")

        return ring

    for owner, name in CALLS:
        monkeypatch.setattr(owner, name, alarm(name))
    for name in ("pip", "pip3", "uv", "git", "conda"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield
    assert rung == []
    assert not (tmp_path / "ran").exists()


def run(folder: Path, contract: str = "corrected") -> Run:
    return pipeline.run(RunOptions(str(folder), device="cpu", contract=contract))


@pytest.mark.parametrize("family", FAMILIES)
def test_of_every_family(family: str, tmp_path: Path) -> None:
    run(build(new_model(family, seed=5), tmp_path / family))


def test_of_a_gguf_file(models: Path, tmp_path: Path) -> None:
    """As it is converted, and from the cache."""
    file = tiny_gguf.write(tmp_path / "m.gguf", models)
    assert run(file).tables == run(file).tables


TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 115,
    "max_position_embeddings": 128,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
QWEN = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_heads": 2,
    "out_hidden_size": 32,
}


def with_vision(kind: Any, text: dict[str, Any], vision: dict[str, Any], **more: Any) -> Any:
    return kind(text_config=TEXT | text, vision_config=vision, **more)


MULTIMODAL: dict[str, Callable[[], Any]] = {
    "gemma3": lambda: with_vision(
        Gemma3Config,
        {"sliding_window": 16},
        VISION | {"model_type": "siglip_vision_model"},
        mm_tokens_per_image=4,
    ),
    "llava": lambda: with_vision(
        LlavaConfig, {"model_type": "llama"}, VISION | {"model_type": "clip_vision_model"}
    ),
    "mistral3": lambda: with_vision(
        Mistral3Config,
        {"model_type": "mistral"},
        VISION | {"model_type": "pixtral", "head_dim": 8},
    ),
    "qwen2_5_vl": lambda: with_vision(Qwen2_5_VLConfig, {"rope_parameters": MROPE}, QWEN),
}


@pytest.mark.parametrize("name", MULTIMODAL)
def test_of_models_with_vision(name: str, models: Path, tmp_path: Path) -> None:
    """The processor of images is not needed. Qwen's adapter asks for torchvision, and the error says so."""
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(MULTIMODAL[name]()).save_pretrained(tmp_path / name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(models / "rms-rope" / file, tmp_path / name)
    problem = ""
    try:
        assert run(tmp_path / name).manifest["last_layer_proof"]["holds"]
    except LensError as error:
        problem = str(error)
    if problem:
        assert name == "qwen2_5_vl"
        assert "needs the optional torchvision library" in problem


CODE = "import pathlib; pathlib.Path(__file__).with_name('ran').touch()\n"
MODULES = ("modeling_own", "configuration_own", "tokenization_own", "modeling_internlm2")


def checkpoint(folder: Path, **config: Any) -> Path:
    """A tiny Llama with code of its own, that a question or an import would run."""
    build(new_model("llama", seed=5), folder)
    (folder / "custom_generate").mkdir()
    for name in (*MODULES, "custom_generate/generate"):
        (folder / f"{name}.py").write_text(CODE)
    written = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(written))
    return folder


def auto_map(kind: str) -> dict[str, str]:
    names = {
        "AutoConfig": f"configuration_own.{kind}Config",
        "AutoModel": f"modeling_own.{kind}Model",
    }
    return names | {"AutoModelForCausalLM": f"modeling_own.{kind}ForCausalLM"}


def ran(folder: Path) -> list[Path]:
    return list(folder.rglob("ran"))


def test_code_beside_a_model_of_transformers_is_not_run(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "m", auto_map=auto_map("Llama"))
    plain = run(build(new_model("llama", seed=5), tmp_path / "plain"))
    finished = run(folder)
    warning = "the code that comes with the checkpoint is not run; transformers has its own for this model"
    assert finished.manifest["warnings"] == [warning]
    assert finished.tables == plain.tables
    assert ran(folder) == []


REFUSED = {
    "a class of its own": (
        {"auto_map": auto_map("Own"), "architectures": ["OwnForCausalLM"]},
        "is OwnForCausalLM, whose code comes with the checkpoint and is never run; LlamaForCausalLM of transformers",
    ),
    "a class that TransformerLens would import": (
        {
            "auto_map": {"AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM"},
            "architectures": ["InternLM2ForCausalLM"],
        },
        "is InternLM2ForCausalLM, whose code comes with the checkpoint and is never run",
    ),
    "a type of its own": (
        {"auto_map": auto_map("Own"), "model_type": "own"},
        f"is of the type 'own', which transformers {version('transformers')} does not know, and the code that comes "
        "with it is never run;",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("contract", ["reference", "corrected"])
def test_a_model_that_needs_its_own_code_is_refused(
    name: str, contract: str, tmp_path: Path
) -> None:
    config, message = REFUSED[name]
    folder = checkpoint(tmp_path / "m", **config)
    with pytest.raises(LensError) as caught:
        run(folder, contract)
    assert message in str(caught.value)
    assert ran(folder) == []


def test_the_name_of_a_class_alone_imports_nothing(tmp_path: Path) -> None:
    """TransformerLens would import modeling_internlm2.py for this one."""
    folder = checkpoint(tmp_path / "m", architectures=["InternLM2ForCausalLM"])
    assert run(folder).manifest["last_layer_proof"]["holds"]
    assert ran(folder) == []


def test_a_tokenizer_with_code_of_its_own_is_not_run(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "m")
    path = folder / "tokenizer_config.json"
    own = {"auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    run(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(LensError, match="cannot read the tokenizer of "):
        run(folder)
    assert ran(folder) == []
