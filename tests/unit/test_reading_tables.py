"""Texts of tables to rows: the dialects, pairs of token and probability, and columns that no field types."""

from typing import Any

import pytest

from lenses_min.core.rows import AnswerRow, RecordRow
from lenses_min.output import tables


def test_the_csv_module_s_dialect_is_strict_and_knows_all_line_ends() -> None:
    assert tables.split("a,b\r1,2\r\n3,4\n", True) == [["a", "b"], ["1", "2"], ["3", "4"]]
    with pytest.raises(ValueError, match=r"""^near row 2: ',' expected after '"'$"""):
        tables.split('a\n"b"c\n', True)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('a,b\r\n\\,"x\r\ny"\r\n\0,\x01\r\n', [["a", "b"], ["\\", "x\r\ny"], ["\0", "\x01"]]),
        ("a,b\r\n1,2\r3,4\r\n", [["a", "b"], ["1", "2"], ["3", "4"]]),
    ],
)
def test_a_table_of_june_is_in_the_csv_module_s_dialect(text: str, lines: list[list[str]]) -> None:
    """Its first line ends with CR LF."""
    assert tables.split(text, False) == lines


def test_a_carriage_return_at_the_end_of_a_reference_table_is_part_of_its_cell() -> None:
    assert tables.split("a,b\n\\\\\0,y\r\n", False) == [["a", "b"], ["\\\0", "y\r"]]


def test_a_record_needs_a_first_pair() -> None:
    columns = ["layer", "pos", "token", "entropy", "rest_mass"]
    assert tables.missing_columns(RecordRow, columns) == ["top1", "prob1"]
    assert tables.missing_columns(RecordRow, [*columns, "top1", "prob1"]) == []


def test_pairs_end_where_one_of_their_columns_is_missing() -> None:
    for lone in ("top2", "prob2"):
        columns = ["top1", "prob1", lone, "top3", "prob3"]
        assert tables.pair_columns(columns) == [("top1", "prob1")]


def test_pairs_of_a_table_without_a_top_are_further_columns() -> None:
    cells = {
        "prompt_id": "pos",
        "prompt_variant": "orig",
        "layer": "0",
        "lens": "norm",
        "answer": "Berlin",
        "n_tokens": "1",
        "p_joint": "0.5",
        "surprisal_bits": "1.0",
        "top1": " x",
        "prob1": "0.25",
    }
    columns, rows = tables.read_rows([[*cells], [*cells.values()]], AnswerRow)
    further = {"top1": " x", "prob1": 0.25}
    assert columns == [*cells]
    assert rows == [AnswerRow("pos", "orig", 0, "norm", "Berlin", 1, 0.5, 1.0, further=further)]


def test_a_token_without_a_probability_is_named() -> None:
    pairs: list[tuple[list[str], list[Any]]] = [
        ([" a", " b"], [0.5, 0.5]),
        (["", " c"], [None, None]),
    ]
    with pytest.raises(tables.CellError) as refused:
        tables.tops(pairs, 2)
    fault = "has no probability, or a pair stands behind one that is empty"
    assert str(refused.value) == f"row 3, column top2: ' c' {fault}"


def test_tokens_are_texts_whatever_they_look_like() -> None:
    lines = [["token", "answer", "n"], ["1", "2", "3"], ["4", "", "5"]]
    columns, rows = tables.read_rows(lines, None)
    assert columns == lines[0]
    assert rows == [
        {"token": "1", "answer": "2", "n": 3},
        {"token": "4", "answer": None, "n": 5},
    ]
