"""The table of tiny models: family, configuration, seed, spread of the weights, tokenizer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

WORDS, BYTES = 115, 330  # vocabulary sizes of the two kinds of tokenizer
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
GATED = SIZES | {"intermediate_size": 64, "num_key_value_heads": 2}
GPT2_SIZES = {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 128}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
SLIDING = {"sliding_window": 64, "query_pre_attn_scalar": 8}

# transformers' model_type: its configuration with d = 32, 4 heads, 4 layers; all else is the library's default
FAMILIES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "llama": GATED,
        "mistral": GATED | {"sliding_window": None},
        "mixtral": GATED | EXPERTS | {"sliding_window": None},
        "qwen2": GATED,
        "qwen3": GATED | {"head_dim": 8},
        "gemma": GATED | {"head_dim": 8},
        "gemma2": GATED | {"head_dim": 8} | SLIDING,
        "gemma3_text": GATED | {"head_dim": 8} | SLIDING,
        "olmo2": GATED,
        "stablelm": GATED,
        "phi": SIZES | {"intermediate_size": 64},
        "phi3": GATED | {"pad_token_id": 3},
        "gpt_neox": SIZES | {"intermediate_size": 64},
        "opt": SIZES | {"ffn_dim": 64, "word_embed_proj_dim": 32},
        "gpt2": GPT2_SIZES,
        "gptj": GPT2_SIZES | {"rotary_dim": 4},
        "bloom": {"hidden_size": 32, "n_layer": 4, "n_head": 4},
        "falcon": {
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
        "cohere": GATED | {"logit_scale": 0.0625, "pad_token_id": 3},
        "granite": GATED | {"logits_scaling": 4.0},
    }
)


class RecipeError(ValueError):
    """A tiny model that cannot be built; the text gives the request and the alternatives."""


@dataclass(frozen=True)
class TinyModel:
    """A model's family, seed and spread of its weights, tokenizer, and further configuration.

    `tokenizer` is words, words-dropped (the normaliser removes the answers), words-odd (a bare carriage return and
    other odd texts among the tokens), or the golden model whose tokenizer to copy. Raises RecipeError for an unknown
    family, a seed outside 0 … 2^32 − 1, or a spread ≤ 0.
    """

    family: str
    seed: int
    spread: float = 0.3
    tokenizer: str = "words"
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise RecipeError(
                f"no recipe for family {self.family!r}; there are {', '.join(FAMILIES)}"
            )
        if not 0 <= self.seed < 2**32 or not self.spread > 0:
            raise RecipeError(
                f"seed in 0 … 2^32 - 1 and spread > 0 are needed, got {self.seed} and {self.spread}"
            )

    @property
    def configuration(self) -> dict[str, Any]:
        """The arguments of the family's configuration; BOS, EOS and vocabulary depend on the tokenizer."""
        word_level = self.tokenizer.startswith("words")
        bos, eos = (1, 2) if word_level else (0, 0)
        defaults = {
            "vocab_size": WORDS if word_level else BYTES,
            "tie_word_embeddings": False,
            "bos_token_id": bos,
            "eos_token_id": eos,
        }
        return {**FAMILIES[self.family], **defaults, **self.overrides}


def new_model(family: str, seed: int, **overrides: Any) -> TinyModel:
    """Return a new model with the word-level tokenizer; `overrides` go to its configuration.

    Raises RecipeError for an unknown family or a seed outside 0 … 2^32 − 1.
    """
    return TinyModel(family, seed, overrides=overrides)


DEEP = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 12,
    "tie_word_embeddings": True,
}
RECIPES: Mapping[str, TinyModel] = MappingProxyType(
    {
        "rms-rope": TinyModel("llama", 11),
        "layernorm-learned-pos": TinyModel("gpt2", 62, overrides={"tie_word_embeddings": True}),
        "layernorm-parallel": TinyModel("gpt_neox", 13),
        "softcap-postnorm": TinyModel(
            "gemma2", 83, spread=0.45, overrides={"tie_word_embeddings": True}
        ),
        "qk-norm": TinyModel("qwen3", 52),
        "attn-bias": TinyModel("qwen2", 16, tokenizer="attn-bias"),
        "gqa-window": TinyModel("mistral", 17),
        "byte-bpe": TinyModel("llama", 72, tokenizer="byte-bpe"),
        "dropped-answer": TinyModel("llama", 41, tokenizer="words-dropped"),
        "deep-tied": TinyModel("llama", 20, spread=0.2, overrides=DEEP),
        "biased-head": TinyModel("phi", 31),
        "big-eps": TinyModel("llama", 33, overrides={"rms_norm_eps": 0.01}),
        "odd-tokens": TinyModel("llama", 37, tokenizer="words-odd"),
        "unresolved-prism": TinyModel("llama", 41, tokenizer="words-dropped"),
        "gemma-bf16": TinyModel("gemma2", 38, spread=0.45, overrides={"tie_word_embeddings": True}),
        "layernorm-bf16": TinyModel("gpt_neox", 39),
    }
)
