"""All of a .gguf file is read: every key of its metadata is accounted for, and every tensor goes into the model."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lenses_min import LensError, RunOptions
from lenses_min.core.forward import last_logits
from lenses_min.model import gguf_file
from lenses_min.model.gguf_file import check_metadata
from lenses_min.model.load import load
from spec.recipe import build, new_model
from tests import tiny_gguf

IDS = [0, 9, 30, 31, 200, 7, 8]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def logits(path: Path, cached: bool = True) -> torch.Tensor:
    model = load(RunOptions(str(path), device="cpu", cache=cached))
    assert model.warnings == ()
    return last_logits(model.bridge, [IDS])


def folder(models: Path, path: Path, **config: Any) -> Path:
    """byte-bpe with its matrices rounded as the file has them, and with another config."""
    shutil.copytree(models / "byte-bpe", path)
    stored = {
        name: tensor.half().float() if tensor.ndim > 1 else tensor
        for name, tensor in load_file(path / "model.safetensors").items()
    }
    save_file(stored, path / "model.safetensors", metadata={"format": "pt"})
    written = json.loads((path / "config.json").read_text()) | config
    (path / "config.json").write_text(json.dumps(written))
    return path


@pytest.mark.parametrize("name", ["m.gguf", "M.GGUF"])
def test_a_file_is_read_as_the_folder_it_was_made_from(
    name: str, models: Path, tmp_path: Path
) -> None:
    file = tiny_gguf.write(tmp_path / name, models)
    expected = logits(folder(models, tmp_path / "folder"))
    for cached in (False, True, True):
        assert torch.allclose(logits(file, cached), expected, rtol=1e-5, atol=1e-5)


def test_a_file_is_parsed_once(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by transformers for configuration, tokenizer and weights, and one table of names."""
    made: list[str] = []

    def count(name: str) -> None:
        real = getattr(gguf, name)

        def make(*given: Any) -> Any:
            made.append(name)
            return real(*given)

        monkeypatch.setattr(gguf, name, make)

    count("GGUFReader")
    count("get_tensor_name_map")
    patched = gguf.GGUFReader
    logits(tiny_gguf.write(tmp_path / "m.gguf", models), cached=False)
    assert made.count("GGUFReader") == 1
    assert made.count("get_tensor_name_map") == 1
    assert gguf.GGUFReader is patched


EPS = {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0}
WIDE = {"attention.key_length": 128, "attention.value_length": 128}
GEMMA3 = {
    "attention.layer_norm_rms_epsilon": 1e-6,
    "rope.freq_base": 1e6,
    "attention.key_length": 256,
    "attention.value_length": 256,
    "attention.sliding_window": 16,
}
SIX_LAYERS = ["sliding_attention"] * 5 + ["full_attention"]
ALIKE: dict[str, tuple[str, dict[str, Any], dict[str, Any], float]] = {
    "qwen2": ("qwen2", {}, EPS, 0),
    "qwen3": ("qwen3", {"head_dim": 128}, EPS | WIDE, 0),
    "gemma3_text": (
        "gemma3",
        {
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "sliding_window": 16,
            "num_hidden_layers": 6,
            "layer_types": SIX_LAYERS,
        },
        GEMMA3,
        1,
    ),
    "stablelm": (
        "stablelm",
        {},
        {
            "attention.layer_norm_epsilon": 1e-5,
            "rope.dimension_count": 2,
            "rope.freq_base": 10000.0,
            "use_parallel_residual": False,
        },
        0,
    ),
}


@pytest.mark.parametrize("family", ALIKE)
def test_families_are_read_as_the_folders_they_were_made_from(
    family: str, models: Path, tmp_path: Path
) -> None:
    name, sizes, keys, offset = ALIKE[family]
    made = build(new_model(family, seed=3, vocab_size=330, **sizes), tmp_path / "folder")
    for part in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(models / "byte-bpe" / part, made)
    file = tiny_gguf.from_folder(tmp_path / "m.gguf", made, name, keys, offset)
    expected = logits(made)
    for _ in range(2):  # converted, and from the cache
        assert torch.allclose(logits(file), expected, rtol=1e-4, atol=1e-4)


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def llama3_factors() -> np.ndarray:
    """As convert_hf_to_gguf.py of llama.cpp writes them."""
    factors = []
    for i in range(0, 8, 2):
        wavelength = 2 * np.pi * 10000 ** (i / 8)
        smooth = (32 / wavelength - 1) / (4 - 1)
        between = 1 / ((1 - smooth) / 8 + smooth)
        factors.append(1.0 if wavelength < 8 else 8.0 if wavelength > 32 else between)
    return np.array(factors, np.float32)


def test_the_scaling_of_llama_3_is_read(models: Path, tmp_path: Path) -> None:
    more = {"rope_freqs.weight": llama3_factors()}
    file = tiny_gguf.write(tmp_path / "m.gguf", models, more=more)
    plain = tiny_gguf.write(tmp_path / "plain.gguf", models)
    expected = logits(folder(models, tmp_path / "folder", rope_parameters=LLAMA3))
    for cached in (False, True, True):
        assert torch.allclose(logits(file, cached), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits(plain), expected, rtol=1e-2, atol=1e-2)


