"""The tokenizers of the tiny models: word-level ones from code, byte-level ones copied from golden/."""

import json
from typing import Any

from ..golden import GOLDEN
from .model import RecipeError

SPECIALS = ("<unk>", "<s>", "</s>", "<pad>")
PUNCTUATION = (",", ".", "'s", "?", "!", ";", ":")
TEXT = (
    "Give the city name only plain text The capital of Germany is called simply Berlin Paris France country in In has "
    "its at as known named an a and London Madrid Rome Italy Spain England located near river Munich Lyon Hamburg "
    "answer word Answer blue red green one two three four five"
)
VOCABULARY = TEXT.split()
ODD = {  # replacements of these words with a leading space: texts that CSV, spreadsheets and terminals mishandle
    "Madrid": "\r",
    "Rome": "a\rb",
    "Italy": '"',
    "Spain": "x\ny",
    "river": "\\",
    "Munich": "NaN",
    "Lyon": "",
    "Hamburg": "=1+1",
    "blue": "é\u0301",
    "red": "🇩🇪",
}
KINDS = ("words", "words-dropped", "words-odd")
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def tokenizer_files(kind: str) -> dict[str, Any]:
    """Return the JSON content of the three tokenizer files by name; raises RecipeError for an unknown kind."""
    if kind in KINDS:
        roles = {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
        }
        return dict(zip(FILES, (word_level(kind), settings(roles), roles), strict=True))
    folder = GOLDEN / "models" / kind
    if not folder.is_dir():
        raise RecipeError(
            f"no tokenizer {kind!r}; there are {', '.join(KINDS)} and those of golden/models"
        )
    return {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in FILES}


def word_level(kind: str) -> dict[str, Any]:
    """Return tokenizer.json with 115 tokens: specials, punctuation, 52 words with and without a leading space."""
    odd = ODD if kind == "words-odd" else {}
    spaced = [odd.get(word, f"▁{word}") for word in VOCABULARY]
    words = [*SPECIALS, *PUNCTUATION, *spaced, *VOCABULARY]
    split = {"Regex": r"(,|\.|'s|\?|!|;|:)"}
    cuts = [METASPACE, {"type": "Split", "pattern": split, "behavior": "Isolated", "invert": False}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i} | added_token(token) for i, token in enumerate(SPECIALS)],
        "normalizer": without_answers() if kind == "words-dropped" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cuts},
        "post_processor": None,
        "decoder": METASPACE,
        "model": {
            "type": "WordLevel",
            "vocab": {w: i for i, w in enumerate(words)},
            "unk_token": "<unk>",
        },
    }


def without_answers() -> dict[str, Any]:
    """Return a normaliser that removes the answers, so that none can be aligned."""
    texts = (" Berlin", "Berlin", " Paris", "Paris")
    steps = [{"type": "Replace", "pattern": {"String": text}, "content": ""} for text in texts]
    return {"type": "Sequence", "normalizers": steps}


def added_token(token: str) -> dict[str, Any]:
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    return {"content": token, **dict.fromkeys(flags, False), "special": True}


def settings(roles: dict[str, str]) -> dict[str, Any]:
    """Return the content of tokenizer_config.json."""
    return {
        "added_tokens_decoder": {str(i): added_token(token) for i, token in enumerate(SPECIALS)},
        "clean_up_tokenization_spaces": False,
        "extra_special_tokens": {},
        "model_max_length": 1000000000000000019884624838656,
        "tokenizer_class": "PreTrainedTokenizerFast",
        **roles,
    }
