"""A battery of prompts: its table, its control, the facts that are shipped."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stub_passes import encoded, result

import lenses_min as lm
from lenses_min import RunOptions, pipeline
from lenses_min.core.types import PassResult
from lenses_min.output.battery.control import LEAST, control_answers, derangement, is_battery
from lenses_min.output.battery.table import settings
from lenses_min.output.run import Run
from lenses_min.prompts.suite import Prompt, read_suite

TAGS = {"language": "en"}
PASSES: list[dict[str, Any]] = [
    {
        "id": "be",
        "context": "The capital of Germany is called simply",
        "answer": "Berlin",
        "tags": TAGS,
    },
    {
        "id": "pa",
        "context": "The capital of France is called simply",
        "answer": "Paris",
        "tags": TAGS,
    },
    {"id": "pa", "variant": "b", "context": "The capital of France is", "answer": "Paris"},
    {"id": "none", "context": "The capital of France is", "answer": "zzz"},
]


def suite(folder: Path, passes: list[dict[str, Any]]) -> str:
    path = folder / "battery.json"
    path.write_text(json.dumps({"passes": passes}), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> str:
    return suite(tmp_path_factory.mktemp("battery"), PASSES)


@pytest.fixture(scope="module")
def battery(fact_options: RunOptions, tagged: str) -> Run:
    return pipeline.run(replace(fact_options, prompts=tagged, lenses=("final",)))


def rows(run: Run, **cells: Any) -> list[Any]:
    return [
        row
        for row in run.rows("battery")
        if all(getattr(row, name) == value for name, value in cells.items())
    ]


def test_the_control_is_each_pass_at_the_answer_of_another(
    battery: Run, fact_options: RunOptions, tmp_path: Path
) -> None:
    """In a group of two answers each pass gets the other one: the same as a run whose answers are swapped."""
    swapped = [
        {**PASSES[0], "answer": "Paris"},
        {**PASSES[1], "answer": "Berlin"},
        {**PASSES[2], "answer": "Berlin", "tags": {}},
    ]
    other = pipeline.run(replace(fact_options, prompts=suite(tmp_path, swapped), lenses=("final",)))
    for lens in ("norm", "final"):
        for quantity in ("answer_rank", "p_answer", "is_answer", "L_semantic", "first_rank_le_5"):
            cells = {"lens": lens, "group": "language=en", "quantity": quantity}
            control, own = (
                rows(battery, answer="control", **cells),
                rows(other, answer="own", **cells),
            )
            assert [r.value or 0 for r in control] == pytest.approx(
                [r.value or 0 for r in own], rel=1e-4
            )
            assert len(control) == len(own) > 0


def test_without_an_answer_s_id_a_pass_counts_where_no_answer_matters(battery: Run) -> None:
    (entropy,) = rows(
        battery, lens="norm", group="all", layer=0, quantity="entropy", estimate="mean"
    )
    (p,) = rows(
        battery,
        lens="norm",
        group="all",
        layer=0,
        quantity="p_answer",
        estimate="mean",
        answer="own",
    )
    assert [(row.n, row.n_prompts) for row in (entropy, p)] == [(4, 3), (3, 2)]


def test_the_own_numbers_are_those_of_a_run_without_control(
    battery: Run,
    sweep: Callable[[RunOptions], list[PassResult]],
    fact_options: RunOptions,
    tmp_path: Path,
) -> None:
    plain = [{key: entry[key] for key in entry if key != "tags"} for entry in PASSES]
    other = pipeline.run(replace(fact_options, prompts=suite(tmp_path, plain), lenses=("final",)))
    assert ("battery", "norm") not in other.tables, "no tags, and fewer than 30 passes"
    assert "battery" not in other.manifest
    assert other.pure("final") == battery.pure("final")
    assert other.rows("answers") == battery.rows("answers")


def test_it_is_written_read_back_and_tells_how_it_was_made(battery: Run, tmp_path: Path) -> None:
    files = {path.name for path in battery.save(tmp_path)}
    assert "output-Fact-battery.csv" in files
    again = lm.load(tmp_path)
    assert again.rows("battery") == battery.rows("battery")
    assert again.manifest["battery"]["resamples"] == 1000
    assert len(again.frame("battery")) == len(battery.rows("battery"))


def test_no_answer_stands_where_it_stood() -> None:
    for seed in range(50):
        answers = np.random.default_rng(seed).integers(0, 6, 30).tolist()
        shuffled = derangement(answers, seed)
        if max(Counter(answers).values()) <= 15:
            assert Counter(shuffled) == Counter(answers)
        assert all(a != b for a, b in zip(answers, shuffled, strict=True))
    assert derangement([7, 7, 7, 8], 0).count(None) == 2, (
        "two of them can swap, two meet themselves"
    )
    assert derangement([7, 7], 0) == [None, None]
    assert derangement([], 0) == []


def test_distinct_answers_take_the_next_one_in_an_order_drawn_by_the_seed() -> None:
    """The same whenever it is drawn again."""
    for seed in range(5):
        order = np.random.default_rng(seed).permutation([5, 6, 7, 8]).tolist()
        after = dict(zip(order, [*order[1:], order[0]], strict=True))
        assert derangement([8, 5, 7, 6], seed) == [after[answer] for answer in (8, 5, 7, 6)]


def test_a_battery_has_tags_or_thirty_passes() -> None:
    cases = [(1, True), (29, False), (30, False), (31, True)]
    assert [is_battery([""] * n, tagged) for n, tagged in cases] == [True, False, True, True]


def test_the_control_answers_of_tagged_passes() -> None:
    """A pass whose answer has no id has no control, nor has one that is alone in its group."""
    tags = {"a": (("language", "en"),), "b": (("language", "de"),), "c": (), "d": ()}
    ids: dict[str, tuple[int, ...]] = {"a": (7,), "b": (8,), "c": (), "d": ()}
    passes = [encoded(Prompt(name, "orig", "", "x", tags=tags[name]), *ids[name]) for name in tags]
    assert control_answers(passes) == {"a/orig": {"all": 8}, "b/orig": {"all": 7}}
    assert control_answers(passes[2:]) == {}
    plain = [encoded(Prompt(name, "orig", "", "x"), *ids[name]) for name in "ab"]
    assert control_answers(plain) == {}


def test_the_statistics_of_a_battery_are_a_table_and_how_it_was_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statistics = import_module("lenses_min.pipeline.statistics")
    monkeypatch.setattr(statistics, "battery_rows", lambda numbers: [("row", numbers)])
    controls: Any = SimpleNamespace(numbers=lambda passes: [p.encoded.prompt.id for p in passes])
    tags = (("language", "en"),)
    tagged, plain = (
        [result(encoded(Prompt(name, "orig", "", "x", tags=of)), {}) for name in "ab"]
        for of in (tags, ())
    )
    assert statistics.statistics(tagged, controls) == (
        {("battery", "norm"): [("row", ["a", "b"])]},
        {"battery": settings()},
    )
    assert statistics.statistics(plain, controls) == ({}, {})


def test_the_shipped_facts() -> None:
    facts = read_suite(Path("facts"))
    items = {p.id for p in facts.passes}
    assert len(items) >= 60 > LEAST
    assert {(p.id, p.variant) for p in facts.passes} == {
        (i, v) for i in items for v in ("en", "de")
    }
    for p in facts.passes:
        assert dict(p.tags) == {"language": p.variant, "relation": p.id.split("-")[0]}
        assert p.answer.isalpha()
