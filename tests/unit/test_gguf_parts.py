"""Single rules of what is read of a .gguf file: values of keys, names of tensors, and the entry of the cache."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from lenses_min import LensError
from lenses_min.model import gguf_cache, gguf_file, gguf_keys
from lenses_min.version import __version__
from tests import tiny_gguf
from tests.tiny_tokenizers import tokenizer

LLAMA: Any = CONFIG_MAPPING["llama"]
QWEN2: Any = CONFIG_MAPPING["qwen2"]
QWEN3_MOE: Any = CONFIG_MAPPING["qwen3_moe"]


def config(**known: Any) -> Any:
    sizes = {"hidden_size": 33, "num_attention_heads": 4, "num_hidden_layers": 62}
    return SimpleNamespace(**sizes | {"model_type": "x"} | known)


def header(
    metadata: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, tuple[str, ...]]:
    monkeypatch.setattr(gguf_file, "read_gguf_metadata", lambda path: (metadata, ("t",)))
    return gguf_file.check_header(Path("m.gguf"), "m")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"split.count": 2}, "m is part 1 of 2 of a model; join them (llama-gguf-split --merge)"),
        (
            {"split.count": 3, "split.no": 2},
            "m is part 3 of 3 of a model; join them (llama-gguf-split --merge)",
        ),
    ],
)
def test_a_part_is_refused_with_its_number(
    metadata: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part where the file does not tell."""
    with pytest.raises(LensError) as caught:
        header(metadata, monkeypatch)
    assert str(caught.value) == f"{message} and give the whole file"
    for whole in ({}, {"split.count": 1}, {"split.count": 0}):
        assert header(whole, monkeypatch) == (whole, ("t",))


def test_a_file_that_cannot_be_read_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(path: str) -> None:
        raise ValueError("no magic.")

    monkeypatch.setattr(gguf_file, "read_gguf_metadata", fail)
    with pytest.raises(LensError) as caught:
        gguf_file.check_header(Path("m.gguf"), "m")
    assert str(caught.value) == "cannot read the config of m: no magic; get a sound .gguf file"


def unread(tensors: list[str], hf_model: Any, family: str, *unexpected: str) -> str:
    info = {"unexpected_keys": set(unexpected)}
    try:
        gguf_file.check_tensors(tensors, hf_model, family, info, "m")
    except LensError as error:
        return str(error).removeprefix(
            "cannot read all of m: transformers does not read of its tensors "
        )
    return ""


END = "; give the checkpoint's folder as its makers published it"


def test_where_transformers_reports_what_it_does_not_read_its_report_counts() -> None:
    assert unread(["any"], None, "lfm2") == ""
    assert unread(["any"], None, "lfm2", "b", "a") == f"a, b{END}"


def test_the_experts_of_a_mixture_are_read(tmp_path: Path) -> None:
    """Their names in the model have no `.weight`, those in the file do."""
    sizes: dict[str, Any] = {"hidden_size": 8, "moe_intermediate_size": 4, "num_experts": 2}
    sizes |= {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            QWEN3_MOE(**sizes, vocab_size=9, head_dim=4, num_experts_per_tok=1)
        )
    experts = [f"blk.0.ffn_{kind}_exps.weight" for kind in ("gate", "up", "down")]
    names = [*experts, "token_embd.weight", "blk.0.attn_q_norm.weight"]
    assert unread(names, model, "qwen3moe") == ""
    assert unread([*names, "blk.0.ffn_gate_exps.scale", "weight"], model, "qwen3moe") == (
        f"blk.0.ffn_gate_exps.scale, weight{END}"
    )


def test_a_family_whose_tensors_are_stored_as_they_are_is_read() -> None:
    """Transformers has no conversion of its own for it, only names."""
    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 4, "num_hidden_layers": 1}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            QWEN2(**sizes, vocab_size=9, num_attention_heads=2, num_key_value_heads=1)
        )
    names = ["token_embd.weight", "blk.0.attn_q.weight", "blk.0.attn_q.bias", "output_norm.weight"]
    assert unread(names, model, "qwen2") == ""
    assert unread([*names, "blk.0.attn_q_norm.weight"], model, "qwen2") == (
        f"blk.0.attn_q_norm.weight{END}"
    )


