"""diff: runs are identical, equal or changed, and a change is located by file, column, layer, milestone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from corrupting import PURE, both, cell, csv_path, key, lines, remove, tensor
from hypothesis import assume, given
from hypothesis import strategies as st

from spec.compare.column import column_of
from spec.compare.diff import ONLY_A, ONLY_B, Diff, diff, renamed
from spec.compare.diff_columns import ColumnDiff, median_of, pass_layer
from spec.compare.kinds import Kind
from spec.compare.runs import Mismatch
from spec.compare.tolerance import BF16, FP32
from spec.compare.verdicts import BROKEN, CHANGED, EQUAL, IDENTICAL
from spec.errors import SpecError
from spec.golden import GOLDEN, load_cases
from spec.report.columns import share
from spec.report.diff import text
from spec.runs.columns import without_numbers
from spec.runs.places import Element, Place, TableRow, at_path
from spec.runs.run import Finding, read_run

Capture = Callable[[str], Path]
OUTPUTS = GOLDEN / "outputs"


def against(case: str, folder: Path, tolerance: Any = FP32) -> Diff:
    return diff((OUTPUTS / case, folder), (None, None), tolerance)


def files(result: Diff) -> dict[str, str]:
    return {
        file.file.removeprefix(f"output-{result.a.file_stem}"): file.verdict
        for file in result.files
    }


@given(st.lists(st.floats(0, 10), max_size=9), st.integers(0, 20))
def test_the_median_counts_values_without_an_error(errors: list[float], equal: int) -> None:
    assume(errors or equal)
    assert median_of(errors, len(errors) + equal) == median([*errors, *[0.0] * equal])


def moved(result: Diff) -> dict[str, tuple[str, str]]:
    return {change.name: (change.a, change.b) for change in result.milestones if change.moved}


@pytest.mark.parametrize("case", load_cases())
def test_every_capture_is_identical_to_its_copy(case: str, capture: Capture) -> None:
    result = against(case, capture(case))
    assert result.verdict == IDENTICAL
    assert {file.verdict for file in result.files} == {IDENTICAL}
    assert result.compared > 2000
    assert not moved(result)
    assert not any(column.differs for column in result.columns)
    assert all(p.first_difference is p.first_beyond is None for p in result.first_divergences)


def test_a_small_move_is_equal_within_tolerance(capture: Capture) -> None:
    folder = capture("fact")
    cell(PURE, 2, "entropy", lambda value: value * (1 + 5e-5))(folder)
    result = against("fact", folder)
    assert result.verdict == EQUAL
    assert files(result) == {
        "-pure-next-token.csv": EQUAL,
        "-records.csv": IDENTICAL,
        ".json": IDENTICAL,
    }
    worst = result.columns[0]
    assert (worst.name, worst.beyond, worst.worst_row, worst.layer) == (
        "pure-next-token: entropy",
        0,
        "pos/orig layer 2 pos 16",
        None,
    )
    assert 0 < worst.worst_fraction < 1
    assert worst.median_error == 0
    report = text(result).splitlines()[-1]
    assert report.startswith("equal within tolerance fp32: at worst ")
    assert (
        "of it (pure-next-token: entropy, pos/orig layer 2 pos 16), 2,873 values compared" in report
    )


def test_layers_at_which_columns_part(capture: Capture) -> None:
    folder = capture("fact")
    small, large = (lambda v: v * (1 + 5e-5)), (lambda v: v * 1.01)
    both(
        cell(PURE, 1, "cos_to_final", small),
        cell(PURE, 3, "entropy", large),
        cell(PURE, 5, "entropy", large),
    )(folder)
    cell(PURE, 16, "p_answer", "0.5")(folder)  # ctl/orig layer 2
    result = against("fact", folder)
    places = {
        (p.table, p.pass_name): (p.first_difference, p.first_beyond, p.column)
        for p in result.first_divergences
    }
    assert places == {
        ("pure-next-token", "pos/orig"): (1, 3, "entropy"),
        ("pure-next-token", "pos/no_filler"): (None, None, ""),
        ("pure-next-token", "ctl/orig"): (2, 2, "p_answer"),
        ("records", "pos/orig"): (None, None, ""),
    }
    columns = {column.name: column for column in result.columns}
    assert (
        columns["pure-next-token: entropy"].beyond,
        columns["pure-next-token: entropy"].layer,
    ) == (2, 3)
    assert (
        columns["pure-next-token: cos_to_final"].beyond,
        columns["pure-next-token: cos_to_final"].layer,
    ) == (
        0,
        None,
    )
    assert [bool(column.beyond) for column in result.columns[:3]] == [True, True, False]
    assert (
        "first at layer 3 of pos/orig (pure-next-token: entropy)" in text(result).splitlines()[-1]
    )


def test_flags_ranks_and_tokens_come_before_numbers(capture: Capture) -> None:
    folder = capture("fact")
    both(
        cell(PURE, 0, "entropy", "1.5"),
        cell(PURE, 4, "is_answer", "False"),
        cell(PURE, 4, "top1", "x"),
    )(folder)
    result = against("fact", folder)
    report = text(result)
    block = report[report.index("first differences") :].splitlines()
    assert block[1].endswith("pos/orig layer 4 pos 16, top1: A  Berlin, B x (top-k token)")
    assert block[2].endswith("pos/orig layer 4 pos 16, is_answer: A True, B False (value)")
    assert block[3].endswith(
        "pos/orig layer 0 pos 16, entropy: A 1.7617796659469604, B 1.5 (value)"
    )
    flag = next(column for column in result.columns if column.name == "pure-next-token: is_answer")
    assert (flag.beyond, flag.compared, flag.worst_row, flag.layer) == (
        1,
        21,
        "pos/orig layer 4 pos 16",
        4,
    )


def test_milestones_that_moved_are_named_with_both_values(capture: Capture) -> None:
    folder = capture("fact")
    both(
        key("diagnostics", "L_semantic", value=5),
        key("diagnostics", "first_kl_below_0.5", value=None),
        key("ablation_summary", "L_copy_nf", value=2),
        key("control_summary", "max_control_margin", value=0.5),
    )(folder)
    result = against("fact", folder)
    assert moved(result) == {
        "L_semantic": ("4", "5"),
        "first_kl_below_0.5": ("4", "null"),
        "ablation_summary.L_copy_nf": ("1", "2"),
        "control_summary.max_control_margin": ("0.9828728035645327", "0.5"),
    }
    report = text(result)
    assert "milestones and summaries that moved: 4 of 23" in report
    assert (
        "1 of 3 files, 4 of 23 milestones and summaries, 2,873 values compared"
        in report.splitlines()[-1]
    )


def test_how_a_run_was_made_is_reported_and_not_judged(capture: Capture) -> None:
    folder = capture("fact")
    key("diagnostics", "device", value="cuda")(folder)
    (folder / "run-Fact.manifest.json").write_text(
        '{"dtype": "float16", "versions": {"torch": "2.9"}}'
    )
    result = against("fact", folder)
    assert result.verdict == EQUAL
    assert [(c.name, c.a, c.b) for c in result.settings] == [("device", "cpu", "cuda")]
    assert (result.b.facts["dtype"], result.b.facts["torch"]) == ("float16", "2.9")
    report = text(result)
    assert f"B: {folder}, tiny/Fact, cuda, float16\ndevice: cpu → cuda (not judged)\n" in report
    assert (
        report.splitlines()[-1]
        == "equal within tolerance fp32: every number is the same, 2,873 values compared"
    )


def test_runs_of_other_names_are_compared_where_shapes_fit() -> None:
    result = against("fact", OUTPUTS / "raw-off")
    assert files(result) == {
        "-pure-next-token.csv": IDENTICAL,
        "-records.csv": IDENTICAL,
        ".json": CHANGED,
    }
    assert [c.name for c in result.settings] == ["model", "raw lens"]
    assert moved(result) == {"raw_lens_check.summary.lens_artifact_risk": ("high", "null")}


def test_half_precision_is_hinted_at_and_judged_by_its_own_class() -> None:
    strict, loose = against("fact", OUTPUTS / "bf16"), against("fact", OUTPUTS / "bf16", BF16)
    assert "--tolerance bf16 allows for its rounding" in text(strict)
    assert "--tolerance bf16" not in text(loose)
    assert files(loose)["-pure-next-token.csv"] == files(loose)["-records.csv"] == EQUAL
    assert not moved(loose)


def test_runs_of_other_shapes_are_refused() -> None:
    with pytest.raises(
        SpecError,
        match="cannot compare Fact and rms-rope: blocks 6 and 4, width 128 and 32; give two",
    ):
        against("fact", OUTPUTS / "rms-rope")


def test_without_documents_the_tables_tell_the_blocks(capture: Capture) -> None:
    folder = capture("rms-rope")
    (folder / "output-rms-rope.json").write_text("{")
    with pytest.raises(SpecError, match="blocks 6 and 4; give"):
        against("fact", folder)


def test_files_of_one_run_only_and_unreadable_ones(capture: Capture) -> None:
    folder = capture("fact-prism")
    remove("output-Fact-prism-records-prism.csv")(folder)
    (folder / "output-Fact-prism.json").write_text('{"prompt": ')
    (folder / "Fact-prism_00_resid.pt").write_bytes(b"")
    (folder / "notes.txt").write_text("no file of a run")
    result = against("fact-prism", folder)
    verdicts = {file.file.removeprefix("output-Fact-prism"): file.verdict for file in result.files}
    assert verdicts == {
        "-pure-next-token-prism.csv": IDENTICAL,
        "-pure-next-token.csv": IDENTICAL,
        "-records-prism.csv": ONLY_A,
        "-records.csv": IDENTICAL,
        ".json": BROKEN,
        "Fact-prism_00_resid.pt": BROKEN,
        "notes.txt": ONLY_B,
    }
    assert "output-Fact-prism.json in B: cannot be read: not JSON at line 1" in text(result)
    assert "no milestone was compared" in text(result)
    back = diff((folder, OUTPUTS / "fact-prism"), (None, None), FP32)
    assert {f.verdict for f in back.files if f.file.endswith("records-prism.csv")} == {ONLY_B}


def test_lone_rows_are_reported_in_one_line(capture: Capture) -> None:
    folder = capture("fact")
    lines("records", lambda content: [*content[:5], *content[9:]])(folder)
    result = against("fact", folder)
    assert "output-Fact-records.csv: 4 rows only in A, first pos/orig layer 0 pos 4" in text(result)
    assert all(p.first_beyond is None for p in result.first_divergences)


def test_a_residual_parts_at_its_layer(capture: Capture) -> None:
    folder = capture("keep-residuals")
    tensor("Keep-residuals_03_resid.pt", lambda t: t + 0.01 * torch.ones_like(t))(folder)
    result = against("keep-residuals", folder)
    place = next(p for p in result.first_divergences if p.table == "residual")
    assert (place.first_difference, place.first_beyond, place.column) == (3, 3, "value")
    assert result.columns[0].name == "residual: value"
    assert "first at layer 3 of pos/orig (residual: value)" in text(result).splitlines()[-1]


def test_a_failed_run_is_unreadable_whatever_the_other(capture: Capture) -> None:
    folder = capture("fact")
    for path in list(folder.iterdir()):
        path.unlink()
    (folder / "output-Fact.error.json").write_text(
        '{"error_type": "LensError", "message": "no tokenizer"}'
    )
    result = against("fact", folder)
    assert result.verdict == BROKEN
    assert "the run failed: LensError: no tokenizer" in text(result)
    assert diff((folder, folder), (None, None), FP32).verdict == BROKEN


def test_places_and_names() -> None:
    row = TableRow("pos", "orig", "12", "3")
    residual = Place("a_07_resid.pt", Element(3, 1), "value")
    value = at_path("output-a.json", ("test_prompts", 3, "topk", 0, "p"))
    assert pass_layer(Place("output-a-records.csv", row, "entropy")) == ("records", "pos/orig", 12)
    assert pass_layer(residual) == ("residual", "pos/orig", 7)
    assert pass_layer(value) is None
    assert [without_numbers(name) for name in ("prob12", "p_top5")] == ["prob*", "p_top5"]
    mismatch = Mismatch(value, "0.5", "0.25", Kind.VALUE)
    assert str(column_of(mismatch)) == "json: test_prompts[].topk[].p"
    assert [share(x) for x in (0.0123, 1.5, 1234.5, float("inf"))] == [
        "1.2%",
        "1.5 times",
        "1,234 times",
        "none allowed",
    ]


def test_an_empty_diff_is_refused() -> None:
    result = against("fact", OUTPUTS / "fact")
    with pytest.raises(ValueError, match="at least one file, got none"):
        Diff(result.a, result.b, "fp32", (), (), (), (), (), ())


def test_a_table_in_another_dialect_is_changed_not_identical(capture: Capture) -> None:
    folder = capture("fact")
    path = csv_path(folder, PURE)
    path.write_text(
        path.read_text(encoding="utf-8").replace("⟨NEXT⟩", '"⟨NEXT⟩"', 1), encoding="utf-8"
    )
    assert files(against("fact", folder))["-pure-next-token.csv"] == CHANGED


def test_a_run_under_another_name_has_its_files_and_findings_under_it(capture: Capture) -> None:
    folder = capture("fact")
    csv_path(folder, "records").write_bytes(b"\xff")
    run = renamed(read_run(folder), "Other")
    assert run.file_stem == "Other"
    assert [finding.file for finding in run.findings] == ["output-Other-records.csv"]
    assert sorted(run.files) == [
        "output-Other-pure-next-token.csv",
        "output-Other-records.csv",
        "output-Other.json",
    ]


def test_a_finding_of_another_file_keeps_its_name() -> None:
    finding = Finding("summary.csv", "cannot be read")
    run = replace(read_run(OUTPUTS / "fact"), findings=(finding,))
    assert renamed(run, "Other").findings == (finding,)


@pytest.mark.parametrize(("differing", "beyond"), [(0, 0), (1, 0), (1, 1)])
def test_a_column_differs_where_one_value_does(differing: int, beyond: int) -> None:
    column = ColumnDiff("x", 9, differing, beyond, 0.0, 0.0, 0.0, None, None)
    assert column.differs == (differing > 0)
