"""Runs of the reference's other dates: read whole, shown, drawn, and saved again byte for byte."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import published
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from published import shown

import lenses_min as lm
from lenses_min.cli import command_line
from lenses_min.report import curves, figures, heatmap

OUTPUTS = Path(__file__).parents[2] / "golden" / "outputs"
FACT = OUTPUTS / "fact"
PURE = "output-Fact-pure-next-token.csv"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run directory of every date."""
    place = tmp_path_factory.mktemp("published")
    return {date: published.write(place / date, date) for date in published.DATES}


def same(value: Any, cell: str) -> bool:
    """Whether a value of a frame is that of a cell."""
    if value is None or value == "" or (isinstance(value, float) and pd.isna(value)):
        return cell in ("", "nan")
    return str(value) == cell or (not isinstance(value, str) and float(value) == float(cell))


def assert_whole(frame: pd.DataFrame, lines: list[list[str]]) -> None:
    """A frame has the columns of a file in its order, and every cell of it."""
    header, *rows = lines
    assert list(frame.columns) == header
    assert len(frame) == len(rows)
    for column, name in enumerate(header):
        for value, row in zip(frame[name].astype(object), rows, strict=True):
            assert same(value, row[column]), (name, value, row[column])


@pytest.mark.parametrize("date", published.DATES)
def test_every_row_and_column_is_read(date: str, runs: dict[str, Path]) -> None:
    run = lm.load(runs[date])
    assert len(run.frame("pure").columns) == published.COLUMNS[date]
    stem = f"output-{published.NAME}-"
    kinds = {path.stem.removeprefix(stem): path for path in runs[date].glob("*.csv")}
    assert len(run.tables) == len(kinds)
    for table, lens in run.tables:
        kind = "pure-next-token" if table == "pure" else table
        lines = published.read(kinds[kind if lens == "norm" else f"{kind}-{lens}"], date)
        assert_whole(run.frame(table, lens), lines)
        assert len(run.rows(table, lens)) == len(lines) - 1


