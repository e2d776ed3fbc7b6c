"""Comparison: any one change beyond tolerance is found and located, any within is not; ties may swap, nothing else."""

import copy
from dataclasses import replace
from functools import cache
from math import inf, nan
from typing import Any

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from spec import columns, reading_csv, reading_json
from spec.compare import Comparison, compare
from spec.compare_tables import row_name
from spec.compare_topk import order_faults
from spec.golden import GOLDEN, load_cases
from spec.reading import PURE, RECORDS, Finding, Run, read_run
from spec.tolerance import BF16, FP32, Bound, Tolerance, by_name

CASES = ("rms-rope", "fact", "fact-prism", "byte-bpe", "dropped-answer")


@cache
def captured(case: str) -> Run:
    return read_run(GOLDEN / "outputs" / case)


def with_cell(run: Run, kind: str, row: int, column: str, text: str) -> Run:
    """The run with one cell replaced, as text and as written."""
    table = run.tables[kind]
    rows, at = [list(r) for r in table.rows], table.header.index(column)
    rows[row][at] = text
    return replace(run, tables={**run.tables, kind: rebuilt(table.header, rows)})


def rebuilt(header: Any, rows: Any) -> reading_csv.Table:
    lines = [list(header), *map(list, rows)]
    return reading_csv.parse("".join(",".join(map(reading_csv.encode, line)) + "\n" for line in lines))


def with_leaf(run: Run, path: tuple[str | int, ...], value: Any) -> Run:
    """The run with one leaf of its document replaced."""
    document = copy.deepcopy(dict(run.document or {}))
    inner: Any = document
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    text = reading_json.layout(document)
    return replace(run, document=reading_json.parse(text), document_text=text)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return [(path, value)]
    return [leaf for key, inner in items for leaf in leaves(inner, (*path, key))]


def only(comparison: Comparison) -> tuple[str, str, str, str]:
    """File, row, column and kind of the single mismatch."""
    assert len(comparison.mismatches) == 1, comparison.mismatches
    found = comparison.mismatches[0]
    return found.file, found.row, found.column, found.kind


@pytest.mark.parametrize("case", load_cases().values(), ids=lambda case: case.name)
def test_every_capture_equals_itself(case: Any) -> None:
    result = compare(captured(case.name), captured(case.name), by_name(case.tolerance))
    assert result.matches
    assert result.compared > 2000
    assert set(result.values) == captured(case.name).files
    assert all(s.worst_error == s.worst_fraction == 0 for s in result.statistics)


@st.composite
def cells(draw: Any) -> tuple[str, str, int, str, str]:
    """A case and one of its cells that is not empty: table, row, column and text."""
    case = draw(st.sampled_from(CASES))
    run = captured(case)
    kind = draw(st.sampled_from(sorted(run.tables)))
    table = run.tables[kind]
    row = draw(st.integers(0, len(table.rows) - 1))
    full = [name for name, cell in zip(table.header, table.rows[row]) if cell and name not in columns.KEY_COLUMNS]
    column = draw(st.sampled_from(full))
    return case, kind, row, column, table.column(column, row)


def beyond(text: str, quantity: str, factor: float) -> str:
    """Another text for a cell, at `factor` times the allowed distance where it is a float."""
    if quantity in columns.FLOATS:
        return repr(float(text) + factor * FP32.allowed(quantity, float(text)))
    if quantity == columns.RANK:
        return str(int(text) + 1)
    return {"True": "False", "False": "True"}.get(text, text + "x")


@settings(max_examples=100, deadline=None)
@given(cells(), st.floats(1.01, 1e3) | st.floats(-1e3, -1.01))
def test_any_cell_beyond_tolerance_is_found_and_located(cell: tuple[str, str, int, str, str], factor: float) -> None:
    case, kind, row, column, text = cell
    run = captured(case)
    table = run.tables[kind]
    changed = with_cell(run, kind, row, column, beyond(text, columns.quantity(column), factor))
    file, where, name, _ = only(compare(run, changed, FP32))
    assert (file, where, name) == (run.table_name(kind), row_name(table, row), column)
    assert only(compare(changed, run, Tolerance("exact", Bound(0.0, 0.0))))[:3] == (file, where, name)


@settings(max_examples=60, deadline=None)
@given(cells(), st.floats(-0.99, 0.99))
def test_no_cell_within_tolerance_is_reported(cell: tuple[str, str, int, str, str], factor: float) -> None:
    case, kind, row, column, text = cell
    run = captured(case)
    assume(columns.quantity(column) in columns.FLOATS)
    changed = with_cell(run, kind, row, column, beyond(text, columns.quantity(column), factor))
    result = compare(run, changed, FP32)
    assert result.matches
    fraction = max(s.worst_fraction for s in result.statistics)
    assert fraction == pytest.approx(abs(factor), abs=1e-6)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(CASES), st.data())
