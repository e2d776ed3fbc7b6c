"""Two JSON documents: keys and their order, types, then leaf by leaf."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..runs import columns
from ..runs.json_text import layout
from ..runs.places import JsonItem, Path, Place, at_path, dotted, steps_of
from ..runs.values import kind, written
from .kinds import Kind
from .recorder import Recorder, topk_faults
from .tables import KEY, compare_names

NEVER_DEMANDED = frozenset(
    {("diagnostics", "prism_summary", "artifact_path"), ("model_stats", "n_ctx")}
)
PATH_INSIDE = ("diagnostics", "prism_summary", "error")


def compare_documents(
    recorder: Recorder,
    expected: Mapping[str, Any],
    obtained: Mapping[str, Any],
    texts: tuple[str, str],
) -> None:
    """Record every difference of two documents; `texts` are the texts of both files."""
    compare_values(recorder, (), expected, obtained)
    formats = any(mismatch.kind == Kind.FORMAT for mismatch in recorder.mismatches)
    layouts = layout(expected), layout(obtained)
    contract = layouts[0] == texts[0] and layouts[1] != texts[1]
    # of equal values, so that only the space between them can be written otherwise
    other = layouts[0] == layouts[1] and texts[0] != texts[1]
    if (contract or other) and not formats:
        usual = "indent 2, UTF-8, no final newline" if contract else "another layout"
        place = Place(recorder.file, column="layout")
        recorder.mismatch(place, usual, "another layout", Kind.FORMAT)


def compare_values(recorder: Recorder, path: Path, expected: Any, obtained: Any) -> None:
    if path in NEVER_DEMANDED:
        recorder.undemanded(path, layout(expected), layout(obtained))
    elif kind(expected) != kind(obtained):
        place = at_path(recorder.file, path)
        recorder.tally(place, column_name(path), same=False)
        types = [f"{written(value)} ({kind(value)})" for value in (expected, obtained)]
        recorder.mismatch(place, types[0], types[1], Kind.TYPE)
    elif isinstance(expected, Mapping):
        compare_objects(recorder, path, expected, obtained)
    elif isinstance(expected, list):
        compare_lists(recorder, path, expected, obtained)
    else:
        compare_leaf(recorder, path, expected, obtained)


def compare_objects(
    recorder: Recorder, path: Path, expected: Mapping[str, Any], obtained: Mapping[str, Any]
) -> None:
    """Two objects: their keys, then the values of the keys that both have."""
    file, item = recorder.file, JsonItem(path)
    names = list(expected), list(obtained)
    compare_names(recorder, KEY, names, lambda name: Place(file, item, key=(name,)))
    temperature = expected.get("temperature")
    if "temperature_exploration" in path and isinstance(temperature, float):
        recorder = recorder.under(recorder.tolerance.at_temperature(temperature))
    for key in expected:
        if key in obtained:
            compare_values(recorder, (*path, key), expected[key], obtained[key])


def column_name(path: Path) -> str:
    """The path with `[]` for list indices: the column that statistics are counted for."""
    return dotted(steps_of(path))


def compare_leaf(recorder: Recorder, path: Path, expected: Any, obtained: Any) -> None:
    """Two leaves of one JSON type."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    if path == PATH_INSIDE:
        masked = mask(expected), mask(obtained)
        if masked[0] == masked[1]:
            recorder.undemanded(path, layout(expected), layout(obtained))
        expected, obtained = masked
    place = at_path(recorder.file, path)
    texts = written(expected), written(obtained)
    recorder.value(place, column_name(path), *texts, quantity(name, expected))


def quantity(name: str, value: Any) -> str:
    """What a leaf measures; a float under an unknown key has the class's default bound."""
    known = columns.quantity(name)
    if isinstance(value, float):
        return known if known in columns.FLOATS else "float"
    return (
        known if known in (columns.INTEGER, columns.RANK) and kind(value) == "int" else columns.TEXT
    )


def mask(value: Any) -> Any:
    """A sentence without the machine's path, from the first word with a slash to the end; else the value itself."""
    return re.sub(r"\S*[/\\].*", "PATH", value) if isinstance(value, str) else value


def compare_lists(
    recorder: Recorder, path: Path, expected: Sequence[Any], obtained: Sequence[Any]
) -> None:
    if len(expected) != len(obtained):
        lengths = f"{len(expected)} items", f"{len(obtained)} items"
        recorder.mismatch(at_path(recorder.file, path), *lengths, Kind.LIST_LENGTH)
    if path and path[-1] == "topk" and all(map(is_pair, [*expected, *obtained])):
        compare_topk(recorder, path, expected, obtained)
        return
    # strict=False: a difference in length is recorded above
    for i, (a, b) in enumerate(zip(expected, obtained, strict=False)):
        compare_values(recorder, (*path, i), a, b)


def is_pair(item: Any) -> bool:
    return isinstance(item, list) and [kind(part) for part in item] == ["string", "float"]


def compare_topk(
    recorder: Recorder, path: Path, expected: Sequence[Any], obtained: Sequence[Any]
) -> None:
    """[token, p] pairs: probabilities by position, tokens with regard to ties."""
    length = min(len(expected), len(obtained))
    tokens = [pair[0] for pair in expected[:length]]
    others = [pair[0] for pair in obtained[:length]]
    probabilities = [float(pair[1]) for pair in expected[:length]]
    faults = topk_faults(recorder, tokens, probabilities, others)
    for i, (a, b) in enumerate(zip(expected[:length], obtained[:length], strict=True)):
        token, p = (
            at_path(recorder.file, (*path, i, "token")),
            at_path(recorder.file, (*path, i, "p")),
        )
        recorder.tally(token, column_name(token.path), same=a[0] == b[0])
        if i in faults:
            order = Kind.TOPK_ORDER if b[0] in tokens else Kind.TOPK_TOKEN
            recorder.mismatch(token, a[0], b[0], order)
        recorder.value(p, column_name(p.path), a[1].text, b[1].text, columns.PROBABILITY)
