"""Derived tables of one run, kept as files: the terminal's table, and the numbers of every pass."""

import io
from pathlib import Path

import pandas as pd
from pytest_regressions.data_regression import DataRegressionFixture
from pytest_regressions.dataframe_regression import DataFrameRegressionFixture
from rich.console import Console

from lenses_min import table
from lenses_min.result import Run

NUMBERS = ["layer", "pos", "entropy", "p_top1", "p_top5", "p_answer", "kl_to_final_bits", "answer_rank", "cos_to_final"]


def test_layer_table(fact_run: Run, snapshot) -> None:
    out = io.StringIO()
    Console(file=out, width=table.WIDTH, highlight=False).print(table.layer_table(fact_run.passes[0].pure["norm"]))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == snapshot


def test_milestones(fact_run: Run, data_regression: DataRegressionFixture) -> None:
    found = dict(fact_run.milestones)
    assert all(isinstance(key, str) for key in found), "YAML would keep other keys, JSON would not"
    data_regression.check(found)


def test_numbers_of_every_pass(fact_run: Run, dataframe_regression: DataFrameRegressionFixture) -> None:
    frame = fact_run.frame("pure")[NUMBERS].astype("float64")
    stored = Path(__file__).parent / "test_tables" / "test_numbers_of_every_pass.csv"
    if stored.exists():  # the fixture itself lets a column go that has disappeared
        assert list(pd.read_csv(stored, index_col=0).columns) == NUMBERS
    dataframe_regression.check(frame, default_tolerance={"atol": 2e-6, "rtol": 1e-4})
