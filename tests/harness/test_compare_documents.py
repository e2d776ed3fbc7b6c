"""Comparison of documents: keys, types, leaves, layout, and the fields never demanded."""

import copy
from dataclasses import replace
from typing import Any

from changing import captured, only, with_leaf

from spec.compare.runs import compare
from spec.compare.tolerance import FP32
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
