"""How an answer joins its prompt, and the warning where it does not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lenses_min import RunOptions, pipeline
from lenses_min.core.tokens import Tokens
from lenses_min.model.bos import Declared, choose_bos
from lenses_min.options import CORRECTED
from lenses_min.output.defects import prompt_warnings
from lenses_min.prompts.joins import joins
from lenses_min.prompts.suite import Prompt
from spec.runs.run import read_run
from spec.schema.validate import validate
from tests.tiny_tokenizers import tokenizer

SPACE, NOTHING, EITHER, RATHER_NOT = (" ",), ("",), (" ", ""), ("", " ")


@pytest.mark.parametrize(
    ("prompt", "answer", "expected"),
    [
        ("The capital is called", "Berlin", SPACE),
        ("The year 19", "84", SPACE),
        ("Ça va", "bien", SPACE),
        ("한국의 수도는", "서울", SPACE),
        ("", "Berlin", NOTHING),
        ("called ", "Berlin", NOTHING),
        ("Question\n", "Berlin", NOTHING),
        ("called", " Berlin", NOTHING),
        ("Answer: (", "A", NOTHING),
        ("x[", "0", NOTHING),
        ('called "', "Berlin", NOTHING),
        ('{"capital":"', "Berlin", NOTHING),
        ("called „", "Berlin", NOTHING),
        ("called “", "Berlin", NOTHING),
        ("called »", "Berlin", NOTHING),
        ('"', "Berlin", NOTHING),
        ("the Germans'", "capital", EITHER),
        ('He said "yes."', "Berlin", EITHER),
        ('He said "(yes)"', "Berlin", EITHER),
        ('He said "«yes»"', "Berlin", EITHER),
        ('the city "Bonn"', "is", EITHER),
        ("德国的首都是", "柏林", NOTHING),
        ("德国的首都是：", "柏林", NOTHING),
        ("首都是「", "柏林", NOTHING),
        ("日本の首都は", "東京", NOTHING),
        ("เมืองหลวงคือ", "กรุงเทพ", NOTHING),
        ("德国的首都是", "Berlin", RATHER_NOT),
        ("The Chinese name is", "柏林", EITHER),
        ("12+30=", "42", RATHER_NOT),
        ("https://example.com/", "index", RATHER_NOT),
        ("well-", "known", RATHER_NOT),
        ("x ==", "5", EITHER),
        ("x =", "5", EITHER),
        ("Answer:", "Berlin", EITHER),
        ("Yes.", "No", EITHER),
        ("It is Berlin", ".", NOTHING),
        ("It is Berlin", ", Germany", NOTHING),
        ("Germany", "'s capital", NOTHING),
        ("He said", "'hello'", EITHER),
        ("costs", "$5", EITHER),
        ("a framework", ".NET", EITHER),
    ],
)
def test_what_stands_between(prompt: str, answer: str, expected: tuple[str, ...]) -> None:
    assert joins(prompt, answer) == expected


def corrected(kind: str, **special: str) -> Tokens:
    made = tokenizer(kind, **special)
    own, other = choose_bos(made, "llama", Declared(), "auto", by_declaration=True)
    return Tokens(made, own, other=other, rules=CORRECTED)


@pytest.mark.parametrize(
    ("kind", "text", "answer", "join", "variant", "pieces"),
    [
        ("bytes", "The capital is", "Berlin", None, "with_space", ("ĠBerlin",)),
        ("bytes", "The capital is", "Berlin", "", "no_space", ("Berlin",)),
        ("bytes", "12+30=", "42", None, "no_space", ("42",)),
        ("pieces", "The capital is", "Berlin", None, "with_space", ("▁Berlin",)),
        ("words", "The capital", "of", None, "with_space", ("of",)),
        ("words", "The capital", "of", "", "unknown", ()),
        ("spaced words", "The capital ", "of", None, "no_space", ("of",)),
        ("unigram", "The capital", "of", None, "with_space", ("▁of",)),
    ],
)
def test_the_ids_of_an_answer(
    kind: str, text: str, answer: str, join: str | None, variant: str, pieces: tuple[str, ...]
) -> None:
    gold = corrected(kind).align(Prompt("a", "orig", text, answer, join=join), mended=True)
    assert (gold.variant, gold.pieces) == (variant, pieces)
    assert bool(gold.note) is (variant == "unknown")


@pytest.mark.parametrize(
    ("kind", "text", "answer", "note"),
    [
        ("bytes over words", "The capital of", "Germany", "merges with the prompt's last token"),
        ("bytes", "The capital is ", "Berlin", "merges with the prompt's last token"),
        ("spaced words", "The capital", "of", "would begin with a lone space"),
        ("words", "The capital", "of nobody", "only an unknown one"),
        ("unigram", "The capital", "of nobody", "only an unknown one"),
    ],
)
def test_why_an_answer_is_unresolved(kind: str, text: str, answer: str, note: str) -> None:
    prompt = Prompt("a", "orig", text, answer)
    gold = corrected(kind).align(prompt, mended=True)
    assert (gold.alignment, gold.first_id) == ("unresolved", None)
    assert note in gold.note


def test_the_second_join_is_reported() -> None:
    tokens = corrected("bytes")
    prompt = Prompt("a", "orig", "capital:", "index")
    encoded = tokens.encode_all([prompt, replace(prompt, id="b", join="")], 99, joint=True)
    assert [e.gold.variant for e in encoded] == ["no_space", "no_space"]
    assert list(prompt_warnings(tokens, encoded, [], own=True)) == [
        "a/orig ('index'): the answer would begin with a lone space, which belongs to the prompt's end; "
        "read right after the prompt instead, `join` decides"
    ]


def test_one_warning_names_eight_prompts_and_counts_the_others() -> None:
    tokens = corrected("words")
    prompts = [Prompt(f"p{i}", "orig", "The capital", "nobody") for i in range(11)]
    (warning,) = prompt_warnings(tokens, tokens.encode_all(prompts, 99, joint=True), [], own=True)
    assert warning.startswith("p0/orig ('nobody'), p1/orig ('nobody'), ")
    assert "p7/orig ('nobody') and 3 more: unresolved: " in warning


def test_the_reference_keeps_its_rule_for_its_own_prompts_and_says_where_it_is_wrong() -> None:
    made = tokenizer("bytes over words", bos_token="<s>")
    own, other = choose_bos(made, "llama", Declared(), "auto", by_declaration=False)
    tokens = Tokens(made, own, other=other)
    merging = Prompt("a", "orig", "The capital of", "Germany")
    encoded = tokens.encode_all([merging, Prompt("b", "orig", "The capital", "of")], 99)
    assert encoded[0].gold.variant in ("with_space", "no_space")
    assert [e.defects for e in encoded] == [("R15",), ()]
    assert list(prompt_warnings(tokens, encoded, [], own=False)) == [
        "R15: a/orig ('Germany'): the gold ids are the reference's, not those that follow the prompt "
        "(unresolved: the answer merges with the prompt's last token)"
    ]


def test_ids_that_the_reference_takes_without_a_word_are_reported_too() -> None:
    """The reference has no note of them; that they are wrong is known by the mended rule alone."""
    made = tokenizer("bytes", bos_token="<s>")
    own, other = choose_bos(made, "llama", Declared(), "auto", by_declaration=False)
    tokens = Tokens(made, own, other=other)
    encoded = tokens.encode_all([Prompt("a", "orig", "The capital", "nobody")], 99)
    assert [(e.gold.note, e.defects) for e in encoded] == [("", ("R15",))]
    (warning,) = prompt_warnings(tokens, encoded, [], own=False)
    assert warning.startswith("R15: a/orig ('nobody'): the gold ids are the reference's, not those")


def test_own_prompts_join_alike_under_both_contracts(
    fact_options: RunOptions, tmp_path: Path
) -> None:
    path = tmp_path / "own.json"
    passes = [
        {"id": "a", "context": "The capital of Germany is called", "answer": "Berlin"},
        {"id": "b", "context": "The capital of Germany is called", "answer": "Berlin", "join": " "},
        {"id": "c", "context": "The capital of Germany is called", "answer": "北", "join": ""},
    ]
    path.write_text(json.dumps({"passes": passes}))
    runs = [
        pipeline.run(replace(fact_options, prompts=str(path), contract=contract))
        for contract in ("reference", "corrected")
    ]
    golds = [[block["gold_answer"] for block in run.document["passes"]] for run in runs]
    assert golds[0] == golds[1]
    assert golds[0][0] == golds[0][1]
    for run in runs:
        assert len(run.manifest["warnings"]) == 1
        assert run.manifest["warnings"][0].startswith("c/orig ('北'): unresolved: ")
    assert [entry["id"] for entry in runs[1].document["differs"]][-1] == "R15"
    for number, run in enumerate(runs):
        run.save(tmp_path / str(number))
        assert validate(read_run(tmp_path / str(number), "Fact")) == []
