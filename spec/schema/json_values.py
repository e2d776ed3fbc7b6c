"""A document against its shape, in the order keys → types → values, and its numbers against their ranges."""

from collections.abc import Iterator, Mapping
from math import isfinite, log2
from typing import Any

from ..runs import columns
from ..runs.json_text import layout
from ..runs.places import Path, Place, at_path
from ..runs.run import Run
from ..runs.values import kind, written
from .document import (
    CORRECTED_DOCUMENT,
    DOCUMENT,
    STRING,
    TEST_PROMPTS,
    Items,
    Leaf,
    Texts,
    TopK,
    suite_document,
)
from .rows import TINY, DocumentContext, is_float32
from .rules import Rule, Violation


def check_document(
    run: Run, document: Mapping[str, Any], facts: DocumentContext
) -> list[Violation]:
    """Everything about the document by itself."""
    file = run.document_name
    built_in = CORRECTED_DOCUMENT if facts.corrected else DOCUMENT
    shape = suite_document(facts.corrected) if facts.own else built_in
    violations = list(check_shape(file, (), document, shape, facts))
    if layout(document) != run.document_text:
        place = Place(file, column="layout")
        violations.append(Violation(place, Rule.JSON_LAYOUT, "another layout"))
    if violations:
        return violations
    if not facts.own:
        violations += check_fixed_lists(file, document)
    name = document["diagnostics"]["model"]
    if name.split("/")[-1] != run.file_stem:
        violations.append(broken(file, ("diagnostics", "model"), Rule.MODEL_NAME, repr(name)))
    return violations


def broken(file: str, path: Path, rule: Rule, value: str) -> Violation:
    return Violation(at_path(file, path), rule, value)


def check_shape(
    file: str, path: Path, value: Any, shape: Any, facts: DocumentContext
) -> Iterator[Violation]:
    """Walk value and shape together; `shape` is a mapping, Leaf, Items, TopK, Texts or a tuple of alternatives."""
    if isinstance(shape, tuple):
        first = "list" if isinstance(shape[0], Items) else "object"
        shape = shape[0] if kind(value) == first else shape[1]
    if isinstance(shape, Texts):
        shape = dict.fromkeys(value if isinstance(value, Mapping) else (), STRING)
    if isinstance(shape, Mapping):
        yield from check_object(file, path, value, shape, facts)
    elif isinstance(shape, Leaf):
        yield from check_leaf(file, path, value, shape, facts)
    elif not isinstance(value, list):
        yield broken(file, path, Rule.JSON_TYPE, f"{written(value)} ({kind(value)})")
    elif isinstance(shape, Items):
        for i, item in enumerate(value):
            yield from check_shape(file, (*path, i), item, shape.item, facts)
    else:
        yield from check_topk(file, path, value, shape, facts)


def check_object(
    file: str, path: Path, value: Any, shape: Mapping[str, Any], facts: DocumentContext
) -> Iterator[Violation]:
    if not isinstance(value, Mapping):
        yield broken(file, path, Rule.JSON_TYPE, f"{written(value)} ({kind(value)})")
        return
    common = [name for name in shape if name in value]
    order = [name for name in value if name in shape]
    demanded = (name for name, inner in shape.items() if not isinstance(inner, Texts))
    for name in (name for name in demanded if name not in value):
        yield broken(file, (*path, name), Rule.JSON_KEYS, "no such key")
    for name in (name for name in value if name not in shape):
        yield broken(file, (*path, name), Rule.JSON_KEYS, "a key too many")
    misplaced = [(a, b) for a, b in zip(common, order, strict=True) if a != b]
    for name, other in misplaced[:1]:
        yield broken(file, (*path, name), Rule.JSON_KEYS, f"{other} in its place")
    for name in common:
        yield from check_shape(file, (*path, name), value[name], shape[name], facts)


def check_leaf(
    file: str, path: Path, value: Any, shape: Leaf, facts: DocumentContext
) -> Iterator[Violation]:
    if kind(value) not in shape.types:
        yield broken(file, path, Rule.JSON_TYPE, f"{written(value)} ({kind(value)})")
    elif shape.choices and value not in shape.choices:
        yield broken(file, path, Rule.JSON_VALUE, written(value))
    elif kind(value) in ("int", "float"):
        name = next(part for part in reversed(path) if isinstance(part, str))
        if rule := number_rule(columns.quantity(name), value, facts):
            yield broken(file, path, rule, written(value))


def number_rule(quantity: str, value: float, facts: DocumentContext) -> Rule | None:
    """The rule that a number breaks by itself."""
    bits = float("inf") if facts.vocabulary is None else log2(facts.vocabulary) + TINY
    single = quantity in (columns.PROBABILITY, columns.ENTROPY, columns.TEMPERATURE)
    if not isfinite(value):
        return Rule.CELL_TYPE
    if quantity == columns.PROBABILITY and not 0 <= value <= 1 + TINY:
        return Rule.PROBABILITY_RANGE
    if quantity == columns.ENTROPY and not -TINY <= value <= bits:
        return Rule.ENTROPY_RANGE
    if quantity == columns.KL and value < -TINY:
        return Rule.KL_RANGE
    if quantity == columns.RANK and not 1 <= value <= (facts.vocabulary or value):
        return Rule.RANK_RANGE
    return Rule.FLOAT32 if single and not is_float32(value) else None


def check_topk(
    file: str, path: Path, value: list[Any], shape: TopK, facts: DocumentContext
) -> Iterator[Violation]:
    k = shape.k if facts.vocabulary is None else min(shape.k, facts.vocabulary)
    if len(value) != k:
        yield broken(file, path, Rule.TOPK_LIST, f"{len(value)} pairs where k is {k}")
    before = 1.0
    for i, pair in enumerate(value):
        if not isinstance(pair, list) or [kind(part) for part in pair] != ["string", "float"]:
            yield broken(file, (*path, i), Rule.TOPK_LIST, "no pair of token and probability")
            continue
        p = pair[1]
        if not (0 <= p <= before and is_float32(p)):
            yield broken(file, (*path, i, "p"), Rule.TOPK_LIST, written(p))
        before = p


def check_fixed_lists(file: str, document: Mapping[str, Any]) -> Iterator[Violation]:
    """The test prompts and temperatures, all of them and in their order."""
    fixed = (
        ("test_prompts", "prompt", list(TEST_PROMPTS)),
        ("temperature_exploration", "temperature", [0.1, 2.0]),
    )
    for block, name, fixed_values in fixed:
        values = [item[name] for item in document[block]]
        if values == fixed_values:
            continue
        # strict=False: the list may be longer or shorter than the contract's
        pairs = enumerate(zip(fixed_values, values, strict=False))
        shorter = min(len(fixed_values), len(values))
        at = next((i for i, (a, b) in pairs if a != b), shorter)
        value = repr(values[at]) if at < len(values) else "the end of the list"
        yield broken(file, (block, at, name), Rule.JSON_VALUE, value)