@example("fact", None)
def test_any_json_leaf_beyond_tolerance_is_found(case: str, data: Any) -> None:
    run = captured(case)
    found = leaves(run.document)
    path, value = data.draw(st.sampled_from(found)) if data else (("diagnostics", "L_copy"), 1)
    exempt = path[-1] in ("artifact_path", "n_ctx") or path[-2:] == ("prism_summary", "error")
    assume(not exempt and not (len(path) > 2 and path[-3] == "topk" and path[-1] == 0))
    other: Any = {type(None): 1, bool: value is False, str: f"{value}x"}.get(type(value))
    if isinstance(value, float):
        other = value + 1.5 * max(FP32.allowed(columns.PROBABILITY, value), 1e-12)
    elif type(value) is int:
        other = value + 1
    file, row, column, _ = only(compare(run, with_leaf(run, path, other), FP32))
    assert file == run.document_name
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    where = f"{where.removesuffix('[1]')}.p" if len(path) > 2 and path[-3] == "topk" else where
    assert ".".join(filter(None, (row, column))) == where


def test_a_long_string_is_compared_to_its_end() -> None:
    run = captured("fact")
    prompt = (run.document or {})["test_prompts"][11]["prompt"]
    assert len(prompt) == 80
    other = with_leaf(run, ("test_prompts", 11, "prompt"), f"{prompt}x")
    assert only(compare(run, other, FP32))[1:] == ("test_prompts[11]", "prompt", "value")


def test_fields_never_demanded_may_differ() -> None:
    run = captured("rms-rope")
    other = with_leaf(run, ("diagnostics", "prism_summary", "artifact_path"), "/somewhere/else")
    other = with_leaf(other, ("diagnostics", "prism_summary", "error"), "Missing prism artifacts in /somewhere/else")
    assert compare(run, with_leaf(other, ("model_stats", "n_ctx"), 2048), FP32).matches


def test_the_sentence_around_the_path_is_demanded() -> None:
    run = captured("rms-rope")
    other = with_leaf(run, ("diagnostics", "prism_summary", "error"), "No artifacts in /somewhere/else")
    assert only(compare(run, other, FP32))[2:] == ("diagnostics.prism_summary.error", "value")


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
        ",".join(map(reading_csv.encode, r)) + "\n" for r in (run.tables[PURE].header, *run.tables[PURE].rows)
    )
    quoted = reading_csv.parse(text.replace("⟨NEXT⟩", '"⟨NEXT⟩"', 1))
    cut = reading_csv.parse(text[:-1])
    assert only(compare(run, replace(run, tables={**run.tables, PURE: quoted}), FP32))[2:] == ("token", "quoting")
    assert only(compare(run, replace(run, tables={**run.tables, PURE: cut}), FP32))[1:] == (
        "last line",
        "end",
        "format",
    )


def test_missing_extra_and_reordered_rows_are_named() -> None:
    run = captured("fact")
    header, rows = run.tables[PURE].header, run.tables[PURE].rows

    def found(changed: list[Any]) -> list[tuple[str, str]]:
        other = replace(run, tables={**run.tables, PURE: rebuilt(header, changed)})
        return [(m.row, m.kind) for m in compare(run, other, FP32).mismatches]

    assert found([*rows[:3], *rows[4:]]) == [("pos/orig layer 3 pos 16", "missing row")]
    assert found([*rows, rows[3]]) == [("pos/orig layer 3 pos 16 #2", "extra row")]
    assert found([rows[1], rows[0], *rows[2:]]) == [("pos/orig layer 0 pos 16", "row order")]
    assert found([rows[0][:-1], *rows[1:]]) == [("pos/orig layer 0 pos 16", "row width")]
    assert ("pos/orig layer 0 pos 16", "row width") in found([[*rows[0], "1"], *rows[1:]])


def test_missing_extra_and_reordered_columns_are_named() -> None:
    run = captured("fact")
    table = run.tables[RECORDS]

    def found(keep: list[int], names: dict[int, str] | None = None) -> list[tuple[str, str, str]]:
        header = [(names or {}).get(i, table.header[i]) for i in keep]
        other = rebuilt(header, [[row[i] for i in keep] for row in table.rows])
        result = compare(run, replace(run, tables={**run.tables, RECORDS: other}), FP32)
        return [(m.row, m.column, m.kind) for m in result.mismatches if m.row == "header"]

    every = list(range(len(table.header)))
    assert found(every[:-1]) == [("header", "rest_mass", "missing column")]
    assert found(every, {46: "rest"}) == [("header", "rest_mass", "missing column"), ("header", "rest", "extra column")]
    assert found([*every[:4], 5, 4, *every[6:]]) == [("header", "token", "column order")]


