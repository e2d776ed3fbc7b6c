"""Which tables a run has, in which order, and with which columns they are saved again."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lenses_min as lm
from lenses_min.output.run import Run, block

FACT = Path(__file__).parents[2] / "golden" / "outputs" / "fact"
RECORDS, PURE = "output-Fact-records", "output-Fact-pure-next-token"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with a lens of one's own, whose records have a further column, and with other tables."""
    folder = shutil.copytree(FACT, tmp_path / "run")
    header, *rows = (folder / f"{RECORDS}.csv").read_text(encoding="utf-8").splitlines()
    mine = [f"{header},more", *(f"{row},{i}" for i, row in enumerate(rows[:3]))]
    (folder / f"{RECORDS}-a.csv").write_text("\n".join(mine) + "\n", encoding="utf-8")
    for lens in ("a", "final"):
        shutil.copy(folder / f"{PURE}.csv", folder / f"{PURE}-{lens}.csv")
    (folder / "output-Fact-notes.csv").write_text("b\n1\n", encoding="utf-8")
    return folder


def test_tables_come_by_lens_and_those_of_no_contract_last(folder: Path) -> None:
    assert list(lm.load(folder).tables) == [
        ("pure", "norm"),
        ("records", "norm"),
        ("pure", "final"),
        ("pure", "a"),
        ("records", "a"),
        ("notes", "norm"),
    ]


@pytest.mark.parametrize("table_format", ["csv", "parquet"])
def test_a_changed_table_keeps_the_columns_of_its_own_file(
    table_format: str, folder: Path, tmp_path: Path
) -> None:
    run = lm.load(folder)
    tables = {**run.tables, ("records", "a"): run.records("a")[:2]}
    replace(run, tables=tables, table_format=table_format).save(tmp_path / "again")
    read = lm.load(tmp_path / "again")
    assert read.table_format == table_format
    assert read.columns("records", "a") == [*run.columns("records"), "more"]
    assert [row.further for row in read.records("a")] == [{"more": 0}, {"more": 1}]
    assert read.columns("records") == run.columns("records")


def test_a_table_that_is_no_lens_s_is_the_same_under_every_lens() -> None:
    rows = [{"layer": 1}]
    run = Run("x", {("pure", "norm"): [], ("pure", "raw"): [], ("milestones", "norm"): rows}, {})
    assert run.rows("milestones") == run.rows("milestones", "raw") == rows
    assert run.columns("milestones", "raw") == ["layer"]


@pytest.mark.parametrize(
    ("document", "content"),
    [
        ({"a": {"b": {"c": 1}}}, {"c": 1}),
        ({"a": {"b": 5}}, {}),
        ({"a": 5}, {}),
        ({"a": [{"b": {"c": 1}}]}, {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_an_object_inside_a_document_is_empty_where_there_is_none(
    document: Any, content: dict[str, Any]
) -> None:
    assert block(document, "a", "b") == content
