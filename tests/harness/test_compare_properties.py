"""Any one change beyond tolerance is found and located, any within is not."""

from typing import Any

import pytest
from changing import captured, only, with_cell, with_leaf
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from spec.compare.runs import compare
from spec.compare.tolerance import BF16, FP32, Bound, Tolerance
from spec.runs import columns
from spec.runs.values import table_row

CASES = ("rms-rope", "fact", "fact-prism", "byte-bpe", "dropped-answer")


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    items: Any = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else None
    )
    if items is None:
        return [(path, value)]
    return [leaf for key, inner in items for leaf in leaves(inner, (*path, key))]


@st.composite
def cells(draw: Any, cases: tuple[str, ...] = CASES) -> tuple[str, str, int, str, str]:
    """A case and one of its cells that is not empty: table, row, column and text."""
    case = draw(st.sampled_from(cases))
    run = captured(case)
    kind = draw(st.sampled_from(sorted(run.tables)))
    table = run.tables[kind]
    row = draw(st.integers(0, len(table.rows) - 1))
    full = [
        name
        for name, cell in zip(table.header, table.rows[row], strict=True)
        if cell and name not in columns.KEY_COLUMNS
    ]
    column = draw(st.sampled_from(full))
    return case, kind, row, column, table.column(column, row)


def beyond(text: str, quantity: str, factor: float, tolerance: Tolerance = FP32) -> str:
    """Another text for a cell, at `factor` times the allowed distance where it is a float."""
    if quantity in columns.FLOATS:
        return repr(float(text) + factor * tolerance.allowed(quantity, float(text)))
    if quantity == columns.RANK:
        return str(int(text) + 1 + tolerance.rank_moves(int(text)))
    return {"True": "False", "False": "True"}.get(text, text + "x")


@settings(max_examples=100, deadline=None)
@given(cells(), st.floats(1.01, 1e3) | st.floats(-1e3, -1.01))
def test_any_cell_beyond_tolerance_is_reported_and_located(
    cell: tuple[str, str, int, str, str], factor: float
) -> None:
    case, kind, row, column, text = cell
    run = captured(case)
    table = run.tables[kind]
    changed = with_cell(run, kind, row, column, beyond(text, columns.quantity(column), factor))
    file, where, name, _ = only(compare(run, changed, FP32))
    assert (file, where, name) == (run.table_name(kind), str(table_row(table, row)), column)
    assert only(compare(changed, run, Tolerance("exact", Bound(0.0, 0.0))))[:3] == (
        file,
        where,
        name,
    )


@settings(max_examples=60, deadline=None)
@given(cells(), st.floats(-0.99, 0.99))
def test_no_cell_within_tolerance_is_reported(
    cell: tuple[str, str, int, str, str], factor: float
) -> None:
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
def test_any_json_leaf_beyond_tolerance_is_reported(case: str, data: Any) -> None:
    run = captured(case)
    known_leaves = leaves(run.document)
    path: tuple[str | int, ...] = ("diagnostics", "L_copy")
    value: Any = 1
    if data:
        path, value = data.draw(st.sampled_from(known_leaves))
    exempt = path[-1] in ("artifact_path", "n_ctx") or path[-2:] == ("prism_summary", "error")
    assume(not exempt and not (len(path) > 2 and path[-3] == "topk" and path[-1] == 0))
    other: Any = {type(None): 1, bool: value is False, str: f"{value}x"}.get(type(value))
    if isinstance(value, float):
        other = value + 1.5 * max(FP32.allowed(columns.PROBABILITY, value), 1e-12)
    elif type(value) is int:
        other = value + 1
    file, row, column, _ = only(compare(run, with_leaf(run, path, other), FP32))
    assert file == run.document_name
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(
        "."
    )
    where = f"{where.removesuffix('[1]')}.p" if len(path) > 2 and path[-3] == "topk" else where
    assert ".".join(filter(None, (row, column))) == where


@settings(max_examples=100, deadline=None)
@given(cells(("bf16",)), st.floats(1.01, 1e3) | st.floats(-1e3, -1.01))
def test_half_precision_has_wider_bounds_and_misses_no_more(
    cell: tuple[str, str, int, str, str], factor: float
) -> None:
    case, kind, row, column, text = cell
    quantity = columns.quantity(column)
    assume(quantity in columns.FLOATS or quantity == columns.RANK)
    run = captured(case)
    changed = with_cell(run, kind, row, column, beyond(text, quantity, factor, BF16))
    where = only(compare(run, changed, BF16))[:3]
    assert where == (run.table_name(kind), str(table_row(run.tables[kind], row)), column)
    if quantity in columns.FLOATS:
        close = with_cell(
            run, kind, row, column, beyond(text, quantity, 0.99 * factor / abs(factor), BF16)
        )
        assert compare(run, close, BF16).matches
