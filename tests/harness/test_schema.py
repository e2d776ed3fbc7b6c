"""The schema accepts every capture and refuses each corruption of one, naming rule, row and column."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from corrupting import PURE, cell, csv_path, key
from corruptions_cells import CELLS
from corruptions_document import DOCUMENT
from corruptions_files import FILES
from corruptions_further import FURTHER
from corruptions_rows import ROWS
from syrupy.assertion import SnapshotAssertion

from spec.golden import GOLDEN, load_cases
from spec.runs.places import Place, TableRow
from spec.runs.run import read_run
from spec.schema.rows import DocumentContext, is_float32
from spec.schema.validate import RULES, Rule, Violation, validate

Capture = Callable[[str], Path]
CORRUPTIONS = {**ROWS, **CELLS, **DOCUMENT, **FILES}


@pytest.mark.parametrize("case", load_cases())
def test_every_capture_is_accepted(case: str) -> None:
    assert validate(read_run(GOLDEN / "outputs" / case)) == []


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_refused_and_located(
    name: str, capture: Capture, snapshot: SnapshotAssertion
) -> None:
    case, change, rule, file, row, column = CORRUPTIONS[name]
    folder = capture(case)
    change(folder)
    every = validate(read_run(folder, read_run(GOLDEN / "outputs" / case).file_stem))
    assert [f"{v.place}: {v.rule}: {v.value}" for v in every] == snapshot
    violations = [v for v in every if v.rule == rule]
    places = [
        (v.place.row_text, v.place.column_text)
        for v in violations
        if re.search(rf"{re.escape(file)}(\.csv)?$", v.file)
    ]
    assert (row, column) in places, violations
    assert len(places) <= 2, places


def test_every_rule_is_broken_by_some_corruption() -> None:
    assert {rule for _, _, rule, _, _, _ in [*CORRUPTIONS.values(), *FURTHER.values()]} == set(
        RULES
    )


def test_a_bare_and_a_quoted_carriage_return_are_both_read(capture: Capture) -> None:
    folder = capture("fact")
    path = csv_path(folder, PURE)
    text = path.read_text(encoding="utf-8")
    for written in ("\r", '"\r"'):
        with path.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text.replace("country", written, 1))
        run = read_run(folder)
        assert run.tables[PURE].column("top2", 0) == "\r"
        assert validate(run) == []


def test_a_vocabulary_under_twenty_clamps_k(capture: Capture) -> None:
    folder = capture("fact")
    key("model_stats", "d_vocab", value=12)(folder)
    columns = {v.place.column_text for v in validate(read_run(folder)) if v.rule == "topk.count"}
    assert columns == {"top13"}


def test_an_unreadable_document_leaves_the_tables_judged(capture: Capture) -> None:
    folder = capture("fact")
    (folder / "output-Fact.json").write_text("{")
    cell(PURE, 0, "entropy_collapse", "True")(folder)
    rules = [v.rule for v in validate(read_run(folder, "Fact"))]
    assert rules == ["file.readable", "entropy-collapse"]


def test_a_violation_reads_as_a_sentence() -> None:
    place = Place("a.csv", TableRow("pos", "orig", "0", "1"), "entropy")
    sentence = str(Violation(place, Rule.ENTROPY_RANGE, "9.0"))
    assert (
        sentence
        == "a.csv, pos/orig layer 0 pos 1, entropy: entropy.range: entropy lies in [0, log2 V] bits; got 9.0"
    )
    with pytest.raises(ValueError, match="a violation names a rule of RULES, got 'no-such'"):
        Violation(Place("a.csv"), cast("Rule", "no-such"), "")


def test_facts_need_a_token() -> None:
    with pytest.raises(ValueError, match="at least one token, got 0"):
        DocumentContext(vocabulary=0)


def test_float32_origin() -> None:
    assert is_float32(0.10000000149011612)
    assert not is_float32(0.1)
    assert not is_float32(1e300)
