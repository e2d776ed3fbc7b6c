"""Tokenizers of every kind that families use, tiny, built here by the `tokenizers` library."""

from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIALS = ("<unk>", "<s>", "</s>", "<pad>")
TEXT = (
    "The capital of Germany is called Berlin",
    "The capital of France is called Paris",
    'Answer: (A) or (B), "Berlin" = 42',
    "12+30=42 and https://example.com/index.html",
    "德国的首都是柏林。法国的首都是巴黎。",
    "The United States of America",
)
WORDS = sorted({word for line in TEXT for word in line.split()})


def words() -> Tokenizer:
    """Word-level; what stands between words is lost, what is no word is <unk>."""
    vocab = {entry: i for i, entry in enumerate((*SPECIALS, *WORDS))}
    built = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return built


def spaced_words() -> Tokenizer:
    """Word-level where a space is a token of its own, as in models of characters."""
    vocab = {entry: i for i, entry in enumerate((*SPECIALS, " ", *WORDS))}
    built = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    built.decoder = decoders.Fuse()
    return built


def trained_bytes(regex: bool) -> Tokenizer:
    """Byte-level BPE as GPT-2 has it; without the regular expression merges reach over words."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    built.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    built.train_from_iterator(TEXT, trainer)
    return built


def pieces(scheme: str) -> Tokenizer:
    """SentencePiece-like: a blank for each space, and with `always` one before the text."""
    built = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    built.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    built.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(
        vocab_size=160, special_tokens=list(SPECIALS), show_progress=False
    )
    built.train_from_iterator(TEXT, trainer)
    return built


def unigram() -> Tokenizer:
    """Unigram: the id of the unknown stands in the model alone."""
    entries = [(entry, -1.0) for entry in (*SPECIALS, "▁", *("▁" + word for word in WORDS))]
    built = Tokenizer(models.Unigram(entries, unk_id=0))
    built.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    built.decoder = decoders.Metaspace(prepend_scheme="always")
    return built


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "words": words,
    "spaced words": spaced_words,
    "bytes": lambda: trained_bytes(regex=True),
    "bytes over words": lambda: trained_bytes(regex=False),
    "pieces": lambda: pieces("always"),
    "pieces never": lambda: pieces("never"),
    "unigram": unigram,
}


def tokenizer(
    kind: str = "words",
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    **given: Any,
) -> PreTrainedTokenizerFast:
    """A tokenizer whose template puts `before` and `after` around a text; `given` are its special tokens."""
    built = KINDS[kind]()
    if before or after:
        named = [(entry, built.token_to_id(entry)) for entry in (*before, *after)]
        built.post_processor = processors.TemplateProcessing(
            single=" ".join((*before, "$A", *after)), special_tokens=list(dict.fromkeys(named))
        )
    return PreTrainedTokenizerFast(tokenizer_object=built, **given)