HARMLESS = {
    "general.name": "a name",
    "general.languages": ["en"],
    "general.file_type": 1,
    "general.quantization_version": 2,
    "general.type": "model",
    "quantize.imatrix.file": "x",
    "split.count": 1,
    "tokenizer.chat_template": "{{ x }}",
    "tokenizer.ggml.eot_token_id": 0,
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.ggml.add_space_prefix": False,
    "tokenizer.ggml.pre": "gpt-2",
    "llama.attention.key_length": 8,
    "llama.attention.value_length": 8,
    "llama.attention.causal": True,
    "llama.rope.scaling.type": "none",
    "llama.rope.scaling.factor": 1.0,
    "llama.rope.scaling.finetuned": False,
}


def test_what_tells_nothing_of_the_numbers_may_stand_there(models: Path, tmp_path: Path) -> None:
    file = tiny_gguf.write(tmp_path / "m.gguf", models, HARMLESS)
    assert torch.equal(logits(file), logits(tiny_gguf.write(tmp_path / "plain.gguf", models)))


WRONG: dict[str, dict[str, Any]] = {
    "llama.rope.scaling.type = linear (read as none)": {"llama.rope.scaling.type": "linear"},
    "llama.rope.scaling.factor = 8.0 (read as 1.0)": {"llama.rope.scaling.factor": 8.0},
    "llama.rope.scaling.original_context_length = 32 (read as None)": {
        "llama.rope.scaling.original_context_length": 32
    },
    "llama.rope.scaling.attn_factor = 1.5": {"llama.rope.scaling.attn_factor": 1.5},
    "llama.attention.sliding_window = 16 (read as None)": {"llama.attention.sliding_window": 16},
    "llama.expert_count = 4 (read as None)": {"llama.expert_count": 4},
    "llama.attention.key_length = 16 (read as 8)": {"llama.attention.key_length": 16},
    "llama.attention.causal = False (read as True)": {"llama.attention.causal": False},
    "llama.final_logit_softcapping = 30.0 (read as None)": {"llama.final_logit_softcapping": 30.0},
    "llama.attention.scale = 0.5": {"llama.attention.scale": 0.5},
    "llama.logit_scale = 0.5": {"llama.logit_scale": 0.5},
    "other.key = 1": {"other.key": 1},
    "tokenizer.ggml.pre = deepseek-llm": {"tokenizer.ggml.pre": "deepseek-llm"},
    "tokenizer.ggml.add_space_prefix = True": {"tokenizer.ggml.add_space_prefix": True},
    "tokenizer.ggml.remove_extra_whitespaces = True": {
        "tokenizer.ggml.remove_extra_whitespaces": True
    },
}


def refusal(file: Path) -> str:
    with pytest.raises(LensError) as caught:
        load(RunOptions(str(file), device="cpu"))
    return str(caught.value)


@pytest.mark.parametrize("line", WRONG)
def test_metadata_that_nobody_reads_is_refused(line: str, models: Path, tmp_path: Path) -> None:
    file = tiny_gguf.write(tmp_path / "m.gguf", models, WRONG[line])
    assert refusal(file) == (
        f"cannot read all of {file}: transformers does not read of its metadata {line}; give the checkpoint's "
        "folder as its makers published it"
    )


def test_everything_that_nobody_reads_is_reported_at_once(models: Path, tmp_path: Path) -> None:
    wrong = {f"llama.key{i}": i for i in range(8)}
    message = refusal(tiny_gguf.write(tmp_path / "m.gguf", models, wrong))
    assert "llama.key0 = 0, llama.key1 = 1, " in message
    assert "llama.key5 = 5 and 2 more; " in message


TENSORS = ("blk.0.attn_q.bias", "blk.4.attn_norm.weight", "blk.0.attn_q_norm.weight", "other")


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_nobody_reads_are_refused(name: str, models: Path, tmp_path: Path) -> None:
    more = {name: np.ones(32, np.float32)}
    message = refusal(tiny_gguf.write(tmp_path / "m.gguf", models, more=more))
    assert f"transformers does not read of its tensors {name}; give" in message


def test_a_part_and_an_adapter_are_no_model(models: Path, tmp_path: Path) -> None:
    part = tiny_gguf.write(tmp_path / "a.gguf", models, {"split.count": 3, "split.no": 1})
    assert f"{part} is part 2 of 3 of a model; join them (llama-gguf-split --merge) and" in refusal(
        part
    )
    adapter = tiny_gguf.write(tmp_path / "b.gguf", models, {"general.type": "adapter"})
    assert "holds 'adapter', not a model; give the .gguf file of a model" in refusal(adapter)


def test_a_file_that_ends_early_is_one_clear_error(models: Path, tmp_path: Path) -> None:
    whole = tiny_gguf.write(tmp_path / "m.gguf", models).read_bytes()
    for size in (0, 3, 10, 100, 5000, len(whole) - 4000):
        (tmp_path / "cut.gguf").write_bytes(whole[:size])
        assert refusal(tmp_path / "cut.gguf").startswith("cannot read the ")


