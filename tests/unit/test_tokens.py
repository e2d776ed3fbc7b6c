"""Step 10: one place decodes an id. BOS rule and gold alignment."""

from typing import Any

import pytest

from lenses_min import LensError
from lenses_min.core.tokens import Tokens, is_keyword
from lenses_min.core.types import Bos
from lenses_min.model.bos import Declared, reference_bos
from lenses_min.model.load import LoadedModel
from lenses_min.prompts.suite import Prompt, built_in

MAIN = built_in().passes[0]


class Words:
    """A toy tokenizer: one id a character, spaces dropped when `squeeze`."""

    bos_token_id: int | None = 7
    eos_token_id = 9

    def __init__(self, squeeze: bool = False, deaf: str = "") -> None:
        self.squeeze, self.deaf, self.decoded = squeeze, deaf, 0

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {
            "input_ids": [
                ord(c) for c in text if not (self.squeeze and c == " ") and c not in self.deaf
            ]
        }

    def decode(self, ids: list[int]) -> str:
        self.decoded += 1
        return "".join(map(chr, ids))

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [f"<{chr(i)}>" for i in ids]


def reference(tokenizer: Any, family: str) -> Tokens:
    """A tokenizer under the reference contract, without a config.json."""
    return Tokens(tokenizer, reference_bos(tokenizer, family, Declared()))


@pytest.mark.parametrize(
    ("family", "bos"),
    [("llama", 7), ("gpt_neox", 7), ("qwen2", None), ("qwen3", None), ("bloom", None)],
)
def test_bos_rule(family: str, bos: int | None) -> None:
    tokens = reference(Words(), family)
    assert tokens.model_input("a") == ([] if bos is None else [bos]) + [97]


def test_a_tokenizer_without_bos_lends_its_eos() -> None:
    words = Words()
    words.bos_token_id = None
    assert reference(words, "gpt2").model_input("a") == [9, 97]


def test_the_copy_rule_reads_the_prompt_without_bos() -> None:
    encoded = reference(Words(), "llama").encode_all([Prompt("pos", "orig", "ab", "Berlin")], 9)[0]
    assert encoded.token_ids == (7, 97, 98)
    assert encoded.context_ids == (97, 98)


def test_a_joint_pass_reads_all_tokens_of_the_answer_but_the_last() -> None:
    prompt = Prompt("pos", "orig", "ab", "Berlin", join="")
    alone, joint = (
        reference(Words(), "llama").encode_all([prompt], 9, joint)[0] for joint in (False, True)
    )
    assert (alone.answer_prefix_ids, joint.answer_prefix_ids) == ((), tuple(map(ord, "Berli")))
    assert alone.token_ids == joint.token_ids == (7, 97, 98)
    with pytest.raises(LensError, match="prompt pos/orig has 3 tokens and 5 of its answer"):
        reference(Words(), "llama").encode_all([prompt], 7, joint=True)[0]


def test_alignment_with_space_without_space_and_unresolved() -> None:
    prompt = Prompt("pos", "orig", "ab", "Berlin")
    with_space = reference(Words(), "llama").align(prompt)
    assert with_space.variant == "with_space"
    assert with_space.answer_ids == tuple(map(ord, " Berlin"))
    assert with_space.pieces == ("< >", "<B>", "<e>", "<r>")
    squeezed = reference(Words(deaf="Berlin "), "llama").align(prompt)
    assert (squeezed.variant, squeezed.alignment, squeezed.first_id) == (
        "unknown",
        "unresolved",
        None,
    )


def test_no_space_is_tried_second() -> None:
    class Greedy(Words):
        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [1, 2] if " " in text else list(map(ord, text))}

    gold = reference(Greedy(), "llama").align(Prompt("pos", "orig", "ab", "Z"))
    assert (gold.variant, gold.answer_ids) == ("no_space", (ord("Z"),))


def test_each_id_is_decoded_once() -> None:
    words = Words()
    tokens = reference(words, "llama")
    assert [tokens.text(98) for _ in range(3)] == ["b"] * 3
    assert words.decoded == 1


def test_an_empty_prompt_is_refused_where_there_is_no_bos() -> None:
    with pytest.raises(LensError, match="prompt pos/orig has 0 tokens, the model reads 1 to 8"):
        reference(Words(), "qwen2").encode_all([Prompt("pos", "orig", "", "a")], 8)[0]


