"""The ledger of the reference's defects: one entry each, complete, in the order of the documents."""

import re
from string import Formatter

import pytest

from lenses_min.output.ledger import BY_ID, DEFECTS, heading, shows_layernorm

FIELDS = {
    "model_warning": {"family"},
    "run_warning": {"read", "rule", "declared", "declared_rule"},
    "prompt_warning": {"prompts", "note"},
    "shown": {"kl"},
}


def test_ids_are_unique_and_texts_begin_with_them() -> None:
    assert len(BY_ID) == len(DEFECTS)
    for defect in DEFECTS:
        assert re.fullmatch(r"R\d+|rank", defect.id)
        assert defect.corrected
        for name in FIELDS:
            text = getattr(defect, name)
            assert not text or text.startswith(f"{defect.id}: ")


def test_templates_have_no_field_but_those_that_are_filled() -> None:
    for defect in DEFECTS:
        for name, allowed in FIELDS.items():
            fields = {field for _, field, _, _ in Formatter().parse(getattr(defect, name))}
            assert fields - {None} <= allowed


def test_a_document_lists_conditional_defects_only_where_its_prompts_have_them() -> None:
    always = [defect.id for defect in DEFECTS if not defect.conditional]
    for prompt_defects in ((), ("R15",), ("R15", "R14")):
        differs = heading(prompt_defects)["differs"]
        assert isinstance(differs, list)
        expected = [*always, *sorted(prompt_defects)]
        assert [entry["id"] for entry in differs] == expected


@pytest.mark.parametrize("key", ["first_block_ln1_type", "final_ln_type"])
def test_a_reference_document_shows_layernorm_by_either_of_its_norms(key: str) -> None:
    for norm, shows in (("LayerNorm", True), ("RMSNorm", False)):
        document = {"diagnostics": {key: norm}}
        assert shows_layernorm(document) is shows
        assert not shows_layernorm(document | {"contract": "corrected"})
