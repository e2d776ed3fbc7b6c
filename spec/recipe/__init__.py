"""Tiny models from a seed: all but three of golden/'s, bit for bit, and new ones of many families.

    build(RECIPES["rms-rope"], folder)           # golden/models/rms-rope again
    build(new_model("olmo2", seed=7), folder)    # one that golden/ does not hold

`fact`, `copies-punctuation` and `rank-tie` are built or changed by hand: no seed gives them back, and their committed
tensors are their only source. The sentences that the byte-level tokenizers were trained on are not known either: those
two are copied from golden/.
"""

from .model import FAMILIES, RECIPES, RecipeError, TinyModel, new_model
from .tokenizer import tokenizer_files
from .weights import build, tensors

__all__ = [
    "FAMILIES",
    "RECIPES",
    "RecipeError",
    "TinyModel",
    "build",
    "new_model",
    "tensors",
    "tokenizer_files",
]
