"""The models on which `python -m spec conform` tries a lens tool: every family, and options that hide faults.

An eps of 0.01 or more shows which eps a tool adds; logits of a wide spread show a soft cap; the ids are any.
"""

from collections.abc import Mapping
from types import MappingProxyType

from .model import FAMILIES, TinyModel, new_model

SEED = 5
IDS = (1, 30, 56, 17, 24, 88, 41, 9, 63, 102)  # below the 115 ids of the word-level tokenizer
CAPPED = {"final_logit_softcapping": 5.0}
VARIANTS: Mapping[str, TinyModel] = MappingProxyType(
    {
        "llama-tied": new_model("llama", SEED, tie_word_embeddings=True),
        "llama-big-eps": new_model("llama", SEED, rms_norm_eps=0.05),
        "gpt2-tied": new_model("gpt2", SEED, tie_word_embeddings=True),
        "gpt2-big-eps": new_model("gpt2", SEED, layer_norm_epsilon=0.05),
        "gpt_neox-sequential": new_model("gpt_neox", SEED, use_parallel_residual=False),
        "gemma2-wide": TinyModel("gemma2", SEED, spread=1.0),
        "gemma3_text-capped": new_model("gemma3_text", SEED, **CAPPED),
        "cohere-large": new_model("cohere", SEED, logit_scale=1.5),
    }
)
CONFORM: Mapping[str, TinyModel] = MappingProxyType(
    {**{family: new_model(family, SEED) for family in FAMILIES}, **VARIANTS}
)
