"""What the model reads and which ids count as the answer, over tokenizers of every kind and any text."""

from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lenses_min.core.tokens import VARIANTS, Tokens
from lenses_min.model.bos import Declared, choose_bos
from lenses_min.options import CORRECTED
from lenses_min.prompts.suite import Prompt
from tests.tiny_tokenizers import KINDS, TEXT, WORDS, tokenizer

PIECES = st.sampled_from(
    [*WORDS, *TEXT, " ", "  ", "\n", '"', "(", "=", "/", "-", ":", "'s", "柏林", "the", "北", "<s>"]
)
TEXTS = st.lists(PIECES, max_size=5).flatmap(
    lambda found: st.sampled_from(["", " "]).map(lambda between: between.join(found))
)
ANSWERS = TEXTS.filter(str.strip)
TEMPLATES = st.sampled_from(
    [((), ()), (("<s>",), ()), (("<s>", "<pad>"), ("</s>",)), ((), ("</s>",))]
)


@cache
def built(kind: str, before: tuple[str, ...], after: tuple[str, ...], bos: bool) -> Tokens:
    """A tokenizer under the corrected contract."""
    named = {"bos_token": "<s>"} if bos else {}
    made = tokenizer(kind, before, after, eos_token="</s>", **named)
    own, other = choose_bos(made, "llama", Declared(), "auto", by_declaration=True)
    return Tokens(made, own, other=other, rules=CORRECTED)


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), TEXTS, ANSWERS, st.sampled_from([None, " ", ""]))
@example("bytes", "12+30=", "42", None)
@example("bytes", "德国的首都是", "柏林", None)
@example("bytes over words", "The capital of", "the United States", None)
@example("pieces", "The answer is", "42", None)
@example("spaced words", "The capital is called", "Berlin", None)
@example("unigram", "The capital is called", "北", None)
@example("words", "The capital", "北 Berlin", "")
def test_an_answer_follows_its_prompt_or_is_unresolved_with_a_reason(
    kind: str, text: str, answer: str, join: str | None
) -> None:
    tokens = built(kind, (), (), True)
    gold = tokens.align(Prompt("a", "orig", text, answer, join=join), mended=True)
    if not gold.answer_ids:
        assert gold.variant == "unknown"
        assert gold.note.startswith("unresolved: ")
        return
    joined = {name: text for text, name in VARIANTS.items()}[gold.variant]
    assert join in (None, joined)
    whole = tokens.context(text + joined + answer)
    assert [*tokens.context(text), *gold.answer_ids] == whole, "the prompt's tokens stay"
    assert tokens.text(gold.answer_ids[0]).strip(" ") not in ("", "<unk>")
    assert tokens.tokenizer.backend_tokenizer.token_to_id("<unk>") not in gold.answer_ids


@settings(deadline=None)
@given(st.sampled_from(sorted(KINDS)), TEMPLATES, st.booleans(), TEXTS)
def test_the_model_reads_what_the_tokenizer_declares_once_and_nothing_after_the_prompt(
    kind: str, template: tuple[tuple[str, ...], tuple[str, ...]], bos: bool, text: str
) -> None:
    before, after = template
    tokens = built(kind, before, after, bos)
    declared = before or (("<s>",) if bos and not after else ())
    prefix = [tokens.tokenizer.backend_tokenizer.token_to_id(entry) for entry in declared]
    context, read = tokens.context(text), tokens.model_input(text)
    assert read in (context, [*prefix, *context])
    assert read[: len(prefix)] == prefix
    if prefix and text.count(declared[0]) < 2:
        assert read[: 2 * len(prefix)] != 2 * prefix, "BOS is never doubled"
    assert set(read) <= set(tokens.tokenizer.get_vocab().values())
