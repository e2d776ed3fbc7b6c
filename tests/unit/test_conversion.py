"""A .gguf file is converted once into the user's cache, and a run from there is the same to the byte."""

import json
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.model import gguf_cache, load
from lenses_min.model.placement import Placement
from lenses_min.model.pretrained import read_config, read_model, read_tokenizer
from lenses_min.model.source import source_of
from tests import tiny_gguf


@pytest.fixture(scope="module")
def file(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf", models)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lenses-min" / "gguf"


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(gguf_cache.log, level, lambda text, *parts: lines.append(text % parts))
    return lines


def outputs(file: Path, out: Path, **options: Any) -> dict[str, Any]:
    pipeline.run(RunOptions(str(file), device="cpu", lenses=("norm", "raw"), **options)).save(out)
    files: dict[str, Any] = {path.name: path.read_bytes() for path in out.iterdir()}
    manifest = json.loads(files.pop("run-tiny.manifest.json"))
    timed = ("options", "finished_at", "elapsed_s", "peak_memory")
    return files | {name: value for name, value in manifest.items() if name not in timed}


def test_a_run_from_the_cache_is_the_same(
    file: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    plain = outputs(file, tmp_path / "plain", cache=False)
    assert not cache.exists()
    assert outputs(file, tmp_path / "first") == plain
    (place,) = [path for path in cache.iterdir() if path.suffix != ".lock"]
    assert messages == [f"converted tiny.gguf once: 0 MB in {place}"]
    monkeypatch.setattr(gguf_cache, "keep", None)
    assert outputs(file, tmp_path / "second") == plain
    assert len(messages) == 1


def test_another_content_version_or_rule_is_another_entry(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / file.name
    other.write_bytes(file.read_bytes())
    assert gguf_cache.entry(other) == gguf_cache.entry(file)
    other.write_bytes(file.read_bytes()[:-1] + b"x")
    assert gguf_cache.entry(other) != gguf_cache.entry(file)
    before = gguf_cache.entry(file)
    for name, value in (("__version__", "other"), ("RULE", gguf_cache.RULE - 1)):
        with monkeypatch.context() as patched:
            patched.setattr(gguf_cache, name, value)
            assert gguf_cache.entry(file) != before


def read(file: Path) -> tuple[Path, Any, Any]:
    name, location = source_of(str(file))
    config = read_config(name, location, "tiny")
    model, _ = read_model(name, location, config, Placement("cpu", torch.float32), "tiny")
    return gguf_cache.entry(file), model, read_tokenizer(name, location, "tiny")


def test_a_killed_conversion_leaves_nothing_that_is_taken(
    file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
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
        assert two.map(lambda _: gguf_cache.keep(place, model, tokenizer), range(2)) == [True, True]
    assert saves == [part], "by one of the two"
    assert not part.exists()
    assert load_file(place / "model.safetensors")


def test_what_cannot_be_kept_is_read_from_the_file(
    file: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    place, model, tokenizer = read(file)
    other = read_tokenizer(str(file.parent), {"gguf_file": file.name}, "tiny")
    other.add_tokens(["more"])
    monkeypatch.setattr(
        tokenizer, "save_pretrained", lambda folder: type(tokenizer).save_pretrained(other, folder)
    )
    assert not gguf_cache.keep(place, model, tokenizer)
    assert "its tokenizer reads otherwise when it is saved" in messages[0]
    assert not place.exists()
    cache.rename(cache.with_name("x"))
    cache.write_text("")
    assert load.load(RunOptions(str(file), device="cpu")).facts.n_layers == 4
    assert f"the weights of the .gguf file cannot be kept in {cache}" in messages[1]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ({"without": "blk.1.ffn_up.weight"}, "lacks weights: model.layers.1.mlp.up_proj.weight; "),
        ({"more": {"blk.0.attn_q.bias": np.ones(32, np.float32)}}, "tensors blk.0.attn_q.bias; "),
        ({"metadata": {"split.count": 2, "split.no": 0}}, "is part 1 of 2 of a model; join them"),
    ],
)
def test_nothing_incomplete_enters_the_cache(
    harm: dict[str, Any], message: str, models: Path, tmp_path: Path, cache: Path
) -> None:
    file = tiny_gguf.write(tmp_path / "part.gguf", models, **harm)
    for cached in (True, False):
        with pytest.raises(LensError) as caught:
            load.load(RunOptions(str(file), device="cpu", cache=cached))
        assert message in str(caught.value)
    assert not cache.exists()


def test_a_broken_file_is_one_clear_error(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(LensError, match="cannot read the config of"):
        load.load(RunOptions(str(tmp_path / "bad.gguf"), device="cpu"))
    assert not cache.exists()
