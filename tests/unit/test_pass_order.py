"""Which prompts share a forward of a run, in which order, and what is refused before any runs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from stub_passes import encoded

from lenses_min import LensError, RunOptions
from lenses_min.core.types import Encoded
from lenses_min.model.load import LoadedModel
from lenses_min.pipeline.passes import PassRunner
from lenses_min.prompts.suite import Prompt, Suite, built_in


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The ids of the prompts of each forward; a result is its prompt's id."""
    made: list[list[str]] = []

    def run_batch(self: PassRunner, batch: Sequence[Encoded]) -> list[Any]:
        made.append([of.prompt.id for of in batch])
        return made[-1]

    monkeypatch.setattr(PassRunner, "run_batch", run_batch)
    return made


@pytest.mark.parametrize(
    ("alone_above", "expected"),
    [(None, [["2", "0"], ["1", "3"]]), (3, [["0"], ["1"], ["3"], ["2"]])],
)
def test_prompts_with_their_answers_are_batched_by_length_and_the_first_runs_first(
    alone_above: int | None,
    expected: list[list[str]],
    batches: list[list[str]],
    fact_model: LoadedModel,
) -> None:
    """Tokens read: 6, 2, 2 and 3 of the answer, 4."""
    facts = replace(fact_model.facts, alone_above=alone_above)
    options = RunOptions("m", batch_size=2)
    runner = PassRunner(replace(fact_model, facts=facts), [], built_in(), options)
    prompts = [
        replace(
            encoded(Prompt(str(i), "orig", "", "x"), 1),
            token_ids=(5,) * size,
            answer_prefix_ids=(5,) * more,
        )
        for i, (size, more) in enumerate([(6, 0), (2, 0), (2, 3), (4, 0)])
    ]
    advanced: list[int] = []
    results: list[Any] = runner.run_some(prompts, advanced.append)
    assert results == ["0", "1", "2", "3"]
    assert batches == expected
    assert advanced == [len(batch) for batch in expected]


def test_a_run_tells_how_many_passes_are_done(
    batches: list[list[str]], fact_model: LoadedModel
) -> None:
    advanced: list[int] = []
    PassRunner(fact_model, [], built_in(), RunOptions("m")).run(advanced.append)
    assert advanced == [3]


def test_a_test_prompt_that_is_too_long_is_refused_before_any_pass_runs(
    batches: list[list[str]], fact_model: LoadedModel
) -> None:
    suite = Suite(built_in().passes, ("the " * 5000,), frozenset())
    with pytest.raises(LensError, match=r"^test prompt 'the the .*' has \d+ tokens, the model"):
        PassRunner(fact_model, [], suite, RunOptions("m")).run()
    assert batches == []


@pytest.mark.parametrize("prompts", ["", "own.yaml"])
def test_the_model_reads_the_answers_of_own_prompts_alone(
    prompts: str, fact_model: LoadedModel
) -> None:
    """All tokens of an answer but the last."""
    runner = PassRunner(fact_model, [], built_in(), RunOptions("m", prompts=prompts))
    (of,) = runner.encode([Prompt("a", "orig", "The capital is", "called simply Paris")])
    assert len(of.gold.answer_ids) == 3
    assert of.answer_prefix_ids == (of.gold.answer_ids[:2] if prompts else ())
