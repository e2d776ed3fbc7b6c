"""How many parameters a checkpoint holds, by its files, its config or its name."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, LlamaConfig

from lenses_min import LensError
from lenses_min.model import checkpoint


def config(dtype: torch.dtype | None = None) -> Any:
    """A config that transformers builds no model from."""
    return SimpleNamespace(dtype=dtype)


@pytest.mark.parametrize(
    ("name", "size"), [("a-7b", 7), ("Qwen3-1.7B", 1.7), ("x-0.5B-34B", 34), ("plain", 0)]
)
def test_sizes_in_names(name: str, size: float) -> None:
    assert checkpoint.billions(name) == size


def count(model: Path | str, model_id: str = "org/x-70B", stored: Any = None) -> tuple[float, str]:
    return checkpoint.count_parameters(str(model), model_id, stored or config())


def exact(folder: Path) -> int:
    return sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())


def test_headers_count_exactly_and_names_count_last(models: Path, tmp_path: Path) -> None:
    assert count(models / "rms-rope") == (exact(models / "rms-rope"), "by its files")
    assert count("org/x-70B", "mine") == (70e9, "by its name")
    assert count("org/x", "mine") == (0, "its size is unknown")
    (tmp_path / "m.gguf").write_bytes(bytes(1000))
    assert count(tmp_path / "m.gguf") == (2000, "by the size of its file, 4 bits each")


def test_a_config_counts_where_there_are_no_files() -> None:
    """Tied weights once; nothing is allocated."""
    sizes: dict[str, Any] = {
        "vocab_size": 128_256,
        "hidden_size": 8192,
        "intermediate_size": 28_672,
        "num_hidden_layers": 80,
    }
    heads: dict[str, Any] = {"num_attention_heads": 64, "num_key_value_heads": 8}
    assert count("org/x-1B", stored=LlamaConfig(**sizes, **heads)) == (
        70_553_706_496,
        "by its config",
    )
    tied = LlamaConfig(**sizes, **heads, tie_word_embeddings=True)
    assert count("org/x-1B", stored=tied) == (70_553_706_496 - 128_256 * 8192, "by its config")


def test_shards_are_added_and_missing_ones_named_by_the_index(tmp_path: Path) -> None:
    """What is no weight of the model, as the file beside the shards, is not counted."""
    for name in ("a", "b", "consolidated"):
        save_file({"w": torch.zeros(3, 5, dtype=torch.bfloat16)}, tmp_path / f"{name}.safetensors")
    index = {
        "metadata": {"total_size": 60},
        "weight_map": {"x": "a.safetensors", "y": "b.safetensors"},
    }
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert count(tmp_path) == (30, "by its files")
    (tmp_path / "b.safetensors").unlink()
    assert count(tmp_path, stored=config(dtype=torch.float32)) == (15, "by its files")
    assert count(tmp_path) == (30, "by its files"), (
        "no dtype declared: 2 bytes each, so that none is too few"
    )


def test_bin_files_count_by_their_size(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(400))
    assert count(tmp_path, stored=config(dtype=torch.float32)) == (100, "by its files")
    assert count(tmp_path) == (200, "by its files")


def test_a_count_is_a_whole_number(tmp_path: Path) -> None:
    """Bytes beyond the last whole parameter, as those of a header, are no parameter."""
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(401))
    assert [str(part) for part in count(tmp_path)] == ["200", "by its files"]
    (tmp_path / "pytorch_model.bin").unlink()
    listed = {"metadata": {"total_size": 61}, "weight_map": {"w": "absent.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(listed))
    assert [str(part) for part in count(tmp_path)] == ["30", "by its files"]


def test_a_folder_is_taken_before_a_cached_model_of_its_name(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cached = str(models / "rms-rope" / "config.json")
    monkeypatch.setattr(checkpoint, "try_to_load_from_cache", lambda model, file: cached)
    assert checkpoint.folder_of("gpt2") == models / "rms-rope"
    (tmp_path / "gpt2").mkdir()
    assert checkpoint.folder_of("gpt2") == Path("gpt2")


def test_a_hub_id_is_counted_in_the_local_cache(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = []

    def cached(model: str, file: str) -> str | None:
        requests.append((model, file))
        return str(models / "rms-rope" / file)

    monkeypatch.setattr(checkpoint, "try_to_load_from_cache", cached)
    assert count("org/x-70B") == (exact(models / "rms-rope"), "by its files")
    assert requests == [("org/x-70B", "config.json")]


def test_every_golden_model_is_counted_alike_by_files_and_by_config(models: Path) -> None:
    for folder in sorted(models.iterdir()):
        stored = AutoConfig.from_pretrained(folder)
        by_files, by_config = count(folder, stored=stored)[0], checkpoint.in_config(stored)
        assert by_files == pytest.approx(by_config, rel=0.02), folder


@pytest.mark.parametrize(
    ("listed", "valid"),
    [
        ({"metadata": {}, "weight_map": {"w": "a.safetensors"}}, True),
        ({"metadata": [], "weight_map": {"w": "a.safetensors"}}, False),
        ({"metadata": None, "weight_map": {"w": "a.safetensors"}}, False),
        ({"metadata": {}, "weight_map": {}}, False),
        ({"metadata": {}, "weight_map": {"w": "/a.safetensors"}}, False),
        ({"metadata": {}, "weight_map": {"w": "../a.safetensors"}}, False),
        ({"metadata": {}, "weight_map": {"w": 1}}, False),
        ({"weight_map": {"w": "a.safetensors"}}, False),
        ([], False),
    ],
)
def test_an_index_names_files_of_its_folder(listed: Any, valid: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(listed))
    if valid:
        assert checkpoint.read_index(path) == listed
        return
    with pytest.raises(LensError) as caught:
        checkpoint.read_index(path)
    assert str(caught.value) == (
        f"{path} is no index of shards: a JSON object with metadata, and a weight_map that names files of its folder; "
        "get a whole checkpoint"
    )
