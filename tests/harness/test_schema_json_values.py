"""A document against its shape: which shape it is held to, and every broken value of it."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from spec.runs.json_text import layout
from spec.runs.run import Run
from spec.schema.document import (
    CORRECTED_DOCUMENT,
    DOCUMENT,
    TEST_PROMPTS,
    Items,
    Leaf,
    Texts,
    TopK,
    suite_document,
)
from spec.schema.json_values import (
    check_document,
    check_fixed_lists,
    check_object,
    check_shape,
    check_topk,
)
from spec.schema.rows import DocumentContext
from spec.schema.rules import Violation

INT, NULL = Leaf(("int",)), Leaf(("null",))
VALUES = {"string": "t", "bool": True, "int": 1, "float": 0.5, "null": None}
ITEMS: dict[str, list[dict[str, Any]]] = {
    "test_prompts": [{"prompt": prompt} for prompt in TEST_PROMPTS],
    "temperature_exploration": [{"temperature": number} for number in (0.1, 2.0)],
}


def texts(violations: Iterable[Violation]) -> list[str]:
    return [f"{v.place} {v.rule}: {v.value}".partition(", ")[2] for v in violations]


def example(shape: Any) -> Any:
    """A value of a shape."""
    if isinstance(shape, tuple):
        return example(shape[0])
    if isinstance(shape, Leaf):
        return shape.choices[0] if shape.choices else VALUES[shape.types[0]]
    if isinstance(shape, Mapping):
        return {k: example(inner) for k, inner in shape.items() if not isinstance(inner, Texts)}
    return [["t", 0.5]] * shape.k if isinstance(shape, TopK) else []


def of_built_in(shape: Mapping[str, Any]) -> dict[str, Any]:
    """A document of run.py's prompts: all of its fixed items."""
    fixed = {name: [example(shape[name].item) | one for one in ITEMS[name]] for name in ITEMS}
    return example(shape) | fixed


def broken(document: dict[str, Any], corrected: bool, own: bool) -> list[str]:
    run = Run("t", document=document, document_text=layout(document))
    violations = check_document(run, document, DocumentContext(corrected=corrected, own=own))
    assert isinstance(violations, list)
    return texts(violations)


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_a_document_is_held_to_the_shape_of_its_contract(corrected: bool, own: bool) -> None:
    """With prompts of one's own there is no fixed item, else all of them."""
    built_in = of_built_in(CORRECTED_DOCUMENT if corrected else DOCUMENT)
    document = example(suite_document(corrected)) if own else built_in
    assert broken(document, corrected, own) == []
    assert "differs json.keys: a key too many" in broken(document | {"differs": []}, False, own)
    missing = {name: value for name, value in document.items() if name != "differs"}
    assert ("differs json.keys: no such key" in broken(missing, corrected, own)) == corrected


@pytest.mark.parametrize(
    ("model", "named"), [("t", True), ("a/t", True), ("a/b/t", True), ("t/a", False)]
)
def test_the_files_carry_the_last_part_of_the_model_s_name(model: str, named: bool) -> None:
    document = example(suite_document(False))
    document["diagnostics"]["model"] = model
    assert broken(document, False, True) == ["diagnostics.model model-name: 't/a'"] * (not named)


def test_a_document_breaks_several_rules_of_its_values() -> None:
    document = of_built_in(DOCUMENT)
    document["diagnostics"]["model"] = "a/b"
    document["temperature_exploration"].pop()
    assert broken(document, False, False) == [
        "temperature_exploration[1], temperature json.value: the end of the list",
        "diagnostics.model model-name: 'a/b'",
    ]


def test_each_fixed_list_is_compared() -> None:
    swapped = {
        "test_prompts": ITEMS["test_prompts"][:2] + ITEMS["test_prompts"][:1],
        "temperature_exploration": ITEMS["temperature_exploration"][::-1],
    }
    assert texts(check_fixed_lists("x.json", ITEMS)) == []
    assert texts(check_fixed_lists("x.json", swapped)) == [
        "test_prompts[2], prompt json.value: 'Berlin is the capital of'",
        "temperature_exploration[0], temperature json.value: 2.0",
    ]
    one = ITEMS | {
        "temperature_exploration": [*ITEMS["temperature_exploration"], {"temperature": 1.0}]
    }
    assert texts(check_fixed_lists("x.json", one)) == [
        "temperature_exploration[2], temperature json.value: 1.0"
    ]


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        ({"a": 1}, ({"a": INT}, NULL), []),
        ({"a": None}, ({"a": INT}, NULL), ["o.a json.type: null (null)"]),
        (None, ({"a": INT}, NULL), []),
        ([1], ({"a": INT}, NULL), ["o json.type: list (list)"]),
        ([1, 2], (Items(INT), NULL), []),
        ([1, None], (Items(INT), NULL), ["o[1] json.type: null (null)"]),
        (None, (Items(INT), NULL), []),
        ({"a": 1}, (Items(INT), NULL), ["o json.type: object (object)"]),
        ({}, Texts(), []),
        ({"a": "t", "b": "t"}, Texts(), []),
        ({"a": "t", "b": 1}, Texts(), ["o.b json.type: 1 (int)"]),
        (3, Texts(), ["o json.type: 3 (int)"]),
        (None, Texts(), ["o json.type: null (null)"]),
        ([["a"]], Texts(), ["o json.type: list (list)"]),
    ],
)
def test_a_value_of_alternatives_or_of_texts(value: Any, shape: Any, expected: list[str]) -> None:
    assert texts(check_shape("x.json", ("o",), value, shape, DocumentContext())) == expected


def test_keys_in_another_order_are_one_violation() -> None:
    shape = dict.fromkeys("abcd", INT)
    value = dict.fromkeys("acdb", 1)
    assert texts(check_object("x.json", ("o",), value, shape, DocumentContext())) == [
        "o.b json.keys: c in its place"
    ]


def test_the_pairs_after_one_that_is_none_are_checked() -> None:
    pairs = [["a", 0.5], {}, ["c", 0.75]]
    assert texts(check_topk("x.json", ("t",), pairs, TopK(3), DocumentContext())) == [
        "t[1] topk.list: no pair of token and probability",
        "t[2], p topk.list: 0.75",
    ]
