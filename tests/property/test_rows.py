"""Copy rule, summaries and files against a brute-force reading of their sentences."""

import csv
import dataclasses
import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lenses_min.core import milestones
from lenses_min.core.records import RowContext, is_run, rest_mass
from lenses_min.core.rows import PureRow
from lenses_min.core.tokens import Tokens
from lenses_min.core.types import Bos, Encoded, Gold
from lenses_min.output import csv_text, store
from lenses_min.output.run import Run
from lenses_min.prompts.suite import Prompt
from spec import oracle

from .strategies import TEXTS

PROBABILITIES = st.floats(0, 1, width=32)


@given(
    st.lists(st.integers(0, 4), max_size=6), st.integers(0, 4), TEXTS, PROBABILITIES, PROBABILITIES
)
@example([1, 2], 2, " x", 0.99, 0.001)
@example([1, 2], 3, " x", 0.99, 0.001)
@example([1, 2], 2, " .", 0.99, 0.001)
@example([1, 2], 2, " x", 0.96875, 0.90625)  # sure, but not clear
def test_copy_rule_equals_the_oracle(
    ids: list[int], top: int, text: str, p1: float, p2: float
) -> None:
    encoded = Encoded(
        Prompt("pos", "orig", "", ""), Gold("", (), (), "unknown"), (0,), tuple(ids), ()
    )
    context = RowContext(encoded, Tokens(None, Bos((), "none"), {top: text}), 0.95, 0.10)
    assert context.copies([top], [p1, p2]) == oracle.copy_collapse(
        [top], ids, (p1, p2), (0.95, 0.10), text
    )
    assert is_run([top], ids) == (top in ids)


@example([0.1] * 10)  # 0.9999999999999999; added exactly it would be 1
@given(st.lists(PROBABILITIES, max_size=20))
def test_rest_mass_is_the_sum_from_left_to_right(probs: list[float]) -> None:
    assert rest_mass(probs) == oracle.rest_mass(probs)


ROWS = st.lists(
    st.builds(
        PureRow,
        prompt_id=st.just("pos"),
        prompt_variant=st.just("orig"),
        layer=st.just(0),
        pos=st.just(1),
        token=TEXTS,
        entropy=st.floats(0, 20, width=32),
        top=st.lists(st.tuples(TEXTS, PROBABILITIES), min_size=1, max_size=20).map(tuple),
        rest_mass=st.floats(0, 1),
        copy_collapse=st.booleans(),
        entropy_collapse=st.booleans(),
        is_answer=st.booleans(),
        p_top1=PROBABILITIES,
        p_top5=PROBABILITIES,
        p_answer=st.none() | PROBABILITIES,
        kl_to_final_bits=st.floats(0, 2),
        answer_rank=st.none() | st.integers(1, 20),
        cos_to_final=st.floats(-1, 1, width=32),
        control_margin=st.none() | st.floats(-1, 1),
    ),
    min_size=1,
    max_size=5,
).map(lambda rows: [dataclasses.replace(row, layer=i) for i, row in enumerate(rows)])


@given(ROWS)
def test_milestones_are_a_scan_of_the_rows(rows: list[PureRow]) -> None:
    result = milestones.milestones(rows)
    expected = {
        "L_copy": oracle.first_layer([r.copy_collapse for r in rows], bool),
        "L_copy_H": oracle.first_layer([r.entropy_collapse for r in rows], bool),
        "L_semantic": oracle.first_layer([r.is_answer for r in rows], bool),
        "first_kl_below_0.5": oracle.first_layer(
            [r.kl_to_final_bits for r in rows], lambda v: v <= 0.5
        ),
        "first_kl_below_1.0": oracle.first_layer(
            [r.kl_to_final_bits for r in rows], lambda v: v <= 1.0
        ),
        "first_rank_le_1": oracle.first_layer([r.answer_rank for r in rows], lambda v: v <= 1),
        "first_rank_le_5": oracle.first_layer([r.answer_rank for r in rows], lambda v: v <= 5),
        "first_rank_le_10": oracle.first_layer([r.answer_rank for r in rows], lambda v: v <= 10),
    }
    semantic, copy = expected["L_semantic"], expected["L_copy"]
    expected["delta_layers"] = None if semantic is None or copy is None else semantic - copy
    assert result == expected
    margins = [r.control_margin for r in rows]
    summary = milestones.control_summary(rows)
    assert summary["first_control_margin_pos"] == oracle.first_layer(margins, lambda v: v > 0)
    assert summary["max_control_margin"] == max((m for m in margins if m is not None), default=None)


