"""A document against its shape, in the order keys → types → values, and its numbers against their ranges."""

from collections.abc import Iterator, Mapping
from math import isfinite, log2
from typing import Any

from ..runs import columns
from ..runs.json_text import layout
from ..runs.run import Run
from ..runs.values import Path, kind, place, written
from .document import CORRECTED_DOCUMENT, DOCUMENT, TEST_PROMPTS, Items, Leaf, TopK, suite_document
from .rows import TINY, DocumentContext, is_float32
from .rules import Violation


def check_document(
    run: Run, document: Mapping[str, Any], facts: DocumentContext
) -> list[Violation]:
    """Everything about the document by itself."""
    file = run.document_name
    built_in = CORRECTED_DOCUMENT if facts.corrected else DOCUMENT
    shape = suite_document(facts.corrected) if facts.own else built_in
    violations = list(check_shape(file, (), document, shape, facts))
    if layout(document) != run.document_text:
        violations.append(Violation(file, "", "layout", "json.layout", "another layout"))
    if not violations:
        violations += () if facts.own else check_fixed_lists(file, document)
        name = document["diagnostics"]["model"]
        if name.split("/")[-1] != run.file_stem:
            violations.append(Violation(file, "", "diagnostics.model", "model-name", repr(name)))
    return violations


def broken(file: str, path: Path, rule: str, value: str) -> Violation:
    row, column = place(path)
    return Violation(file, row, column, rule, value)


def check_shape(
    file: str, path: Path, value: Any, shape: Any, facts: DocumentContext
) -> Iterator[Violation]:
    """Walk value and shape together; `shape` is a mapping, Leaf, Items, TopK or a tuple of alternatives."""
    if isinstance(shape, tuple):
        wanted = "list" if isinstance(shape[0], Items) else "object"
        shape = shape[0] if kind(value) == wanted else shape[1]
    if isinstance(shape, Mapping):
        yield from check_object(file, path, value, shape, facts)
    elif isinstance(shape, Leaf):
        yield from check_leaf(file, path, value, shape, facts)
    elif not isinstance(value, list):
        yield broken(file, path, "json.type", f"{written(value)} ({kind(value)})")
    elif isinstance(shape, Items):
        for i, item in enumerate(value):
            yield from check_shape(file, (*path, i), item, shape.item, facts)
    else:
        yield from check_topk(file, path, value, shape, facts)


def check_object(
    file: str, path: Path, value: Any, shape: Mapping[str, Any], facts: DocumentContext
) -> Iterator[Violation]:
    if not isinstance(value, Mapping):
        yield broken(file, path, "json.type", f"{written(value)} ({kind(value)})")
        return
    for name in (n for n in shape if n not in value):
        yield broken(file, (*path, name), "json.keys", "no such key")
    for name in (n for n in value if n not in shape):
        yield broken(file, (*path, name), "json.keys", "a key too many")
    shared = [
        (a, b)
        for a, b in zip((n for n in shape if n in value), (n for n in value if n in shape))
        if a != b
    ]
    if shared:
        yield broken(file, (*path, shared[0][0]), "json.keys", f"{shared[0][1]} in its place")
    for name in (n for n in shape if n in value):
        yield from check_shape(file, (*path, name), value[name], shape[name], facts)


def check_leaf(
    file: str, path: Path, value: Any, shape: Leaf, facts: DocumentContext
) -> Iterator[Violation]:
    if kind(value) not in shape.types:
        yield broken(file, path, "json.type", f"{written(value)} ({kind(value)})")
    elif shape.choices and value not in shape.choices:
        yield broken(file, path, "json.value", written(value))
    elif kind(value) in ("int", "float"):
        name = next(part for part in reversed(path) if isinstance(part, str))
        if rule := number_rule(columns.quantity(name), value, facts):
            yield broken(file, path, rule, written(value))


def number_rule(quantity: str, value: float, facts: DocumentContext) -> str | None:
    """The rule that a number breaks by itself."""
    bits = float("inf") if facts.vocabulary is None else log2(facts.vocabulary) + TINY
    if not isfinite(value):
        return "cell.type"
    if quantity == columns.PROBABILITY and not 0 <= value <= 1 + TINY:
        return "probability.range"
    if quantity == columns.ENTROPY and not -TINY <= value <= bits:
        return "entropy.range"
    if quantity == columns.KL and value < -TINY:
        return "kl.range"
    if quantity == columns.RANK and not 1 <= value <= (facts.vocabulary or value):
        return "rank.range"
    if quantity in (columns.PROBABILITY, columns.ENTROPY, columns.TEMPERATURE) and not is_float32(
        value
    ):
        return "float32"
    return None


def check_topk(
    file: str, path: Path, value: list[Any], shape: TopK, facts: DocumentContext
) -> Iterator[Violation]:
    k = shape.k if facts.vocabulary is None else min(shape.k, facts.vocabulary)
    if len(value) != k:
        yield broken(file, path, "topk.list", f"{len(value)} pairs where k is {k}")
    before = 1.0
    for i, pair in enumerate(value):
        if not isinstance(pair, list) or [kind(part) for part in pair] != ["string", "float"]:
            yield broken(file, (*path, i), "topk.list", "no pair of token and probability")
            continue
        p = pair[1]
        if not (0 <= p <= before and is_float32(p)):
            yield broken(file, (*path, i, "p"), "topk.list", written(p))
        before = p


def check_fixed_lists(file: str, document: Mapping[str, Any]) -> Iterator[Violation]:
    """The test prompts and temperatures, all of them and in their order."""
    fixed = (
        ("test_prompts", "prompt", list(TEST_PROMPTS)),
        ("temperature_exploration", "temperature", [0.1, 2.0]),
    )
    for block, name, wanted in fixed:
        found = [item[name] for item in document[block]]
        if found != wanted:
            at = next(
                (i for i, (a, b) in enumerate(zip(wanted, found)) if a != b),
                min(len(wanted), len(found)),
            )
            value = repr(found[at]) if at < len(found) else "the end of the list"
            yield Violation(file, f"{block}[{at}]", name, "json.value", value)
