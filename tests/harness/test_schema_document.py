"""The shapes of a document: fixed values by their type, and the blocks of prompts of one's own."""

from typing import Any

import pytest

from spec.schema.document import Items, Leaf, Texts, const, one_of, suite_document

BLOCK = (
    *("prompt_id", "prompt_variant", "context_prompt", "gold_answer", "gold_alignment"),
    *("L_copy", "L_copy_H", "L_semantic", "delta_layers"),
    *("first_kl_below_0.5", "first_kl_below_1.0"),
    *("first_rank_le_1", "first_rank_le_5", "first_rank_le_10"),
    *("control", "control_summary", "last_layer_consistency", "raw_lens_check"),
    *("final_prediction", "temperature_exploration", "tags"),
)


@pytest.mark.parametrize(
    ("value", "kind"), [("a", "string"), (True, "bool"), (3, "int"), (0.5, "float")]
)
def test_a_fixed_value_has_its_type_and_itself_alone(value: Any, kind: str) -> None:
    assert const(value) == Leaf((kind,), (value,))


def test_one_of_several_texts() -> None:
    assert one_of("on", "off") == Leaf(("string",), ("on", "off"))


@pytest.mark.parametrize("corrected", [False, True])
def test_the_block_of_a_pass_of_one_s_own(corrected: bool) -> None:
    passes = suite_document(corrected)["passes"]
    assert isinstance(passes, Items)
    assert tuple(passes.item) == BLOCK
    assert passes.item["tags"] == Texts()