def test_missing_extra_and_reordered_keys_are_named() -> None:
    run = captured("fact")

    def found(change: Any) -> list[tuple[str, str, str]]:
        document = copy.deepcopy(dict(run.document or {}))
        document["model_stats"] = change(document["model_stats"])
        text = reading_json.layout(document)
        other = replace(run, document=document, document_text=text)
        return [(m.row, m.column, m.kind) for m in compare(run, other, FP32).mismatches]

    assert found(lambda d: {k: v for k, v in d.items() if k != "n_ctx"}) == [("model_stats", "n_ctx", "missing key")]
    assert found(lambda d: {**d, "d_head": 1}) == [("model_stats", "d_head", "extra key")]
    assert found(lambda d: dict(sorted(d.items()))) == [("model_stats", "type", "key order")]
    assert found(lambda d: {**d, "n_heads": 4.0}) == [("", "model_stats.n_heads", "type")]
    assert found(lambda d: {**d, "type": ["model_stats"]}) == [("", "model_stats.type", "type")]


def test_json_layout_and_number_text_are_compared() -> None:
    run = captured("fact")
    tight = replace(run, document_text=run.document_text.replace("  ", " "))
    assert only(compare(run, tight, FP32))[2:] == ("layout", "format")
    text = run.document_text.replace('"copy_thresh": 0.95', '"copy_thresh": 9.5e-1')
    other = replace(run, document=reading_json.parse(text), document_text=text)
    assert only(compare(run, other, FP32))[2:] == ("diagnostics.copy_thresh", "format")


def test_json_lists_of_another_length_are_told() -> None:
    run = captured("fact")
    prompts = (run.document or {})["test_prompts"]
    assert only(compare(run, with_leaf(run, ("test_prompts",), prompts[:-1]), FP32))[2:] == (
        "test_prompts",
        "list length",
    )
    shorter = with_leaf(run, ("final_prediction", "topk"), (run.document or {})["final_prediction"]["topk"][:19])
    assert only(compare(run, shorter, FP32))[2:] == ("final_prediction.topk", "list length")


def test_a_strange_token_in_a_json_list_is_found() -> None:
    run = captured("rms-rope")
    other = with_leaf(run, ("test_prompts", 3, "topk", 1, 0), "strange")
    assert only(compare(run, other, FP32))[1:] == ("test_prompts[3].topk[1]", "token", "top-k token")


def test_files_missing_extra_failed_and_stray_are_told() -> None:
    run = captured("fact-prism")
    name = run.table_name("records-prism")
    less = replace(run, files=run.files - {name}, tables={k: t for k, t in run.tables.items() if k != "records-prism"})
    assert only(compare(run, less, FP32)) == (name, "", "", "missing file")
    assert only(compare(less, run, FP32)) == (name, "", "", "extra file")
    assert only(compare(run, replace(run, strays=("x.txt",)), FP32)) == ("x.txt", "", "", "extra file")
    failed = replace(run, findings=(Finding("output-x.error.json", "the run failed: no"),))
    assert only(compare(run, failed, FP32))[3] == "obtained run"
    assert only(compare(failed, run, FP32))[3] == "expected run"


def test_residuals_dtype_shape_then_values() -> None:
    run = captured("keep-residuals")
    name = "Keep-residuals_02_resid.pt"
    tensor = run.residuals[name]

    def found(other: torch.Tensor) -> tuple[str, str, str, str]:
        return only(compare(run, replace(run, residuals={**run.residuals, name: other}), FP32))

    assert found(tensor.double()) == (name, "", "dtype", "dtype")
    assert found(tensor[0]) == (name, "", "shape", "shape")
    moved = tensor.clone()
    moved[0, 4, 7] += 1e-3
    assert found(moved) == (name, "pos 4 component 7", "value", "value")
    moved[0, 5, 1] = nan
    assert found(moved)[1] == "pos 5 component 1"


def ties(a: float, b: float) -> bool:
    return FP32.ties(columns.PROBABILITY, a, b)


@pytest.mark.parametrize(
    ("obtained", "faults"),
    [
        ("abcde", []),
        ("bacde", []),  # a and b tie
        ("acbde", [1, 2]),
        ("abdce", [2, 3]),
        ("abcdx", [4]),  # what lies below the list is not known
        ("abxde", [2]),
        ("bxcde", [0, 1]),  # a is gone, though b may stand in its place
        ("aacde", [1]),
        ("abced", []),
        ("eacdb", [0, 4]),
    ],
)
def test_only_ties_swap(obtained: str, faults: list[int]) -> None:
    assert order_faults("abcde", [0.4, 0.39999, 0.1, 0.05, 0.049999], obtained, ties) == faults


