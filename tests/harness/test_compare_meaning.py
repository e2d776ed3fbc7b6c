"""What a column means: the quantity it measures, and its place in the documents of the contract."""

import pytest

from spec.compare.cells import kind_of
from spec.compare.column import Column
from spec.compare.documents import mask, quantity
from spec.compare.stages import (
    all_of,
    at,
    in_blocks,
    is_entropy,
    is_forward,
    is_milestone,
    json_columns,
    named,
    steps_in,
)
from spec.runs import columns
from spec.schema.document import suite_document


def test_what_a_value_measures() -> None:
    assert kind_of("entropy", "x") == columns.ENTROPY
    assert kind_of("loss", "0.5") == "float"
    assert kind_of("loss", "high") == columns.TEXT
    assert kind_of("token", "0.5") == columns.TEXT
    assert quantity("entropy", 0.5) == columns.ENTROPY
    assert quantity("loss", 0.5) == "float"
    assert quantity("layer", 0.5) == "float"
    assert quantity("layer", 3) == columns.INTEGER
    assert quantity("answer_rank_lens", 3) == columns.RANK
    assert quantity("layer", "3") == columns.TEXT
    assert quantity("entropy", 3) == columns.TEXT
    assert mask("no file /a/b c") == "no file PATH"
    assert mask(r"no file in C:\a b") == "no file in PATH"
    assert mask("no file") == "no file"
    assert mask(3) == 3


def test_columns_by_their_steps() -> None:
    assert in_blocks("a", "b") == (
        ("diagnostics", "a"),
        ("passes", "[]", "a"),
        ("diagnostics", "b"),
        ("passes", "[]", "b"),
    )
    assert in_blocks("a", top=True) == (("a",), ("passes", "[]", "a"))
    whole = named("", "x")
    assert [whole(Column("records", steps)) for steps in ((), ("x",), ("y",))] == [
        True,
        True,
        False,
    ]
    of_part = named("x", part="answers")
    assert [of_part(Column(part, ("x",))) for part in ("answers", "records")] == [True, False]
    milestones = (
        ("ablation_summary", "L_copy_orig"),
        ("control_summary", "max_control_margin"),
        ("passes", "[]", "control_summary", "max_control_margin"),
        ("diagnostics", "L_copy"),
        ("diagnostics", "delta_layers"),
        ("passes", "[]", "first_kl_below_0.5"),
    )
    others = (
        ("diagnostics", "model"),
        ("model_stats", "L_copy"),
        ("diagnostics", "x", "L_copy"),
        ("model_stats", "d_model"),
    )
    assert [is_milestone(Column("json", steps)) for steps in milestones] == [True] * 6
    assert [is_milestone(Column("json", steps)) for steps in others] == [False] * 4
    assert not is_milestone(Column("records", ("copy_collapse",)))
    assert {(), ("layout",), ("model_stats", "d_model")} <= json_columns()
    assert ("final_prediction", "topk", "[]", "p") in json_columns()
    shapes = {step: set(steps_in((), suite_document(step))) for step in (False, True)}
    assert shapes[False] | shapes[True] <= json_columns()
    assert shapes[True] - shapes[False], "the corrected contract has columns of its own"


def test_columns_by_their_part_and_place() -> None:
    whole = all_of("run")
    assert [whole(Column(part, ("x",))) for part in ("run", "json")] == [True, False]
    passes = at(("passes",), ("passes", "[]"))
    places = (
        ("json", ("passes", "[]")),
        ("json", ("passes", "[]", "tags")),
        ("records", ("passes",)),
    )
    assert [passes(Column(*place)) for place in places] == [True, False, False]
    entropies = ("entropy",), ("final_prediction", "entropy"), ("entropy", "kl")
    assert [is_entropy(Column("json", steps)) for steps in entropies] == [True, True, False]


@pytest.mark.parametrize("name", ["final_prediction", "test_prompts", "temperature_exploration"])
def test_the_output_of_the_model_stands_at_the_top_and_in_the_blocks_of_passes(name: str) -> None:
    """Its entropies are metrics."""
    for own in ((name,), (name, "topk"), ("passes", "[]", name), ("passes", "[]", name, "topk")):
        assert is_forward(Column("json", own))
        assert not is_forward(Column("json", (*own, "entropy")))
        assert not is_forward(Column("records", own))
    assert not is_forward(Column("json", ("diagnostics", name)))
