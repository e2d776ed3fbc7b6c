"""The table of families: what each entry changes, and what the default does."""

from dataclasses import replace

import pytest
import torch
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_SENTENCEPIECE_BUILDERS

from lenses_min.model.families import DEFAULT, FAMILIES, family_of, half_precision


@pytest.mark.parametrize(
    ("name", "reference", "trained"),
    [
        ("qwen2", False, False),
        ("qwen3", False, False),
        ("bloom", False, False),
        ("qwen3_moe", True, False),
        ("qwen2_moe", True, False),
        ("llama", True, True),
        ("gemma3_text", True, True),
        ("gpt2", True, True),
    ],
)
def test_bos(name: str, reference: bool, trained: bool) -> None:
    family = family_of(name)
    assert (family.reference_bos, family.trained_with_bos) == (reference, trained)


@pytest.mark.parametrize(
    ("family", "model_id", "dtype"),
    [
        ("gemma", "x", torch.bfloat16),
        ("gemma3_text", "x", torch.bfloat16),
        ("recurrent_gemma", "x", torch.bfloat16),
        ("llama", "Someone/Gemma-like", torch.bfloat16),
        ("qwen2", "qwen/Gemma", torch.bfloat16),
        ("llama", "x", torch.float16),
        ("", "", torch.float16),
    ],
)
def test_half_precision(family: str, model_id: str, dtype: torch.dtype) -> None:
    assert half_precision(family, model_id) == dtype


def test_gguf() -> None:
    assert {family_of(name).gguf_largest for name in ("gemma", "gemma3n", "llama")} == {None}
    assert [family_of(name).gguf_largest for name in ("gemma2", "gemma3")] == [46, 62]
    assert family_of("falcon").gguf_kv_heads == 1
    assert family_of("llama").gguf_rope_factors
    assert not family_of("llama4").gguf_rope_factors
    prefixed = {name: family_of(name).gguf_space_prefix for name in GGUF_SENTENCEPIECE_BUILDERS}
    assert prefixed == {"gemma": False, "gemma2": False, "gemma3": False, "phi3": True}


def test_a_family_without_an_entry_has_the_default() -> None:
    assert family_of("gpt_neox") == family_of("") == DEFAULT


def test_every_entry_of_the_table_can_be_reached() -> None:
    for family in FAMILIES:
        assert {family_of(pattern.replace("*", "x")) for pattern in family.names} == {family}
        assert replace(family, names=DEFAULT.names) != DEFAULT
