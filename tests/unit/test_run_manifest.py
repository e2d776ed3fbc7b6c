"""The manifest and the error report: what a reader finds in them."""

import datetime
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from lenses_min import RunOptions
from lenses_min.model.load import LoadedModel
from lenses_min.output import manifest
from lenses_min.output.run import Run


def test_the_manifest_tells_what_was_run(fact_run: Run, fact_model: LoadedModel) -> None:
    content = fact_run.manifest
    run = [
        "options",
        "inputs",
        "versions",
        "seed",
        "bos",
        "placement",
        "determinism",
        "prompts",
        "lenses",
        "last_layer_proof",
        "last_layer_agreement",
        "warnings",
        "finished_at",
        "elapsed_s",
        "peak_memory",
    ]
    assert list(content) == ["model_id", "contract", *asdict(fact_model.facts), *run]
    assert content["contract"] == "reference"
    assert set(content["versions"]) == {
        "lenses-min",
        "python",
        "torch",
        "transformer-lens",
        "transformers",
        "numpy",
    }
    assert [list(prompt) for prompt in content["prompts"]] == [
        ["prompt_id", "prompt_variant", "token_ids"]
    ] * 3
    assert datetime.datetime.fromisoformat(
        content["finished_at"]
    ).utcoffset() == datetime.timedelta(0)


def test_elapsed_seconds_are_told_to_the_millisecond(
    sweep: Callable[[RunOptions], list[Any]],
    fact_options: RunOptions,
    fact_model: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 107.65432)
    checks: dict[str, Any] = {"last_layer_proof": {}, "warnings": []}
    content = manifest.manifest(
        fact_model.facts, fact_options, sweep(fact_options), {}, checks, 100.0
    )
    assert content["elapsed_s"] == 7.654


def test_an_error_report_names_model_options_and_error(fact_options: RunOptions) -> None:
    content = manifest.error_report(fact_options, ValueError("no"))
    assert list(content) == ["model", "options", "error_type", "message", "time"]
    assert (content["model"], content["error_type"], content["message"]) == (
        "tiny/Fact",
        "ValueError",
        "no",
    )
