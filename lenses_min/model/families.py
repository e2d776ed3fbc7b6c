"""The quirks of model families that the files of a checkpoint do not declare: one table, and a default for the rest.

A family is the `model_type` of config.json, or `general.architecture` of a .gguf file. What can be measured on the
loaded model is not in the table: whether a norm's scale is 1 + w (Gemma), whether blocks norm their outputs (OLMo-2),
which module reads a layer, soft cap and logit scale, attention that is not causal. `load.read_norms` and the module
`readout` measure it.
"""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch

# Attributes under which norm modules of transformers hold their eps; the configuration has that of the others.
NORM_EPS = ("eps", "variance_epsilon")


@dataclass(frozen=True)
class Family:
    """The quirks of the families whose names match one of `names`, patterns with `*`.

    `reference_bos`: TransformerLens 2.16 reads a BOS before a prompt; 4.x has other defaults.
    `trained_with_bos`: so did the makers.
    `half_precision`: the dtype on cuda where the options name none.
    The others are of .gguf files. `gguf_space_prefix`: a SentencePiece tokenizer puts a space before a text.
    `gguf_rope_factors`: the tensor `rope_freqs.weight` scales the frequencies of RoPE.
    `gguf_kv_heads`: the only number of key-value heads whose order transformers reads.
    `gguf_largest`: the number of blocks of the size whose attention is scaled by width / heads, not by head width.
    """

    names: tuple[str, ...] = ("*",)
    reference_bos: bool = True
    trained_with_bos: bool = True
    half_precision: torch.dtype = torch.float16
    gguf_space_prefix: bool = True
    gguf_rope_factors: bool = False
    gguf_kv_heads: int | None = None
    gguf_largest: int | None = None

    def matches(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.names)


DEFAULT = Family()
GEMMA = Family(("*gemma*",), half_precision=torch.bfloat16, gguf_space_prefix=False)
# The first match counts.
FAMILIES = (
    Family(("bloom", "qwen", "qwen2", "qwen3"), reference_bos=False, trained_with_bos=False),
    Family(("bloom*", "qwen*"), trained_with_bos=False),  # the later ones, mixtures of experts too
    Family(("llama",), gguf_rope_factors=True),
    Family(("falcon",), gguf_kv_heads=1),
    replace(GEMMA, names=("gemma2",), gguf_largest=46),
    replace(GEMMA, names=("gemma3",), gguf_largest=62),
    GEMMA,
)


def family_of(name: str) -> Family:
    """The entry of a model type or of a .gguf architecture."""
    return next((family for family in FAMILIES if family.matches(name)), DEFAULT)


def half_precision(family: str, model_id: str) -> torch.dtype:
    """The dtype on cuda, by the names that a model type or a model id contains; float16 where none has another."""
    names = f"{family} {model_id}".lower()
    known = (entry.half_precision for entry in FAMILIES if entry.matches(names))
    return next((dtype for dtype in known if dtype != DEFAULT.half_precision), torch.float16)
