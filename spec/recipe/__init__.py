"""Tiny models from a seed: bit for bit those of golden/ but three, and new ones of many families.

    build(RECIPES["rms-rope"], folder)           # rebuilds golden/models/rms-rope
    build(new_model("olmo2", seed=7), folder)    # builds a new model

`fact`, `copies-punctuation` and `rank-tie` were built or changed by hand: no seed reproduces them, and their committed
tensors are their only source. The training sentences of the two byte-level tokenizers are not known either: these are
copied from golden/.
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
