"""What a run asks of its stages, and what of it stands in the manifest and the log."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lenses_min import RunOptions, pipeline
from lenses_min.core.tokens import Tokens
from lenses_min.core.types import Bos
from lenses_min.model import verify
from lenses_min.model.determinism import settings
from lenses_min.model.load import LoadedModel
from lenses_min.pipeline import segmented
from lenses_min.pipeline.analysis import Analysis, prepare
from lenses_min.pipeline.segmented import Share
from lenses_min.prompts.suite import Prompt, built_in, suite_of
from tests.terminal import Terminal
from tests.tiny_tokenizers import tokenizer

PROMPTS = '{"passes": [{"id": "a", "context": "The capital", "answer": "Rome"}]}'


class Saved:
    """A finished run that writes nothing."""

    def save(self, folder: Path) -> list[Path]:
        return [folder / "written"]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The stages of a run, with what they were given; none does anything."""
    given: list[tuple[Any, ...]] = []

    def stage(name: str) -> Any:
        @contextmanager
        def enter(value: object) -> Iterator[None]:
            given.append((name, value))
            yield

        return enter

    def load(options: RunOptions, *prompt: str) -> str:
        given.append(("load", options, *prompt))
        return "model"

    monkeypatch.setattr(pipeline, "deterministic", stage("threads"))
    monkeypatch.setattr(pipeline, "stage", stage("stage"))
    monkeypatch.setattr(pipeline, "load", load)
    monkeypatch.setattr(pipeline, "prepare", lambda *values: values[:3])
    monkeypatch.setattr(verify, "first_prompt", lambda model: {"of": model})
    return given


def test_a_run_loads_its_model_with_its_own_first_prompt_and_threads(
    stages: list[tuple[Any, ...]],
) -> None:
    options = RunOptions("org/m", prompts=PROMPTS, threads=3)
    with pipeline.begun(options) as begun:
        given: Any = begun
        assert given == ("model", suite_of(PROMPTS), options)
    assert stages == [
        ("threads", 3),
        ("stage", "loading org/m"),
        ("load", options, "The capital"),
    ]


def test_a_self_test_runs_with_the_threads_of_its_options(stages: list[tuple[Any, ...]]) -> None:
    options = RunOptions("org/m", threads=3)
    assert pipeline.self_test(options) == {"of": "model"}
    assert stages == [("threads", 3), ("load", options)]


@pytest.mark.parametrize(
    ("passes", "parts"), [(1, 1), (segmented.PASSES, 1), (segmented.PASSES + 1, 2)]
)
def test_a_suite_of_more_than_one_segment_is_written_in_segments(
    passes: int,
    parts: int,
    stages: list[tuple[Any, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suite = replace(built_in(), passes=built_in().passes[:1] * passes)
    options, finished = RunOptions("m", prompts=PROMPTS), Saved()
    nothing: Any = None
    analysis = Analysis(nothing, suite, options, 0.0, nothing, {}, [])
    monkeypatch.setattr(pipeline, "prepare", lambda *values: analysis)
    monkeypatch.setattr(pipeline, "whole", lambda of: finished)
    monkeypatch.setattr(segmented, "write", lambda of, folder: (of, [folder / "parts"]))
    written: Any = pipeline.write(options, tmp_path)
    if parts == 1:
        assert written == (finished, [tmp_path / "written"])
    else:
        assert written == (analysis, [tmp_path / "parts"])


def test_a_share_of_a_run_is_written_by_the_model_of_the_run(
    stages: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[Any] = []
    monkeypatch.setattr(segmented, "write_share", lambda *values: shares.append(values))
    options, share = RunOptions("m", prompts=PROMPTS), Share(1, 3)
    pipeline.write_share(options, tmp_path, share)
    assert shares == [(("model", suite_of(PROMPTS), options), tmp_path, share)]


def test_a_run_counts_its_passes_and_its_manifest_tells_bos_placement_and_determinism(
    fact_model: LoadedModel, fact_options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", drawn := Terminal())
    model = replace(fact_model, placement=replace(fact_model.placement, notes=("a note",)))
    options = replace(fact_options, table_format="parquet")
    run = pipeline.analyse(model, built_in(), options, 0.0)
    assert "| 0/3 [" in drawn.getvalue()
    assert run.table_format == "parquet"
    bos = fact_model.tokens.bos
    expected = {
        "bos": {"ids": list(bos.ids), "rule": bos.rule},
        "placement": ["a note"],
        "determinism": settings(),
    }
    assert {key: run.manifest[key] for key in expected} == expected
    assert list(run.manifest["milestone_margins"]) == ["norm"]


@pytest.mark.parametrize(("contract", "count"), [("reference", 1), ("corrected", 0)])
def test_a_defect_of_the_reference_is_a_warning_of_its_contract_alone(
    contract: str, count: int, fact_model: LoadedModel, fact_options: RunOptions
) -> None:
    model = replace(fact_model, facts=replace(fact_model.facts, first_norm="LayerNorm"))
    analysis = prepare(model, built_in(), replace(fact_options, contract=contract), 0.0)
    assert len(analysis.model_warnings) == count


@pytest.mark.parametrize("prompts", ["", PROMPTS])
def test_a_note_on_an_answer_is_logged_and_returned_for_own_prompts(
    prompts: str,
    fact_model: LoadedModel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokens = Tokens(tokenizer(), Bos((), "none"))
    encoded = tokens.encode_all([Prompt("a", "orig", "The capital", "nobody")], 99, True)
    nothing: Any = None
    model, options = replace(fact_model, tokens=tokens), RunOptions("m", prompts=prompts)
    analysis = Analysis(model, built_in(), options, 0.0, nothing, {}, [])
    lines = analysis.prompt_warnings(encoded)
    assert lines == caplog.messages
    note = "unresolved: the tokenizer has no token for all of the answer, only an unknown one"
    assert (lines == [f"a/orig ('nobody'): {note}"]) == bool(prompts)
    assert lines