def test_prompt_longer_than_the_context(fact_model: LoadedModel) -> None:
    with pytest.raises(LensError, match="prompt pos/orig has 17 tokens, the model reads 1 to 8"):
        fact_model.tokens.encode_all([MAIN], 8)[0]


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        (" simply", True),
        ("Berlin.", True),
        ("Berlins", True),
        ("Berl", False),
        (" unsimplyfied;", True),
        ("Ger.many", False),
        (".,!?;:ANSWER", True),
        (" the", False),
        ("", False),
    ],
)
def test_keywords(text: str, keyword: bool) -> None:
    assert is_keyword(text, built_in().keywords) is keyword


def test_a_prompt_may_fill_the_context_and_may_be_one_token(fact_model: LoadedModel) -> None:
    assert len(fact_model.tokens.encode_all([MAIN], 17)[0].token_ids) == 17
    assert reference(Words(), "qwen2").encode_all([Prompt("pos", "orig", "a", "b")], 8)[
        0
    ].token_ids == (97,)
    with pytest.raises(LensError, match=r"; use another prompt or a model with a longer context$"):
        fact_model.tokens.encode_all([MAIN], 16)[0]


@pytest.mark.parametrize(
    ("text", "bos", "vocab", "largest"),
    [("a", (), 97, 97), ("ba", (7,), 98, 98), ("a", (120,), 100, 120)],
)
def test_an_id_that_the_model_lacks_is_an_error(
    text: str, bos: tuple[int, ...], vocab: int, largest: int
) -> None:
    """Of the text or of the BOS before it."""
    tokens = Tokens(Words(), Bos(bos, "rule"), vocab=vocab)
    message = f"the tokenizer gives id {largest} and the model has {vocab}; they belong to"
    with pytest.raises(LensError, match=message):
        tokens.context(text)
    tokens = Tokens(Words(), Bos(bos, "rule"), vocab=largest + 1)
    assert tokens.context(text) == [*map(ord, text)]


def test_a_model_of_one_token_reads_it() -> None:
    tokens = Tokens(Words(), Bos((), "rule"), vocab=1)
    assert (tokens.context("\0"), tokens.context("")) == ([0], [])


def test_the_answer_of_the_control_joins_its_prompt_as_the_prompts_file_has_it() -> None:
    control = Prompt("ctl", "orig", "ab", "Z", join="")
    prompt = Prompt("pos", "orig", "ab", "Y", control=control, join="")
    by_reference, by_file = (
        reference(Words(), "llama").encode_all([prompt], 9, joint)[0] for joint in (False, True)
    )
    assert by_reference.answers == (ord(" "), ord(" "))
    assert by_file.answers == (ord("Y"), ord("Z"))


class Spelled(Words):
    """Its tokens are written as their characters."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [*map(chr, ids)]


@pytest.mark.parametrize(
    ("other", "text", "defects"),
    [
        (Bos((), "none"), "ab", ("R14",)),
        (None, "ab", ()),
        (None, "\x07ab", ("R14",)),
    ],
)
def test_a_bos_that_the_other_contract_reads_otherwise_is_a_defect(
    other: Bos | None, text: str, defects: tuple[str, ...]
) -> None:
    """It has another BOS, or reads one only where the text does not begin with it."""
    tokens = Tokens(Spelled(squeeze=True), Bos((7,), "rule"), other=other)
    assert tokens.defects(Prompt("pos", "orig", text, "Z")) == defects


class WithUnknown(Words):
    unk_token_id = 5


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (" ", "the answer would begin with a lone space, which belongs to the prompt's end"),
        ("\u2581", "the answer would begin with a lone space, which belongs to the prompt's end"),
        ("\5", "the tokenizer has no token for all of the answer, only an unknown one"),
        ("\n", ""),
        ("X", ""),
    ],
)
def test_an_answer_begins_neither_blank_nor_unknown(first: str, problem: str) -> None:
    tokens = reference(WithUnknown(), "llama")
    assert tokens.unknown_id == 5
    assert tokens.problem([97], [97, ord(first), 98]) == problem


def test_a_keyword_is_sought_without_the_punctuation_at_the_ends_of_a_token() -> None:
    assert is_keyword("?Ber.lin!", {"ber.lin"})
    assert not is_keyword("Berlin!", {"berlin!"})
    assert not is_keyword("?Berlin", {"?berlin"})
    assert is_keyword(" Berlin", {" berlin"})
