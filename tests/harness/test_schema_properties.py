"""A cell that its run determines cannot change unseen; one that nothing determines may change within tolerance."""

from typing import Any

import numpy as np
from changing import captured, with_cell
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spec.compare.tolerance import FP32
from spec.runs import columns
from spec.runs.values import table_row
from spec.schema.validate import validate

CASES = (
    "rms-rope",
    "fact",
    "fact-prism",
    "byte-bpe",
    "dropped-answer",
    "bf16",
    "raw-full",
    "layernorm-prism",
)
DETERMINED = {
    "rest_mass",
    "p_top1",
    "p_top5",
    "entropy_collapse",
    "is_answer",
    *(f"prob{i}" for i in range(1, 21)),
}
FREE = {"entropy", "kl_to_final_bits", "cos_to_final"}


@st.composite
def cells(draw: Any, names: set[str]) -> tuple[str, str, int, str, str]:
    """A case and one full cell of the wanted columns: table, row, column and text."""
    case = draw(st.sampled_from(CASES))
    run = captured(case)
    kind = draw(st.sampled_from(sorted(run.tables)))
    table = run.tables[kind]
    row = draw(st.integers(0, len(table.rows) - 1))
    column = draw(
        st.sampled_from(
            [
                c
                for c, cell in zip(table.header, table.rows[row], strict=True)
                if cell and c in names
            ]
        )
    )
    return case, kind, row, column, table.column(column, row)


def moved(text: str, column: str, factor: float) -> float:
    """The number at `factor` times the allowed distance, as float32 holds it."""
    number = float(text)
    return float(np.float32(number + factor * FP32.allowed(columns.quantity(column), number)))


@settings(max_examples=150, deadline=None)
@given(cells(DETERMINED), st.floats(1.5, 1e3) | st.floats(-1e3, -1.5))
def test_any_determined_cell_beyond_tolerance_is_reported_in_its_row(
    cell: tuple[str, str, int, str, str], factor: float
) -> None:
    case, kind, row, column, text = cell
    run = captured(case)
    other = {"True": "False", "False": "True"}.get(text) or repr(moved(text, column, factor))
    violations = validate(with_cell(run, kind, row, column, other))
    where = run.table_name(kind), str(table_row(run.tables[kind], row))
    assert where in [(violation.file, violation.place.row_text) for violation in violations]


@settings(max_examples=100, deadline=None)
@given(cells(FREE), st.floats(-0.9, 0.9))
def test_no_free_number_within_tolerance_is_refused(
    cell: tuple[str, str, int, str, str], factor: float
) -> None:
    case, kind, row, column, text = cell
    value = moved(text, column, factor)
    assume(value >= 0 and (column != "cos_to_final" or value <= 1))
    assume(column != "entropy" or (value <= 1) == (float(text) <= 1))
    assert validate(with_cell(captured(case), kind, row, column, repr(value))) == []
