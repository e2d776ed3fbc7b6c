"""Comparison of tables, files and residuals: every kind of difference is found and named."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch
from changing import captured, only, rebuilt, with_cell

from spec.compare.kinds import Kind
from spec.compare.runs import Mismatch, compare, file_mismatches, not_understood
from spec.compare.tolerance import FP32, by_name
from spec.golden import load_cases
from spec.runs import csv_dialect
from spec.runs.places import Place
from spec.runs.run import PURE, RECORDS, Finding, Run


@pytest.mark.parametrize("case", load_cases().values(), ids=lambda case: case.name)
def test_every_capture_equals_itself(case: Any) -> None:
    run = captured(case.name)
    result = compare(run, run, by_name(case.tolerance))
    again = {kind: rebuilt(table.header, table.rows) for kind, table in run.tables.items()}
    assert result == compare(run, replace(run, tables=again), by_name(case.tolerance))
    assert result.matches
    assert result.compared > 2000
    assert set(result.values) == captured(case.name).files
    assert all(s.worst_error == s.worst_fraction == 0 for s in result.statistics)


@pytest.mark.parametrize(
    ("column", "text", "kind"),
    [
        ("entropy", "1.00", "format"),
        ("entropy", "nan", "value"),
        ("entropy", "", "absent"),
        ("entropy", "1", "format"),
        ("control_margin", "0.5", "absent"),
        ("answer_rank", "47.0", "format"),
        ("answer_rank", "48", "value"),
        ("copy_collapse", "false", "value"),
        ("token", "NEXT", "value"),
    ],
)
def test_what_a_cell_may_not_become(column: str, text: str, kind: str) -> None:
    run = captured("fact")
    changed = with_cell(run, PURE, 0, column, text)
    name = run.table_name(PURE)
    assert only(compare(run, changed, FP32)) == (name, "pos/orig layer 0 pos 16", column, kind)


def test_quoting_and_the_last_line_feed_are_compared() -> None:
    run = captured("fact")
    text = "".join(
        ",".join(map(csv_dialect.encode, r)) + "\n"
        for r in (run.tables[PURE].header, *run.tables[PURE].rows)
    )
    quoted = csv_dialect.parse(text.replace("⟨NEXT⟩", '"⟨NEXT⟩"', 1))
    cut = csv_dialect.parse(text[:-1])
    assert only(compare(run, replace(run, tables={**run.tables, PURE: quoted}), FP32))[2:] == (
        "token",
        "quoting",
    )
    assert only(compare(run, replace(run, tables={**run.tables, PURE: cut}), FP32))[1:] == (
        "last line",
        "end",
        "format",
    )


def test_missing_extra_and_reordered_rows_are_named() -> None:
    run = captured("fact")
    header, rows = run.tables[PURE].header, run.tables[PURE].rows

    def differences(changed: list[Any]) -> list[tuple[str, str]]:
        other = replace(run, tables={**run.tables, PURE: rebuilt(header, changed)})
        return [(m.place.row_text, m.kind) for m in compare(run, other, FP32).mismatches]

    assert differences([*rows[:3], *rows[4:]]) == [("pos/orig layer 3 pos 16", "missing row")]
    assert differences([*rows, rows[3]]) == [("pos/orig layer 3 pos 16 #2", "extra row")]
    assert differences([rows[1], rows[0], *rows[2:]]) == [("pos/orig layer 0 pos 16", "row order")]
    assert differences([rows[0][:-1], *rows[1:]]) == [("pos/orig layer 0 pos 16", "row width")]
    assert ("pos/orig layer 0 pos 16", "row width") in differences([[*rows[0], "1"], *rows[1:]])


def test_missing_extra_and_reordered_columns_are_named() -> None:
    run = captured("fact")
    table = run.tables[RECORDS]

    def differences(
        keep: list[int], names: dict[int, str] | None = None
    ) -> list[tuple[str, str, str]]:
        header = [(names or {}).get(i, table.header[i]) for i in keep]
        other = rebuilt(header, [[row[i] for i in keep] for row in table.rows])
        result = compare(run, replace(run, tables={**run.tables, RECORDS: other}), FP32)
        return [
            (m.place.row_text, m.place.column_text, m.kind)
            for m in result.mismatches
            if m.place.row_text == "header"
        ]

    every = list(range(len(table.header)))
    assert differences(every[:-1]) == [("header", "rest_mass", "missing column")]
    assert differences(every, {46: "rest"}) == [
        ("header", "rest_mass", "missing column"),
        ("header", "rest", "extra column"),
    ]
    assert differences([*every[:4], 5, 4, *every[6:]]) == [("header", "token", "column order")]


def test_files_missing_extra_failed_and_stray_are_reported() -> None:
    run = captured("fact-prism")
    name = run.table_name("records-prism")
    less = replace(
        run,
        files=run.files - {name},
        tables={k: t for k, t in run.tables.items() if k != "records-prism"},
    )
    assert only(compare(run, less, FP32)) == (name, "", "", "missing file")
    assert only(compare(less, run, FP32)) == (name, "", "", "extra file")
    assert only(compare(run, replace(run, strays=("x.txt",)), FP32)) == (
        "x.txt",
        "",
        "",
        "extra file",
    )
    failed = replace(run, findings=(Finding("output-x.error.json", "the run failed: no"),))
    assert only(compare(run, failed, FP32))[3] == "obtained run"
    assert only(compare(failed, run, FP32))[3] == "expected run"


def test_residuals_dtype_shape_then_values() -> None:
    run = captured("keep-residuals")
    name = "Keep-residuals_02_resid.pt"
    tensor = run.residuals[name]

    def differences(other: torch.Tensor) -> tuple[str, str, str, str]:
        return only(compare(run, replace(run, residuals={**run.residuals, name: other}), FP32))

    assert differences(tensor.double()) == (name, "", "dtype", "dtype")
    assert differences(tensor[0]) == (name, "", "shape", "shape")
    moved = tensor.clone()
    moved[0, 4, 7] += 1e-3
    assert differences(moved) == (name, "pos 4 component 7", "value", "value")
    moved[0, 5, 1] = nan
    assert differences(moved)[1] == "pos 5 component 1"


def run_of(folder: Path, files: dict[str, str], unreadable: Sequence[str] = ()) -> Run:
    """A run of files that the contract does not know, some of which count as unreadable."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    findings = tuple(Finding(name, f"{name} cannot be read") for name in unreadable)
    paths = {name: folder / name for name in files}
    return Run("X", strays=tuple(files), findings=findings, paths=paths)


