"""Comparison of documents: keys, types, leaves, layout, and the fields never demanded."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from changing import captured, only, with_leaf

from spec.compare.diff_columns import Note, ValueRecorder
from spec.compare.documents import compare_documents, compare_values
from spec.compare.recorder import Recorder
from spec.compare.runs import compare
from spec.compare.tolerance import BF16, BF16_WIDE, FP32, Tolerance
from spec.runs import json_text


def test_missing_extra_and_reordered_keys_are_named() -> None:
    run = captured("fact")

    def differences(change: Any) -> list[tuple[str, str, str]]:
        document = copy.deepcopy(dict(run.document or {}))
        document["model_stats"] = change(document["model_stats"])
        text = json_text.layout(document)
        other = replace(run, document=document, document_text=text)
        return [
            (m.place.row_text, m.place.column_text, m.kind)
            for m in compare(run, other, FP32).mismatches
        ]

    assert differences(lambda d: {k: v for k, v in d.items() if k != "n_ctx"}) == [
        ("model_stats", "n_ctx", "missing key")
    ]
    assert differences(lambda d: {**d, "d_head": 1}) == [("model_stats", "d_head", "extra key")]
    assert differences(lambda d: dict(sorted(d.items()))) == [("model_stats", "type", "key order")]
    assert differences(lambda d: {**d, "n_heads": 4.0}) == [("", "model_stats.n_heads", "type")]
    (mismatch,) = compare(run, with_leaf(run, ("model_stats", "n_heads"), "2"), FP32).mismatches
    heads = (run.document or {})["model_stats"]["n_heads"]
    assert (mismatch.expected, mismatch.obtained) == (f"{heads} (int)", "2 (string)")
    assert differences(lambda d: {**d, "type": ["model_stats"]}) == [
        ("", "model_stats.type", "type")
    ]


def test_json_layout_and_number_text_are_compared() -> None:
    run = captured("fact")
    tight = replace(run, document_text=run.document_text.replace("  ", " "))
    assert only(compare(run, tight, FP32))[2:] == ("layout", "format")
    wide = replace(run, document_text=run.document_text.replace("  ", "   "))
    for sides, texts in (
        ((run, tight), ("indent 2, UTF-8, no final newline", "another layout")),
        ((wide, tight), ("another layout", "another layout")),
    ):
        (mismatch,) = compare(*sides, FP32).mismatches
        assert (mismatch.expected, mismatch.obtained) == texts
    text = run.document_text.replace('"copy_thresh": 0.95', '"copy_thresh": 9.5e-1')
    other = replace(run, document=json_text.parse(text), document_text=text)
    assert only(compare(run, other, FP32))[2:] == ("diagnostics.copy_thresh", "format")


def test_json_lists_of_another_length_are_reported() -> None:
    run = captured("fact")
    prompts = (run.document or {})["test_prompts"]
    assert only(compare(run, with_leaf(run, ("test_prompts",), prompts[:-1]), FP32))[2:] == (
        "test_prompts",
        "list length",
    )
    shorter = with_leaf(
        run, ("final_prediction", "topk"), (run.document or {})["final_prediction"]["topk"][:19]
    )
    assert only(compare(run, shorter, FP32))[2:] == ("final_prediction.topk", "list length")


def test_a_long_string_is_compared_to_its_end() -> None:
    run = captured("fact")
    prompt = (run.document or {})["test_prompts"][11]["prompt"]
    assert len(prompt) == 80
    other = with_leaf(run, ("test_prompts", 11, "prompt"), f"{prompt}x")
    assert only(compare(run, other, FP32))[1:] == ("test_prompts[11]", "prompt", "value")


def test_fields_never_demanded_may_differ() -> None:
    run = captured("rms-rope")
    other = with_leaf(run, ("diagnostics", "prism_summary", "artifact_path"), "/somewhere/else")
    other = with_leaf(
        other,
        ("diagnostics", "prism_summary", "error"),
        "Missing prism artifacts in /somewhere/else",
    )
    assert compare(run, with_leaf(other, ("model_stats", "n_ctx"), 2048), FP32).matches


def test_the_sentence_around_the_path_is_demanded() -> None:
    run = captured("rms-rope")
    other = with_leaf(
        run, ("diagnostics", "prism_summary", "error"), "No artifacts in /somewhere/else"
    )
    assert only(compare(run, other, FP32))[2:] == ("diagnostics.prism_summary.error", "value")


Line = tuple[str, str, str, str]


def recorded(expected: str, obtained: str, tolerance: Tolerance = FP32) -> ValueRecorder:
    """What is recorded of the texts of two documents."""
    recorder = ValueRecorder("x.json", tolerance)
    documents = json_text.parse(expected), json_text.parse(obtained)
    compare_documents(recorder, *documents, (expected, obtained))
    return recorder


def lines(recorder: Recorder) -> list[Line]:
    return [(str(m.place), m.expected, m.obtained, m.kind) for m in recorder.mismatches]


def of_values(expected: Any, obtained: Any, tolerance: Tolerance = FP32) -> ValueRecorder:
    return recorded(json_text.layout(expected), json_text.layout(obtained), tolerance)


def test_the_layout_is_recorded_beside_a_value_and_not_beside_a_format() -> None:
    usual = '{\n  "x": 0.5\n}'
    assert lines(recorded(usual, '{"x": 1.5}')) == [
        ("x.json, x", "0.5", "1.5", "value"),
        ("x.json, layout", "indent 2, UTF-8, no final newline", "another layout", "format"),
    ]
    assert lines(recorded(usual, '{\n  "x": 5e-1\n}')) == [("x.json, x", "0.5", "5e-1", "format")]
    assert lines(recorded('{"x": 0.5}', '{"x": 1.5}')) == [("x.json, x", "0.5", "1.5", "value")]


def test_every_value_is_recorded_and_counted() -> None:
    expected = {"a": 1, "b": "x", "c": [1.5, 2.5], "topk": [["s", 0.5], ["t", 0.25], ["u", 0.125]]}
    obtained = {"a": 1.0, "b": "y", "c": [1.5, 3.5], "topk": [["t", 0.5], ["s", 0.5]]}
    recorder = of_values(expected, obtained)
    assert lines(recorder) == [
        ("x.json, a", "1 (int)", "1.0 (float)", "type"),
        ("x.json, b", "x", "y", "value"),
        ("x.json, c[1]", "2.5", "3.5", "value"),
        ("x.json, topk", "3 items", "2 items", "list length"),
        ("x.json, topk[0], token", "s", "t", "top-k order"),
        ("x.json, topk[1], token", "t", "s", "top-k order"),
        ("x.json, topk[1], p", "0.25", "0.5", "value"),
    ]
    assert [(s.column, s.compared, s.differing) for s in recorder.statistics] == [
        ("key order", 1, 0),
        ("a", 1, 1),
        ("b", 1, 1),
        ("c[]", 2, 1),
        ("topk[].token", 2, 2),
        ("topk[].p", 2, 1),
    ]


@pytest.mark.parametrize(
    ("name", "expected", "obtained", "place"),
    [
        ("pairs", [["s", 0.5]], [["t", 0.5]], "pairs[0][0]"),
        ("topk", ["s", "t"], ["s", "u"], "topk[1]"),
        ("topk", [["s", "t"]], [["s", "u"]], "topk[0][1]"),
        ("topk", [["s", 0.5, 1]], [["s", 0.5, 2]], "topk[0][2]"),
    ],
)
def test_a_list_of_other_items_than_pairs_or_of_another_name_is_compared_by_place(
    name: str, expected: list[Any], obtained: list[Any], place: str
) -> None:
    (mismatch,) = of_values({name: expected}, {name: obtained}).mismatches
    assert (str(mismatch.place), mismatch.kind) == (f"x.json, {place}", "value")


def test_a_list_at_the_top_has_values_without_a_name() -> None:
    recorder = Recorder("x.json", FP32)
    compare_values(recorder, (), *map(json_text.parse_value, ("[1.5, 2]", "[2.5, 3]")))
    assert lines(recorder) == [
        ("x.json, [0]", "1.5", "2.5", "value"),
        ("x.json, [1]", "2", "3", "value"),
    ]


@pytest.mark.parametrize(("tolerance", "kinds"), [(BF16, []), (FP32, ["top-k token"])])
def test_a_token_from_below_a_list_may_tie_with_its_last_one(
    tolerance: Tolerance, kinds: list[str]
) -> None:
    lists = [["s", 0.5], ["t", 0.25]], [["s", 0.5], ["x", 0.25]]
    recorder = of_values({"topk": lists[0]}, {"topk": lists[1]}, tolerance)
    assert [mismatch.kind for mismatch in recorder.mismatches] == kinds


def undemanded(path: str, error: str, context: int) -> dict[str, Any]:
    summary = {"artifact_path": path, "error": error}
    return {"diagnostics": {"prism_summary": summary}, "model_stats": {"n_ctx": context}}


PRISM = ("diagnostics", "prism_summary")


def test_what_is_never_demanded_is_noted_with_both_values() -> None:
    recorder = of_values(undemanded("/a", "none in /a", 1), undemanded("/b", "none in /b", 2))
    assert lines(recorder) == []
    assert recorder.notes == [
        Note("x.json", (*PRISM, "artifact_path"), '"/a"', '"/b"'),
        Note("x.json", (*PRISM, "error"), '"none in /a"', '"none in /b"'),
        Note("x.json", ("model_stats", "n_ctx"), "1", "2"),
    ]


def test_only_the_path_in_the_sentence_of_an_error_is_left_out() -> None:
    recorder = of_values(undemanded("/a", "none in /a", 1), undemanded("/a", "two in /b", 1))
    place = "x.json, diagnostics.prism_summary.error"
    assert lines(recorder) == [(place, "none in PATH", "two in PATH", "value")]
    assert recorder.notes == []
    recorder = of_values({"prompt": "a /b"}, {"prompt": "a /c"})
    assert lines(recorder) == [("x.json, prompt", "a /b", "a /c", "value")]
    assert recorder.notes == []


def test_the_bound_widens_in_an_item_of_the_exploration_that_has_a_temperature() -> None:
    def document(p: float) -> dict[str, Any]:
        cold, without = {"temperature": 0.1, "p_top1": p}, {"p_top1": p}
        return {"temperature_exploration": [cold, without], "test_prompts": [cold]}

    assert lines(of_values(document(0.5), document(0.75), BF16_WIDE)) == [
        ("x.json, temperature_exploration[1], p_top1", "0.5", "0.75", "value"),
        ("x.json, test_prompts[0], p_top1", "0.5", "0.75", "value"),
    ]
