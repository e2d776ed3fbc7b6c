"""Derived tables of one run, kept as files: the terminal's table, and the numbers of every pass."""

import io
from pathlib import Path

import pandas as pd
import pytest
from pytest_regressions.data_regression import DataRegressionFixture
from pytest_regressions.dataframe_regression import DataFrameRegressionFixture
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from lenses_min.output.run import Run
from lenses_min.report import terminal

NUMBERS = [
    "layer",
    "pos",
    "entropy",
    "p_top1",
    "p_top5",
    "p_answer",
    "kl_to_final_bits",
    "answer_rank",
    "cos_to_final",
]


def test_layer_table(fact_run: Run, snapshot: SnapshotAssertion) -> None:
    out = io.StringIO()
    Console(file=out, width=terminal.WIDTH, highlight=False).print(
        terminal.layer_table(fact_run.passes()["pos/orig"])
    )
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == snapshot


def test_milestones(fact_run: Run, data_regression: DataRegressionFixture) -> None:
    layers = dict(fact_run.milestones)
    assert all(isinstance(key, str) for key in layers), "YAML would keep other keys, JSON would not"
    data_regression.check(layers)


def test_numbers_of_every_pass(
    fact_run: Run, dataframe_regression: DataFrameRegressionFixture
) -> None:
    frame = fact_run.frame("pure")[NUMBERS].astype("float64")
    stored = Path(__file__).parent / "test_tables" / "test_numbers_of_every_pass.csv"
    if stored.exists():  # the fixture itself lets a column go that has disappeared
        assert list(pd.read_csv(stored, index_col=0).columns) == NUMBERS
    dataframe_regression.check(frame, default_tolerance={"atol": 2e-6, "rtol": 1e-4})


@pytest.mark.parametrize("tty", [False, True])
def test_a_shown_run(
    fact_run: Run,
    tty: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    snapshot: SnapshotAssertion,
) -> None:
    """Long paths stay whole, brackets in them are no markup, and only the table's head is set off."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for name, value in {
        "COLUMNS": str(terminal.WIDTH),
        "TERM": "xterm-256color",
        "COLORTERM": "",
    }.items():
        monkeypatch.setenv(name, value)
    if tty:
        monkeypatch.setenv("FORCE_COLOR", "1")
    terminal.show([fact_run], [Path("out", "long" * 30 + ".json"), Path("out", "[bold]b.csv")])
    assert capsys.readouterr().out.splitlines() == snapshot


def test_a_narrow_table_is_cut_and_never_wrapped(fact_run: Run) -> None:
    out = io.StringIO()
    rows = fact_run.passes()["pos/orig"]
    Console(file=out, width=50).print(terminal.layer_table(rows))
    assert len(out.getvalue().splitlines()) == len(rows) + 1


def test_numbers_for_people() -> None:
    assert [terminal.number(value) for value in (None, 3, 0.25, -0.00004)] == [
        "-",
        "3",
        "0.2500",
        "0.0000",
    ]


def test_frames_hold_the_rows_of_their_table(fact_run: Run) -> None:
    frame = fact_run.frame("records")
    assert list(frame["layer"]) == [row.layer for row in fact_run.records()]
    assert list(frame["token"]) == [row.token for row in fact_run.records()]