@pytest.mark.parametrize(
    ("obtained", "faults"),
    [
        ("abcdx", []),  # the last one may be another, tied with it
        ("abcxe", []),  # d ties with the last one
        ("abxde", [2]),
        ("abcxy", []),
        ("xbcde", [0]),
    ],
)
def test_an_open_end_lets_a_tie_at_the_cut_in(obtained: str, faults: list[int]) -> None:
    assert order_faults("abcde", [0.4, 0.39999, 0.1, 0.05, 0.049999], obtained, ties, open_end=True) == faults


def test_tokens_of_one_text_are_told_apart_by_order() -> None:
    assert order_faults("��a", [0.5, 0.3, 0.1], "��a", ties) == []
    assert order_faults("��a", [0.5, 0.3, 0.1], "�a�", ties) == [1, 2]
    assert order_faults("��a", [0.5, 0.3, 0.1], "x�a", ties) == [0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.3, 0.2, 0.1, 0.0999999, 0.05]), min_size=1, max_size=6), st.data())
def test_swap_of_neighbours_passes_exactly_where_they_tie(values: list[float], data: Any) -> None:
    probabilities = sorted(values, reverse=True)
    tokens = [chr(97 + i) for i in range(len(values))]
    assume(len(tokens) > 1)
    i = data.draw(st.integers(0, len(tokens) - 2))
    swapped = [*tokens[:i], tokens[i + 1], tokens[i], *tokens[i + 2 :]]
    expected = [] if ties(probabilities[i], probabilities[i + 1]) else [i, i + 1]
    assert order_faults(tokens, probabilities, swapped, ties) == expected


def test_a_tie_swaps_in_tables_and_documents() -> None:
    run = captured("fact")
    table = run.tables[PURE]
    p = table.column("prob3", 0)
    tied = with_cell(with_cell(run, PURE, 0, "prob4", p), PURE, 0, "top3", table.column("top4", 0))
    tied = with_cell(tied, PURE, 0, "top4", table.column("top3", 0))
    base = with_cell(run, PURE, 0, "prob4", p)
    assert compare(base, tied, FP32).matches
    result = compare(run, with_cell(with_cell(run, PURE, 0, "top3", "as"), PURE, 0, "top4", " text"), FP32)
    assert [(m.column, m.kind) for m in result.mismatches] == [("top3", "top-k order"), ("top4", "top-k order")]


def test_bf16_is_loose_on_floats_only() -> None:
    run = captured("bf16")
    for column, text, matches in [
        ("entropy", "1.80", True),
        ("entropy", "2.00", False),
        ("prob1", "0.80", True),
        ("prob1", "0.70", False),
        ("answer_rank", "50", True),
        ("answer_rank", "55", False),
        ("is_answer", "True", False),
        ("cos_to_final", "-0.10", True),
        ("cos_to_final", "-0.20", False),
    ]:
        changed = with_cell(run, PURE, 0, column, text if text in ("True", "50", "55") else repr(float(text)))
        assert compare(run, changed, BF16).matches is matches, (column, text)
        assert not compare(run, changed, FP32).matches, (column, text)


def test_bf16_keeps_small_ranks_exact() -> None:
    assert [BF16.rank_moves(rank) for rank in (1, 5, 6, 47, 12066)] == [0, 0, 1, 4, 1206]
    assert [FP32.rank_moves(rank) for rank in (1, 6, 12066)] == [0, 0, 0]


def test_tolerances_are_validated() -> None:
    with pytest.raises(ValueError, match=r"finite rtol, atol ≥ 0, got -1.0, 0.0"):
        Bound(-1.0, 0.0)
    with pytest.raises(ValueError, match=r"keyed by quantities, got .'speed'."):
        Tolerance("x", Bound(0.0, 0.0), {"speed": Bound(0.0, 0.0)})
    with pytest.raises(ValueError, match=r"rank_slack is a share in .0, 1., got 2"):
        Tolerance("x", Bound(0.0, 0.0), rank_slack=2)
    with pytest.raises(ValueError, match="one of fp32, bf16, got 'fp64'"):
        by_name("fp64")


def test_nothing_equals_nan() -> None:
    assert FP32.fraction(columns.KL, nan, nan) == inf
    assert FP32.fraction(columns.KL, 1.0, inf) == inf
    assert FP32.fraction(columns.EXACT_FLOAT, 0.95, 0.9500001) == inf