def test_files_of_one_side_and_unreadable_ones_are_recorded(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", {"a.txt": "", "x.txt": "1", "y.txt": "1"}, ["x.txt"])
    b = run_of(tmp_path / "b", {"b.txt": "", "x.txt": "2", "y.txt": "2"}, ["y.txt"])
    assert file_mismatches(a, b) == [
        Mismatch(Place("x.txt"), "", "x.txt cannot be read", Kind.EXPECTED_RUN),
        Mismatch(Place("y.txt"), "", "y.txt cannot be read", Kind.OBTAINED_RUN),
        Mismatch(Place("a.txt"), "file", "", Kind.MISSING_FILE),
        Mismatch(Place("b.txt"), "", "file", Kind.EXTRA_FILE),
    ]
    assert compare(a, b, FP32).mismatches == tuple(file_mismatches(a, b))


def test_an_unreadable_file_with_the_same_bytes_on_both_sides_is_not_understood(
    tmp_path: Path,
) -> None:
    files, bad = {"one.txt": "1", "both.txt": "1", "read.txt": "1"}, ["both.txt", "other.txt"]
    more = {"other.txt": "1", "gone.txt": "1"}
    a = run_of(tmp_path / "a", {**files, **more}, ["one.txt", "gone.txt", *bad])
    b = run_of(tmp_path / "b", {**files, "other.txt": "2"}, bad)
    assert not_understood(a, b) == not_understood(b, a) == {"one.txt", "both.txt"}