@pytest.mark.parametrize(
    ("metadata", "pieces"),
    [
        ({"tokenizer.ggml.pre": "smollm"}, ["a", "Ġ", "1", "2", "3"]),
        ({"tokenizer.ggml.pre": "gpt-2"}, ["a", "Ġ123"]),
        ({}, ["a", "Ġ123"]),
    ],
)
def test_a_pre_tokenizer_that_takes_digits_by_themselves_is_known_by_its_name(
    metadata: dict[str, str], pieces: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_file, "read_gguf_metadata", lambda path: (metadata, ()))
    read = tokenizer("bytes")
    gguf_file.split_digits(read, Path("m.gguf"))
    made = read.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a 123")
    assert [piece for piece, _ in made] == pieces


def test_six_names_are_listed_and_the_rest_counted() -> None:
    names = list("abcdefgh")
    assert gguf_file.listed(names[:1]) == "a"
    assert gguf_file.listed(names[:6]) == "a, b, c, d, e, f"
    assert gguf_file.listed(names[:7]) == "a, b, c, d, e, f and 1 more"
    assert gguf_file.listed(names) == "a, b, c, d, e, f and 2 more"


@pytest.mark.parametrize(
    ("value", "read", "difference"),
    [
        (float(np.float32(1e-5)), 1e-5, ""),
        (float(np.float32(1e-6)), 1e-6, ""),
        (10000.0, 10000, ""),
        (1.0 + 5e-7, 1.0, ""),
        (1.0 + 2e-6, 1.0, "k = 1.000002 (read as 1.0)"),
        (1.0, None, "k = 1.0 (read as None)"),
        (2, 2, ""),
        (2, 3, "k = 2 (read as 3)"),
        ([0, 2, 0], 2, ""),
        ([1, 2], 2, "k = [1, 2] (read as 2)"),
        ("none", "linear", "k = none (read as linear)"),
    ],
)
def test_a_value_is_read_as_it_stands_but_for_rounding_to_float32(
    value: Any, read: Any, difference: str
) -> None:
    assert gguf_file.difference("k", value, read) == difference


@pytest.mark.parametrize(
    ("family", "kind", "adds"),
    [
        ("gemma2", "llama", False),
        ("gemma", "llama", False),
        ("gemma4", "llama", True),
        ("phi3", "llama", True),
        ("llama", "llama", True),
        ("llama", "gpt2", False),
        ("gemma2", "gpt2", False),
    ],
)
def test_which_tokenizers_put_a_space_before_a_text(family: str, kind: str, adds: bool) -> None:
    """SentencePiece does, but for the families whose own builder in transformers leaves it out."""
    metadata = {"general.architecture": family, "tokenizer.ggml.model": kind}
    assert gguf_file.adds_prefix(metadata) is adds


@pytest.mark.parametrize(
    ("family", "metadata", "known", "difference"),
    [
        ("gemma3", {}, {"query_pre_attn_scalar": 8, "head_dim": 16}, []),
        (
            "gemma3",
            {},
            {"query_pre_attn_scalar": 16, "head_dim": 16},
            ["an attention scale of 1/√8"],
        ),
        (
            "gemma3",
            {},
            {"query_pre_attn_scalar": 8, "head_dim": 16, "num_hidden_layers": 26},
            ["an attention scale of 1/√16"],
        ),
        ("falcon", {}, {}, []),
        ("falcon", {"falcon.attention.head_count_kv": 1}, {}, []),
        ("falcon", {"falcon.attention.head_count_kv": 8}, {}, ["the order of the attention heads"]),
        (
            "gemma3",
            {},
            {
                "query_pre_attn_scalar": 9,
                "head_dim": 16,
                "rope_parameters": {"rope_theta": 5.0, "partial_rotary_factor": 0.5},
                "sliding_window": 7,
            },
            [
                "an attention scale of 1/√8",
                "a RoPE base of 10000 (read as 5.0)",
                "RoPE over whole heads (read as 8 of 16)",
                "that there is no sliding window (read as 7)",
            ],
        ),
    ],
)
def test_what_the_architecture_alone_tells(
    family: str, metadata: dict[str, Any], known: dict[str, Any], difference: list[str]
) -> None:
    """62 blocks of gemma3 are the size whose scale is width by heads, 33 // 4 here."""
    assert gguf_file.implied_differences(family, metadata, config(**known)) == difference


