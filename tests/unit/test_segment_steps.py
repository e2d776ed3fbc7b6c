"""What the segments of a run are made of: prompts that are checked, passes that are kept, and what is shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from stub_passes import encoded, result, row

from lenses_min import LensError, RunOptions
from lenses_min.output.run import Run
from lenses_min.output.segments import Segments
from lenses_min.pipeline import segmented
from lenses_min.pipeline.analysis import Analysis
from lenses_min.prompts.suite import Prompt, Suite

NAMES = ("a", "b", "c", "d")
PASSES = tuple(Prompt(name, "orig", f"text {name}", "x") for name in NAMES)
SUITE = Suite(PASSES, ("Berlin is",), frozenset({"is", "was"}))
OPTIONS = RunOptions("org/m", contract="corrected", table_format="parquet")
RESIDUAL = torch.ones(1, 2, 4)


@dataclass(frozen=True)
class Facts:
    fingerprint: str


@dataclass
class Runner:
    """Reads prompts, but for those with a problem, and runs passes that have no numbers."""

    problems: dict[str, str] = field(default_factory=dict)
    read: list[Any] = field(default_factory=list)
    controls: Any = field(default_factory=lambda: SimpleNamespace(numbers=len))

    def encode(self, part: Sequence[Prompt], tests: Sequence[str] = ()) -> Iterator[Any]:
        self.read.append(([prompt.id for prompt in part], tests))
        for prompt in part:
            if prompt.id in self.problems:
                raise LensError(self.problems[prompt.id])
            yield encoded(prompt, 5)

    def run_some(self, prompts: Iterator[Any], update: Any) -> list[Any]:
        """The first has no residuals, and each is counted."""
        made = []
        for i, of in enumerate(prompts):
            rows = {"norm": [row(prompt_id=of.prompt.id)]}
            made.append(result(of, rows, residuals={i: RESIDUAL} if i else {}))
            update(1)
        return made


def analysis(runner: Runner, suite: Suite = SUITE) -> Analysis:
    model: Any = SimpleNamespace(facts=Facts("f"))
    stub: Any = runner
    return Analysis(model, suite, OPTIONS, 0.0, stub, {}, [])


def test_test_prompts_are_read_once_and_every_problem_is_named_once() -> None:
    runner = Runner({"b": "too long", "c": "too odd", "d": "too long"})
    read = segmented.checked(analysis(runner), [(prompt,) for prompt in PASSES])
    assert next(read).prompt.id == "a"
    with pytest.raises(LensError) as refused:
        list(read)
    assert str(refused.value) == "too long\ntoo odd"
    assert runner.read == [(["a"], ("Berlin is",)), (["b"], ()), (["c"], ()), (["d"], ())]


def test_prompts_without_problems_are_all_read() -> None:
    read = segmented.checked(analysis(Runner()), [PASSES[:3], PASSES[3:]])
    assert [one.prompt for one in read] == list(PASSES)


def test_a_segment_is_a_run_under_the_contract_and_in_the_format_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def digest(facts: Facts, options: RunOptions, passes: Sequence[Any]) -> tuple[Any, ...]:
        return facts, options, len(passes)

    monkeypatch.setattr(segmented, "digest", digest)
    added: list[Any] = []
    counted: list[int] = []
    finished: Any = SimpleNamespace(add=lambda *values: added.append(values))
    progress: Any = SimpleNamespace(update=counted.append)
    segmented.add(analysis(Runner()), PASSES[:3], finished, 7, progress)
    tables = {
        ("records", "norm"): [],
        ("pure", "norm"): [row(prompt_id=name) for name in "abc"],
        ("agreement", "norm"): [],
    }
    segment = Run(
        "m",
        tables,
        {"contract": "corrected"},
        residuals={1: RESIDUAL},
        table_format="parquet",
    )
    assert added == [(7, segment, (Facts("f"), OPTIONS, 3), 3)]
    assert segment.rules.name == "corrected"
    assert counted == [1, 1, 1]


def test_segments_of_other_prompts_or_keywords_have_another_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the order of the keywords, which are a set."""
    monkeypatch.setattr(segmented, "inputs", lambda options: {"model": options.model})
    suites = [
        SUITE,
        replace(SUITE, keywords=frozenset({"was", "is"})),
        replace(SUITE, keywords=frozenset({"is"})),
        replace(SUITE, passes=PASSES[:3]),
        replace(SUITE, passes=(replace(PASSES[0], text="text \ud800"), *PASSES[1:])),
    ]
    keys = [segmented.key(analysis(Runner(), suite)) for suite in suites]
    assert keys[0] == keys[1]
    assert all(one != other for i, one in enumerate(keys[1:]) for other in keys[i + 2 :])


def test_the_run_that_is_shown_has_the_first_segment_and_the_tables_of_all(tmp_path: Path) -> None:
    finished = Segments(tmp_path, "M")
    for number in range(2):
        rows = [row(prompt_id=f"{number}", layer=layer) for layer in range(2)]
        tables = {("pure", lens): rows for lens in ("norm", "raw")}
        finished.place(number).mkdir(parents=True)
        Run("M", tables, {}, table_format="parquet").write_tables(finished.place(number))
    document = {"contract": "corrected", "passes": iter([{"prompt_id": "0"}, {"prompt_id": "1"}])}
    manifest = {
        "options": {"table_format": "parquet"},
        "prompts": [{"prompt_id": "0"}],
        "lenses": {"raw": {"L_copy": 1}},
        "seed": 1,
    }
    of_all: Any = {("battery", "norm"): ["row"]}
    first = [row(prompt_id="0", layer=layer) for layer in range(2)]
    assert segmented.first(finished, of_all, document, manifest) == Run(
        "M",
        {("pure", "norm"): first, ("pure", "raw"): first, **of_all},
        {"contract": "corrected", "passes": [{"prompt_id": "0"}]},
        {**manifest, "prompts": [], "lenses": {}},
        folder=str(tmp_path),
        table_format="parquet",
    )
