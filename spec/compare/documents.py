"""Two JSON documents: keys and their order, types, then leaf by leaf."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..runs import columns
from ..runs.json_text import layout
from ..runs.values import Path, column_name, dotted, kind, place, written
from .recorder import Recorder, topk_faults
from .tables import compare_names

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
    """Write every difference of two documents to the ledger; `texts` are the files as they stand."""
    compare_values(recorder, (), expected, obtained)
    formats = any(mismatch.kind == "format" for mismatch in recorder.mismatches)
    layouts = layout(expected), layout(obtained)
    contract = layouts[0] == texts[0] and layouts[1] != texts[1]
    # of equal values, so that only the space between them can be written otherwise
    other = layouts[0] == layouts[1] and texts[0] != texts[1]
    if (contract or other) and not formats:
        wanted = "indent 2, UTF-8, no final newline" if contract else "another layout"
        recorder.mismatch("", "layout", wanted, "another layout", "format")


def compare_values(recorder: Recorder, path: Path, expected: Any, obtained: Any) -> None:
    if path in NEVER_DEMANDED:
        recorder.undemanded(dotted(path), layout(expected), layout(obtained))
        return
    row, column = place(path)
    if kind(expected) != kind(obtained):
        recorder.tally(row, column_name(path), same=False)
        told = [f"{written(value)} ({kind(value)})" for value in (expected, obtained)]
        recorder.mismatch(row, column, told[0], told[1], "type")
    elif isinstance(expected, Mapping):
        compare_names(recorder, dotted(path) or "top level", list(expected), list(obtained), "key")
        temperature = expected.get("temperature")
        if "temperature_exploration" in path and isinstance(temperature, float):
            recorder = recorder.under(recorder.tolerance.at_temperature(temperature))
        for key in expected:
            if key in obtained:
                compare_values(recorder, (*path, key), expected[key], obtained[key])
    elif isinstance(expected, list):
        compare_lists(recorder, path, expected, obtained)
    else:
        compare_leaf(recorder, path, expected, obtained)


def compare_leaf(recorder: Recorder, path: Path, expected: Any, obtained: Any) -> None:
    """Two leaves of one JSON type."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    if path == PATH_INSIDE:
        masked = mask(expected), mask(obtained)
        if masked[0] == masked[1]:
            recorder.undemanded(dotted(path), layout(expected), layout(obtained))
        expected, obtained = masked
    texts = written(expected), written(obtained)
    row, column = place(path)
    recorder.value(row, column, *texts, quantity(name, expected), column_name(path))


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
    row, column = place(path)
    if len(expected) != len(obtained):
        recorder.mismatch(
            row, column, f"{len(expected)} items", f"{len(obtained)} items", "list length"
        )
    if path and path[-1] == "topk" and all(map(is_pair, [*expected, *obtained])):
        compare_topk(recorder, path, expected, obtained)
    else:
        for i, (a, b) in enumerate(zip(expected, obtained)):
            compare_values(recorder, (*path, i), a, b)


def is_pair(item: Any) -> bool:
    return isinstance(item, list) and [kind(part) for part in item] == ["string", "float"]


def compare_topk(
    recorder: Recorder, path: Path, expected: Sequence[Any], obtained: Sequence[Any]
) -> None:
    """[token, p] pairs: probabilities by position, tokens with regard to ties."""
    length = min(len(expected), len(obtained))
    tokens, others = (
        [pair[0] for pair in expected[:length]],
        [pair[0] for pair in obtained[:length]],
    )
    probabilities = [float(pair[1]) for pair in expected[:length]]
    faults = topk_faults(recorder, tokens, probabilities, others)
    for i, (a, b) in enumerate(zip(expected, obtained)):
        row, name = dotted((*path, i)), column_name((*path, i))
        recorder.tally(row, f"{name}.token", same=a[0] == b[0])
        if i in faults:
            recorder.mismatch(
                row, "token", a[0], b[0], "top-k order" if b[0] in tokens else "top-k token"
            )
        recorder.value(row, "p", a[1].text, b[1].text, columns.PROBABILITY, f"{name}.p")