def test_the_factors_of_a_file_become_frequencies_of_one_set(models: Path, tmp_path: Path) -> None:
    factors = np.array([1, 2, 4, 8], np.float32)
    more = {"rope_freqs.weight": factors}
    file = tiny_gguf.write(tmp_path / "m.gguf", models, more=more)
    llama = LLAMA(max_position_embeddings=77, rope_parameters={"rope_theta": 5.0})
    before = dict(llama.rope_parameters)
    gguf_file.scale_frequencies(llama, file, ["output.weight"])
    assert llama.rope_parameters == before
    gguf_file.scale_frequencies(llama, file, ["rope_freqs.weight"])
    assert llama.rope_parameters == before | {
        "rope_type": "longrope",
        "short_factor": [1, 2, 4, 8],
        "long_factor": [1, 2, 4, 8],
        "attention_factor": 1.0,
        "original_max_position_embeddings": 77,
    }


@pytest.mark.parametrize(
    ("known", "values"),
    [
        ({}, (8, 132, "none")),
        ({"head_dim": None, "intermediate_size": 7, "n_inner": 9}, (8, 7, "none")),
        ({"head_dim": 16, "n_inner": 9, "rope_parameters": {}}, (16, 9, "none")),
        ({"rope_parameters": {"rope_type": "default"}}, (8, 132, "none")),
        ({"rope_parameters": {"rope_type": "linear"}}, (8, 132, "linear")),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "yarn"}, "rope_type": "linear"}},
            (8, 132, "yarn"),
        ),
    ],
)
def test_widths_and_scaling_by_the_config(known: dict[str, Any], values: tuple[Any, ...]) -> None:
    made = config(**known)
    assert values == (
        gguf_keys.head_width(made),
        gguf_keys.feed_forward_width(made),
        gguf_keys.scaling(made),
    )


def test_an_entry_is_named_by_the_file_and_by_what_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "a-b.gguf"
    file.write_bytes(bytes(3 << 20) + b"end")
    rule = [gguf_cache.RULE, __version__, version("transformers"), version("gguf")]
    content = hashlib.sha256(file.read_bytes() + repr(rule).encode()).hexdigest()
    assert gguf_cache.entry(file) == tmp_path / "lenses-min" / "gguf" / f"a-b-{content[:32]}"


def test_a_conversion_is_reported_by_file_size_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []

    def write(part: Path, model: object, tokenizer: object) -> None:
        part.mkdir()
        (part / "model.safetensors").write_bytes(bytes(1_400_000))
        (part / "config.json").write_bytes(bytes(200_000))

    monkeypatch.setattr(gguf_cache, "write", write)
    monkeypatch.setattr(gguf_cache.log, "info", lambda text, *parts: lines.append(text % parts))
    place = tmp_path / "a-b-0123"
    for _ in range(2):  # the second finds it there
        assert gguf_cache.keep(place, None, None)
    assert lines == [f"converted a-b.gguf once: 2 MB in {place}"]


def test_the_flag_of_a_tokenizer_is_added_to_its_file(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer_config.json"
    path.write_text('{"bos_token": "▁é"}', encoding="utf-8")
    gguf_cache.keep_flag(path, None)
    assert path.read_text(encoding="utf-8") == '{"bos_token": "▁é"}'
    gguf_cache.keep_flag(path, False)
    text = path.read_text(encoding="utf-8")
    assert text == '{\n  "bos_token": "▁é",\n  "add_bos_token": false\n}'
    gguf_cache.keep_flag(path, True)
    assert json.loads(path.read_text(encoding="utf-8"))["add_bos_token"] is True