def test_digits_are_split_as_the_file_says(models: Path, tmp_path: Path) -> None:
    """SmolLM's tokenizer takes each digit by itself, of which transformers makes GPT-2's."""
    pieces = {}
    for pre in ("gpt-2", "smollm", "starcoder"):
        file = tiny_gguf.write(tmp_path / f"{pre}.gguf", models, {"tokenizer.ggml.pre": pre})
        for _ in range(2):  # converted, and from the cache
            tokenizer = load(RunOptions(str(file), device="cpu")).tokens.tokenizer
            words = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a 123")
            pieces[pre] = [word for word, _ in words]
    assert pieces["gpt-2"] == ["a", "Ġ123"]
    assert pieces["smollm"] == pieces["starcoder"] == ["a", "Ġ", "1", "2", "3"]


def config(**known: Any) -> Any:
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "head_dim": 8, "num_hidden_layers": 4}
    namespace = SimpleNamespace(**sizes | {"model_type": "x"} | known)
    namespace.get_text_config = lambda: namespace
    return namespace


FAMILIES = [
    ("gemma2", {}, config(query_pre_attn_scalar=8), ""),
    ("gemma2", {}, config(query_pre_attn_scalar=256), "an attention scale of 1/√8"),
    (
        "gemma3",
        {},
        config(query_pre_attn_scalar=8, num_hidden_layers=62, head_dim=16),
        "",
    ),
    ("falcon", {"falcon.attention.head_count_kv": 1}, config(num_key_value_heads=1), ""),
    (
        "falcon",
        {"falcon.attention.head_count_kv": 2},
        config(num_key_value_heads=2),
        "the order of the attention heads",
    ),
    ("llama", {}, config(sliding_window=4096), "that there is no sliding window (read as 4096)"),
    ("stablelm", {"stablelm.rope.dimension_count": 2}, config(partial_rotary_factor=0.25), ""),
    (
        "stablelm",
        {"stablelm.rope.dimension_count": 4},
        config(rope_parameters={"partial_rotary_factor": 0.25}),
        "stablelm.rope.dimension_count = 4 (read as 2)",
    ),
    (
        "starcoder2",
        {"starcoder2.rope.freq_base": 999999.4375},
        config(rope_parameters={"rope_theta": 10000.0}),
        "starcoder2.rope.freq_base = 999999.4375 (read as 10000.0)",
    ),
    (
        "gemma3",
        {"gemma3.rope.freq_base": 1e6},
        config(
            query_pre_attn_scalar=8,
            rope_parameters={
                "full_attention": {"rope_theta": 1000000},
                "sliding_attention": {"rope_theta": 1e4},
            },
        ),
        "",
    ),
    (
        "gemma3",
        {},
        config(query_pre_attn_scalar=8, rope_parameters={"rope_theta": 1e6}),
        "a RoPE base of 10000 (read as 1000000.0)",
    ),
    (
        "stablelm",
        {},
        config(rope_parameters={"partial_rotary_factor": 0.25}),
        "RoPE over whole heads (read as 2 of 8)",
    ),
    ("lfm2", {"lfm2.attention.head_count_kv": [0, 2, 0]}, config(num_key_value_heads=2), ""),
    ("x", {"x.feed_forward_length": 128}, config(), ""),
    ("x", {"tokenizer.ggml.model": "llama", "tokenizer.ggml.add_space_prefix": True}, config(), ""),
    (
        "x",
        {"tokenizer.ggml.model": "llama", "tokenizer.ggml.add_space_prefix": False},
        config(),
        "tokenizer.ggml.add_space_prefix = False",
    ),
    (
        "gemma2",
        {"tokenizer.ggml.model": "llama", "tokenizer.ggml.add_space_prefix": False},
        config(query_pre_attn_scalar=8),
        "",
    ),
]


@pytest.mark.parametrize(("family", "metadata", "made", "message"), FAMILIES)
def test_what_a_family_has_of_its_own(
    family: str, metadata: dict[str, Any], made: Any, message: str
) -> None:
    keys = {"general.architecture": family} | metadata
    if not message:
        check_metadata(keys, made, "m")
        return
    with pytest.raises(LensError) as caught:
        check_metadata(keys, made, "m")
    assert f"does not read of its metadata {message}; give" in str(caught.value)


@pytest.mark.parametrize(
    ("tokenizer", "key", "value", "refused"),
    [
        ("llama", "pre", "default", False),
        ("gpt2", "pre", "default", True),
        ("gpt2", "pre", "gpt-2", False),
        ("llama", "add_sep_token", False, False),
        ("llama", "add_sep_token", True, True),
    ],
)
def test_a_key_of_the_tokenizer_is_refused_where_it_matters(
    tokenizer: str, key: str, value: object, refused: bool
) -> None:
    """Gemma 3's file names the pre-tokenizer `default`, which SentencePiece does not have."""
    named = f"tokenizer.ggml.{key}"
    metadata = {
        "general.architecture": "gemma3",
        "tokenizer.ggml.model": tokenizer,
        named: value,
    }
    assert bool(gguf_file.key_difference(named, metadata, None)) is refused
