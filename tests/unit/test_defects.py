"""The warnings of the ledger's defects, word for word: they name columns that people will distrust."""

from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from lenses_min.core.tokens import Tokens
from lenses_min.core.types import Bos
from lenses_min.model.load import LoadedModel
from lenses_min.options import CORRECTED, REFERENCE
from lenses_min.output.defects import (
    answer_warning,
    bos_warnings,
    defect_warnings,
    listed,
    prompt_warnings,
)
from lenses_min.prompts.suite import Prompt
from tests.tiny_tokenizers import tokenizer

S, PAD = 1, 3  # the ids of <s> and <pad>


def test_every_warning(fact_model: LoadedModel, snapshot: SnapshotAssertion) -> None:
    facts = replace(fact_model.facts, first_norm="LayerNorm", output_transform=True)
    summaries = {
        "prism": {"error": "prism artifacts corrupt in x"},
        "other": {"error": "Missing y"},
        "off": {},
    }
    assert list(defect_warnings(facts, summaries)) == snapshot


def test_a_model_without_defects_gives_no_warning(fact_model: LoadedModel) -> None:
    assert list(defect_warnings(fact_model.facts, {"prism": {"error": None}})) == []
    final_only = replace(fact_model.facts, final_norm="LayerNorm")
    assert len(list(defect_warnings(final_only, {}))) == 1


@pytest.mark.parametrize(("corrected", "own"), [(True, False), (False, True), (True, True)])
def test_the_answers_of_own_prompts_and_of_a_corrected_run_have_their_notes(
    corrected: bool, own: bool
) -> None:
    """The built-in prompts under the reference have the warning of R15 instead."""
    rules = CORRECTED if corrected else REFERENCE
    tokens = Tokens(tokenizer(), Bos((), "none"), rules=rules)
    encoded = tokens.encode_all([Prompt("a", "orig", "The capital", "nobody")], 99, joint=own)
    assert list(prompt_warnings(tokens, encoded, [], own)) == [
        "a/orig ('nobody'): unresolved: "
        "the tokenizer has no token for all of the answer, only an unknown one"
    ]


def test_prompts_that_begin_with_bos_are_named_under_the_reference_alone() -> None:
    """A test prompt by its first 40 characters."""
    text = "<s>" + "The capital of Germany is called Berlin " * 2
    for rules in (REFERENCE, CORRECTED):
        tokens = Tokens(tokenizer(bos_token="<s>"), Bos((S,), "bos_token"), rules=rules)
        prompts = [Prompt("a", "orig", "<s>The capital", "of"), Prompt("b", "orig", "The", "of")]
        encoded = tokens.encode_all(prompts, 99)
        assert list(prompt_warnings(tokens, encoded, [text, "Berlin"], own=False)) == (
            [
                "R14: a/orig, test prompt '<s>The capital of Germany is called Berl': "
                "the text begins with BOS, and the model reads it twice"
            ]
            if rules is REFERENCE
            else []
        )


def test_another_bos_than_the_declared_one_is_named_with_both_rules() -> None:
    own, none = Bos((PAD, S), "rule a"), Bos((), "rule b")
    assert list(bos_warnings(Tokens(tokenizer(), own, other=none), [], [])) == [
        "R14: the model reads '<pad>' (id 3) '<s>' (id 1) before every prompt (rule a), where its "
        "makers meant no BOS (rule b): every number depends on it; "
        "--contract corrected or --bos changes it"
    ]
    for other in (replace(own, rule="rule b"), None):
        assert list(bos_warnings(Tokens(tokenizer(), own, other=other), [], [])) == []


@pytest.mark.parametrize(("note", "reason"), [("", ""), ("a note", " (a note)")])
def test_the_warning_of_r15_has_a_reason_where_there_is_one(note: str, reason: str) -> None:
    assert answer_warning(note, ["a/orig ('x')", "b/orig ('y')"]) == (
        "R15: a/orig ('x'), b/orig ('y'): the gold ids are the reference's, "
        f"not those that follow the prompt{reason}"
    )


def test_a_warning_counts_the_prompts_from_the_ninth_on() -> None:
    names = list("abcdefghij")
    eight = "a, b, c, d, e, f, g, h"
    assert [listed(names[:n]) for n in (1, 8, 9, 10)] == [
        "a",
        eight,
        f"{eight} and 1 more",
        f"{eight} and 2 more",
    ]
