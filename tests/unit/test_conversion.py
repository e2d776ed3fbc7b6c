"""A .gguf file is converted once into the user's cache, and a run from there is the same to the byte."""

import json
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lenses_min import LensError, RunOptions, conversion, loading, pipeline

NAMES = {  # of a block, as the file has them and as transformers does
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}


@pytest.fixture(scope="module")
def file(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """golden/models/byte-bpe in half precision, its rotary halves as llama.cpp interleaves them."""
    source, path = models / "byte-bpe", tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    config, tokenizer = (
        json.loads((source / f"{name}.json").read_text()) for name in ("config", "tokenizer")
    )
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(330)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get))
    writer.add_token_types([3] + [1] * 329)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    named = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    named |= {f"blk.{y}.{a}": f"model.layers.{y}.{b}" for y in range(4) for a, b in NAMES.items()}
    weights = load_file(source / "model.safetensors")
    for name, theirs in named.items():
        weight = weights[f"{theirs}.weight"].numpy()
        for kind, heads in (("attn_q", 4), ("attn_k", 2)):
            if name.endswith(kind):
                weight = weight.reshape(heads, 2, 4, 32).swapaxes(1, 2).reshape(weight.shape)
        writer.add_tensor(
            f"{name}.weight", weight.astype(np.float16 if weight.ndim > 1 else np.float32)
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lenses-min" / "gguf"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(conversion.log, level, lambda text, *parts: lines.append(text % parts))
    return lines


def outputs(file: Path, out: Path, **options: Any) -> dict[str, Any]:
    pipeline.run(RunOptions(str(file), device="cpu", lenses=("norm", "raw"), **options)).save(out)
    found: dict[str, Any] = {path.name: path.read_bytes() for path in out.iterdir()}
    told = json.loads(found.pop("run-tiny.manifest.json"))
    timed = ("options", "finished_at", "elapsed_s", "peak_memory")
    return found | {name: value for name, value in told.items() if name not in timed}


def test_a_run_from_the_cache_is_the_same(
    file: Path, cache: Path, tmp_path: Path, monkeypatch, said
) -> None:
    plain = outputs(file, tmp_path / "plain", cache=False)
    assert not cache.exists()
    assert outputs(file, tmp_path / "first") == plain
    (place,) = [path for path in cache.iterdir() if path.suffix != ".lock"]
    assert said == [f"converted tiny.gguf once: 0 MB in {place}"]
    monkeypatch.setattr(loading, "read_gguf", None)
    assert outputs(file, tmp_path / "second") == plain
    assert len(said) == 1


def test_another_content_or_version_is_another_entry(
    file: Path, tmp_path: Path, monkeypatch
) -> None:
    other = tmp_path / file.name
    other.write_bytes(file.read_bytes())
    assert conversion.entry(other) == conversion.entry(file)
    other.write_bytes(file.read_bytes()[:-1] + b"x")
    assert conversion.entry(other) != conversion.entry(file)
    before = conversion.entry(file)
    monkeypatch.setattr(conversion, "__version__", "other")
    assert conversion.entry(file) != before


def read(file: Path) -> tuple[Path, Any, Any]:
    name, where = loading.source_of(str(file))
    model = loading.read_gguf(name, where, torch.float32)
    return conversion.entry(file), model, loading.read_tokenizer(name, where)


def test_a_killed_conversion_leaves_nothing_that_is_taken(
    file: Path, cache: Path, monkeypatch
) -> None:
    place, model, tokenizer = read(file)
    part = place.with_name(f".{place.name}")
    part.mkdir(parents=True)
    (part / "config.json").write_text("{}")
    saves, save = [], model.save_pretrained

    def slowly(folder: Path) -> None:
        saves.append(folder)
        time.sleep(0.2)
        save(folder)

    monkeypatch.setattr(model, "save_pretrained", slowly)
    with ThreadPool(2) as two:
        assert two.map(lambda _: conversion.keep(place, model, tokenizer), range(2)) == [True, True]
    assert saves == [part], "by one of the two"
    assert not part.exists()
    assert load_file(place / "model.safetensors")


def test_what_cannot_be_kept_is_read_from_the_file(
    file: Path, cache: Path, tmp_path: Path, monkeypatch, said
) -> None:
    place, model, tokenizer = read(file)
    monkeypatch.setattr(
        tokenizer, "save_pretrained", lambda folder: type(tokenizer).save_pretrained(other, folder)
    )
    other = loading.read_tokenizer(str(file.parent), {"gguf_file": file.name})
    other.add_tokens(["more"])
    assert not conversion.keep(place, model, tokenizer)
    assert "its tokenizer reads otherwise when it is saved" in said[0]
    assert not place.exists()
    cache.rename(cache.with_name("x"))
    cache.write_text("")
    assert loading.load(RunOptions(str(file), device="cpu")).facts.n_layers == 4
    assert f"the weights of the .gguf file cannot be kept in {cache}" in said[1]


def test_a_broken_file_is_one_clear_error(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(LensError, match="cannot read the config of"):
        loading.load(RunOptions(str(tmp_path / "bad.gguf"), device="cpu"))
    assert not cache.exists()