def parse(text: str) -> list[list[str]]:
    """The dialect as its sentence says: quotes, doubled quotes and backslashes, ends of line outside quotes."""
    lines: list[list[str]] = []
    row: list[str] = []
    cell, quoted = "", False
    i = 0
    while i < len(text):
        c = text[i]
        pair = text[i : i + 2]
        if pair in ("\\\\", '""') and (c == "\\" or quoted):
            cell, i = cell + c, i + 1
        elif c == '"':
            quoted = not quoted
        elif c == "," and not quoted:
            row, cell = [*row, cell], ""
        elif c == "\n" and not quoted:
            lines, row, cell = [*lines, [*row, cell]], [], ""
        else:
            cell += c
        i += 1
    return lines


@given(ROWS)
def test_csv_round_trips_any_token(rows: list[PureRow]) -> None:
    text = csv_text.csv_text(rows, store.PURE_COLUMNS)
    header, *lines = parse(text)
    assert header == store.PURE_COLUMNS
    for row, line in zip(rows, lines, strict=True):
        expected = [
            "" if value is None else str(value) for value in store.cells(row, store.PURE_COLUMNS)
        ]
        assert line == expected
        floats = [
            value for value in store.cells(row, store.PURE_COLUMNS) if isinstance(value, float)
        ]
        assert [float(repr(value)) for value in floats] == floats


@given(st.lists(TEXTS.filter(lambda t: not set(t) & set("\\\r")), min_size=1, max_size=5))
def test_the_csv_module_reads_what_it_would_have_written(tokens: list[str]) -> None:
    """All tokens but the two kinds of R5."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n", escapechar="\\", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(["first", *tokens])
    assert ",".join(map(csv_text.csv_cell, ["first", *tokens])) + "\n" == stream.getvalue()


@pytest.mark.parametrize(
    ("token", "cell"),
    [("\\", "\\\\"), ("\r", "\r"), ('"', '""""'), ("\n", '"\n"'), ("a\\,", '"a\\\\,"')],
)
def test_the_dialect_by_example(token: str, cell: str) -> None:
    assert csv_text.csv_cell(token) == cell


@pytest.mark.parametrize(
    ("token", "cell"), [("\ud800x", '"\\ud800x"'), ("\r", '"\\r"'), ("ä\u2028", "ä\u2028")]
)
def test_what_a_reader_would_change_is_a_json_string(token: str, cell: str) -> None:
    """Half a surrogate pair, which UTF-8 cannot write, and control characters."""
    assert csv_text.plain(token) == cell


@given(TEXTS, st.floats(allow_nan=False, allow_infinity=False))
def test_json_round_trips_any_token(token: str, value: float) -> None:
    assert json.loads(store.json_text({"topk": [[token, value]]})) == {"topk": [[token, value]]}


def test_frames_have_the_columns_of_the_files(fact_run: Run) -> None:
    for table, columns in (("records", store.RECORD_COLUMNS), ("pure", store.PURE_COLUMNS)):
        frame = fact_run.frame(table)
        assert isinstance(frame, pd.DataFrame)
        assert list(frame.columns) == columns
    assert np.isclose(fact_run.frame("pure")["p_top1"].iloc[-1], 0.958607017993927, rtol=1e-4)
    with pytest.raises(KeyError, match="no table 'rows' of lens 'norm'; tables: records, pure"):
        fact_run.frame("rows")
