"""The manifest and the error report: what a reader finds in them."""

import datetime
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import lenses_min as lm
from lenses_min import RunOptions
from lenses_min.model.load import LoadedModel
from lenses_min.output import manifest
from lenses_min.output.decisions import Thresholds
from lenses_min.output.digest import digest
from lenses_min.output.firmness import firmness
from lenses_min.output.run import Run

FACT = Path(__file__).parents[2] / "golden" / "outputs" / "fact"


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
        "milestone_margins",
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


@pytest.mark.parametrize("name", ["fact_run", "own_run"])
def test_how_firm_milestones_are_is_the_same_of_a_run_and_of_its_files(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Also of its tables and document alone, as those of run.py are."""
    run: Run = request.getfixturevalue(name)
    run.save(tmp_path)
    read = lm.load(tmp_path)
    written = read.manifest["milestone_margins"]
    assert {lens: list(passes) for lens, passes in written.items()} == {
        lens: list(run.passes(lens)) for lens in run.lenses
    }
    for one in (run, read, replace(read, manifest={})):
        assert written == {
            lens: {
                name: {key: asdict(firm) for key, firm in one.firmness_of(lens, name).items()}
                for name in passes
            }
            for lens, passes in written.items()
        }
        assert one.firmness == one.firmness_of("norm", next(iter(one.passes())))
    assert {firm.within_rounding for firm in read.firmness.values()} == {False}


@pytest.mark.parametrize(
    ("manifest", "document", "expected"),
    [
        ({}, {}, Thresholds(0.95, 0.1, "")),
        ({}, {"copy_thresh": "x", "use_fp32_unembed": "x"}, Thresholds(0.95, 0.1, "")),
        ({}, {"copy_thresh": 0.5, "use_fp32_unembed": False}, Thresholds(0.5, 0.1, "float32")),
        ({}, {"copy_thresh": 1, "use_fp32_unembed": True}, Thresholds(1.0, 0.1, "bfloat16")),
        (
            {"options": {"copy_margin": 0.3}, "dtype": "float16"},
            {"copy_thresh": 0.5, "use_fp32_unembed": True},
            Thresholds(0.5, 0.3, "float16"),
        ),
    ],
)
def test_what_a_run_decided_by(
    manifest: dict[str, Any], document: dict[str, Any], expected: Thresholds
) -> None:
    run = Run("x", {}, {"diagnostics": document}, manifest)
    assert run.thresholds == expected


def test_a_margin_has_the_unit_of_its_number() -> None:
    """Of L_semantic bits, where the probability of the answer is known, else ranks."""
    rows = lm.load(FACT).passes()["pos/orig"]
    for of_pass, unit in ((rows, "bits"), ([replace(r, p_answer=None) for r in rows], "ranks")):
        firm = firmness(of_pass, "", Thresholds(0.95, 0.1, "float32"))
        assert {name: one.unit for name, one in firm.items()} == {
            "L_copy": "probability",
            "L_copy_H": "bits",
            "L_semantic": unit,
            "delta_layers": "layers",
            "first_kl_below_0.5": "bits",
            "first_kl_below_1.0": "bits",
            "first_rank_le_1": "ranks",
            "first_rank_le_5": "ranks",
            "first_rank_le_10": "ranks",
        }


def test_margins_are_of_the_prompts_of_their_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is empty where the document does not have it, as of the pass without the filler word."""
    texts: list[str] = []

    def of_text(rows: Any, text: str, thresholds: Any) -> dict[str, Any]:
        texts.append(text)
        return {}

    monkeypatch.setattr(manifest, "firmness", of_text)
    assert manifest.margins(lm.load(FACT)) == {
        "norm": {"pos/orig": {}, "pos/no_filler": {}, "ctl/orig": {}}
    }
    text = "Give the city name only, plain text. The capital of {} is called simply"
    assert texts == [text.format("Germany"), "", text.format("France")]


def test_elapsed_seconds_are_written_to_the_millisecond(
    sweep: Callable[[RunOptions], list[Any]],
    fact_options: RunOptions,
    fact_model: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 107.65432)
    checks: dict[str, Any] = {"last_layer_proof": {}, "warnings": []}
    passes = digest(fact_model.facts, fact_options, sweep(fact_options))
    content = manifest.manifest(fact_model.facts, fact_options, passes, {}, checks, 100.0)
    assert content["elapsed_s"] == 7.654


def test_an_error_report_names_model_options_and_error(fact_options: RunOptions) -> None:
    content = manifest.error_report(fact_options, ValueError("no"))
    assert list(content) == ["model", "options", "error_type", "message", "time"]
    assert (content["model"], content["error_type"], content["message"]) == (
        "tiny/Fact",
        "ValueError",
        "no",
    )


def test_times_are_in_utc_to_the_second() -> None:
    read = datetime.datetime.fromisoformat(manifest.now())
    assert read.utcoffset() == datetime.timedelta(0)
    assert read.microsecond == 0