@pytest.mark.parametrize("date", published.DATES)
def test_a_run_of_any_date_saved_again_is_the_same_bytes(
    date: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    lm.load(runs[date]).save(tmp_path)
    texts = {path.name: path.read_bytes() for path in runs[date].iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == texts


@pytest.mark.parametrize("date", published.DATES)
def test_a_table_named_like_a_lens_is_none(date: str, runs: dict[str, Path]) -> None:
    run = lm.load(runs[date])
    lenses = ["norm", *(["prism"] if date >= "2025-09-23" else [])]
    assert run.lenses == lenses + (["tuned"] if date >= "2025-09-28" else [])
    further = {table for table, _ in run.tables} - {"records", "pure"}
    assert further == (
        ({"pure-next-token-rawlens", "pure-next-token-rawlens-window"} if date >= "2025-10" else set())
        | (set(published.AUDITS) if date >= "2025-10-13" else set())
    )  # fmt: skip
    drawn = {lens for one in figures.curves([run])["curves"] for lens in one["show"]["lens"]}
    assert drawn == {*run.lenses, curves.ALL}


@pytest.mark.parametrize("date", published.DATES)
@pytest.mark.parametrize("command", ["show", "report"])
def test_a_run_of_any_date_is_shown_and_drawn(
    command: str,
    date: str,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["-o", str(tmp_path / "r.html")] if command == "report" else []
    assert command_line.main([command, str(runs[date]), *out]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "NaN" not in (tmp_path / "r.html").read_text().split('id="figures"')[1] if out else True
    assert out or "L_semantic = 4" in printed.out


def test_runs_of_all_dates_side_by_side(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = list(map(str, runs.values()))
    assert command_line.main(["show", *folders]) == 0
    assert capsys.readouterr().out.count("semantic") == 1
    assert command_line.main(["report", *folders, "-o", str(tmp_path / "r.html")]) == 0


def test_what_older_runs_lack_is_absent(runs: dict[str, Path]) -> None:
    run = lm.load(runs["2025-06-29"])
    for row in run.pure():
        lacking = (row.prompt_id, row.prompt_variant, row.fact_key, row.fact_index)
        assert (*lacking, *(getattr(row, name) for name in published.METRICS)) == (None,) * 11
        assert isinstance(row.is_answer, bool)
    assert list(run.passes()) == ["pos/orig"] == list(run.prompts)
    assert run.records()[0].top[1][0] == "\\CMS"
    assert run.milestones["L_semantic"] == 4
    assert run.milestones["first_kl_below_1.0"] is None


def test_the_metrics_came_one_by_one(tmp_path: Path) -> None:
    """Summer 2025: any number of the contract's columns behind the flags."""
    lines = published.read(FACT / PURE, "2025-08-30")
    for missing in range(1, len(published.METRICS)):
        folder = published.write(tmp_path / str(missing), "2025-08-24", "Fact")
        (folder / PURE).write_text(
            published.text_of([line[2:-missing] for line in lines], "2025-08-24"), encoding="utf-8"
        )
        run = lm.load(folder)
        assert_whole(run.frame("pure"), [line[2:-missing] for line in lines])
        assert run.pure()[0].p_top1 == float(lines[1][-len(published.METRICS)])
        assert run.pure()[0].control_margin is None
        shown(run)


def test_passes_of_several_facts_are_kept_apart(runs: dict[str, Path]) -> None:
    run = lm.load(runs["2025-10-13"])
    of_fact = [f"{fact}/pos/{v}" for fact in published.FACTS for v in ("orig", "no_filler")]
    for lens, layers in (("norm", 7), ("prism", 7), ("tuned", 6)):
        assert list(run.passes(lens)) == [*of_fact, "ctl/orig"]
        assert {len(rows) for rows in run.passes(lens).values()} == {layers}
    assert (run.pure()[14].fact_key, run.pure()[14].fact_index) == ("France→Paris", 1)
    assert list(run.prompts) == ["Germany→Berlin/pos/orig", "ctl/orig"]
    assert "… and 6 more passes" in shown(run)
    parts = heatmap.heatmap(run, ["norm"])["parts"]
    names = {name for part in parts for name in part["show"]["prompt"]}
    assert names == {*(f"{fact}/pos/orig" for fact in published.FACTS), "ctl/orig"}


def test_the_raw_check_of_several_facts_never_turns_back(runs: dict[str, Path]) -> None:
    """The samples of all facts stand in one list: each begins a curve of its own."""
    drawn = list(figures.sampled([lm.load(runs["2025-10-13"])]))
    assert drawn
    for curve in drawn:
        values = [curve.values[panel] for panel in curve.values]
        gaps = [i for i, point in enumerate(zip(*values, strict=True)) if set(point) == {None}]
        assert len(gaps) == len(published.FACTS) - 1
        pairs = [(i, a, b) for i, (a, b) in enumerate(pairwise(curve.layers)) if i + 1 not in gaps]
        assert pairs
        assert all(a < b for i, a, b in pairs if i not in gaps)


def test_further_columns_and_tables_have_values(runs: dict[str, Path], tmp_path: Path) -> None:
    run = lm.load(runs["2025-10-13"])
    assert run.rows("milestones") == [
        {"layer": None, "is_copy_strict": False, "lens": "norm"},
        {"layer": 4, "is_copy_strict": True, "lens": "raw"},
    ]
    assert [row["layer"] for row in run.rows("artifact-audit")] == ["_summary", "0", "6"]
    assert [row["word"] for row in run.rows("of-a-later-date")] == ["yes", "007"]
    further = run.pure()[0].further
    assert isinstance(further["copy_soft_k1@0.5"], bool)
    assert isinstance(further["teacher_entropy_bits"], float)
    tokens = {row["top1_token_str_raw"] for row in run.rows("pure-next-token-rawlens")}
    assert tokens <= {"\\", "1", "nan", None, "\r"}
    with pytest.raises(KeyError, match="no table 'rawlens' of lens 'norm'; tables: pure, records"):
        run.frame("rawlens")
    changed = [replace(row, entropy=1.5) for row in run.pure()]
    replace(run, tables={**run.tables, ("pure", "norm"): changed}).save(tmp_path)
    again = lm.load(tmp_path)
    assert again.pure() == changed
    assert list(again.frame("pure").columns) == list(run.frame("pure").columns)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
CELLS = st.one_of(
    st.sampled_from(["", "True", "False", "7", "-0.5", "1e-9", "nan", "inf", "007", "+1", "1_0"]),
    st.sampled_from(["\\", '"', ",", "\n", "\r", "\r\n", " 1", "１", "\\n", "None", "\u2028"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
)
KNOWN = set(published.read(FACT / PURE, "2025-08-30")[0])


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(NAMES.filter(lambda name: name not in KNOWN), st.integers(0, 57)),
        min_size=1,
        max_size=4,
        unique_by=lambda column: column[0],
    ),
    st.lists(CELLS, min_size=1, max_size=6),
)
@example([("further", 0), ("top", 57), ("top21", 3)], ["1"])
@example([("#58", 57), ("pass_name", 2), ("", 9)], ["", "x"])
def test_whatever_columns_are_added_the_frame_has_them(
    tmp_path_factory: pytest.TempPathFactory, columns: list[tuple[str, int]], values: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("columns")
    (folder / "output-Fact.json").write_bytes((FACT / "output-Fact.json").read_bytes())
    lines = published.read(FACT / PURE, "2025-08-30")
    for name, place in columns:
        for number, line in enumerate(lines):
            line.insert(place, values[number % len(values)] if number else name)
    text = published.text_of(lines, "2025-08-24")
    (folder / PURE).write_bytes(text.encode())
    (folder / "output-Fact-table-of-columns.csv").write_bytes(text.encode())
    run = lm.load(folder)
    assert_whole(run.frame("pure"), lines)
    assert_whole(run.frame("table-of-columns"), lines)
    assert {run.text(*key) for key in run.tables} == {text}


def test_cells_beyond_the_header_are_columns_of_their_number(tmp_path: Path) -> None:
    published.write(tmp_path, "2025-08-30", "Fact")
    text = (FACT / PURE).read_text(encoding="utf-8")
    head, first, second, *others = text.splitlines()
    raw = "\n".join([head, f"{first},1,x", second.removesuffix(","), f"{others[0]},2", *others[1:]])
    (tmp_path / PURE).write_text(raw, encoding="utf-8")
    run = lm.load(tmp_path)
    frame = run.frame("pure")
    assert list(frame.columns[57:]) == ["#58", "#59"]
    assert frame["#58"].dropna().tolist() == [1, 2]
    assert frame["#59"].dropna().tolist() == ["x"]
    assert run.pure()[0].further == {"#58": 1, "#59": "x"}
    assert [replace(row, further={}) for row in run.pure()] == lm.load(FACT).pure()
    run.save(tmp_path / "again")
    assert (tmp_path / "again" / PURE).read_bytes() == (tmp_path / PURE).read_bytes()
