"""The cells of two rows: how they are named, counted and compared, in rows of any width and dialect."""

import pytest

from spec.compare.cells import (
    cell_names,
    compare_cell,
    compare_rows,
    compare_width,
    count_cells,
    differing_cells,
)
from spec.compare.kinds import Kind
from spec.compare.recorder import Mismatch, Recorder
from spec.compare.tolerance import FP32
from spec.runs.columns import TOP_PAIRS
from spec.runs.csv_dialect import parse, parse_corrected
from spec.runs.places import Place, TableRow

FILE = "output-F-records.csv"
ROW = TableRow("pos", "orig", "3", "4")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(FILE, FP32)


def mismatch(column: str, expected: str, obtained: str, kind: Kind) -> Mismatch:
    return Mismatch(Place(FILE, ROW, column), expected, obtained, kind)


def listed(*pairs: tuple[str, str]) -> dict[str, tuple[str, str]]:
    """The cells of a top-k list, each written as it is."""
    return {
        f"{name}{i}": (text, text)
        for i, pair in enumerate(pairs, 1)
        for name, text in zip(("top", "prob"), pair, strict=True)
    }


@pytest.mark.parametrize(
    ("width", "names"),
    [(1, ["a"]), (2, ["a", "b"]), (3, ["a", "b", "#3"]), (4, ["a", "b", "#3", "#4"])],
)
def test_cells_beyond_the_header_are_named_by_their_number(width: int, names: list[str]) -> None:
    assert list(cell_names(parse("a,b\n"), width)) == names


def test_the_cells_of_rows_of_several_widths_are_counted_by_column(recorder: Recorder) -> None:
    count_cells(recorder, parse("a,b,c\n"), {2: 2, 3: 1}, {"b": 1})
    assert {s.column: s.compared for s in recorder.statistics} == {"a": 3, "b": 2, "c": 1}


def test_one_writing_with_two_meanings_in_two_dialects_differs() -> None:
    text = "x,y\n1,a\\\\b\n"
    written = r"a\\b"
    assert differing_cells(parse(text), parse_corrected(text), 0, 0) == {
        "y": ((r"a\b", written), (written, written))
    }


@pytest.mark.parametrize(
    ("surplus", "texts"),
    [
        ((0, 1), ("a cell a column", "+1 cells to the header")),
        ((-2, 0), ("-2 cells to the header", "a cell a column")),
        ((2, 2), None),
    ],
)
def test_a_row_of_another_width_is_described(
    surplus: tuple[int, int], texts: tuple[str, str] | None, recorder: Recorder
) -> None:
    compare_width(recorder, ROW, *surplus)
    assert recorder.mismatches == ([mismatch("", *texts, Kind.ROW_WIDTH)] if texts else [])


def test_a_number_in_quotes_in_an_unknown_column_has_a_tolerance(recorder: Recorder) -> None:
    compare_cell(recorder, ROW, "loss", ("1.5", '"1.5"'), ("1.50001", '"1.50001"'))
    assert recorder.mismatches == []
    compare_cell(recorder, ROW, "loss", ("1.5", '"1.5"'), ("1.6", '"1.6"'))
    assert recorder.mismatches == [mismatch("loss", "1.5", "1.6", Kind.VALUE)]


def test_quotes_of_either_side_alone_are_a_mismatch(recorder: Recorder) -> None:
    compare_cell(recorder, ROW, "token", ("x", '"x"'), ("x", "x"))
    compare_cell(recorder, ROW, "token", ("x", "x"), ("x", '"x"'))
    assert recorder.mismatches == [
        mismatch("token", '"x"', "x", Kind.QUOTING),
        mismatch("token", "x", '"x"', Kind.QUOTING),
    ]


def test_a_token_behind_the_last_pair_of_the_contract_is_a_text(recorder: Recorder) -> None:
    pairs = [(f"t{i}", repr(0.5**i)) for i in range(1, TOP_PAIRS + 2)]
    last = f"t{TOP_PAIRS + 1}"
    compare_rows(recorder, ROW, listed(*pairs), listed(*pairs[:-1], ("u", pairs[-1][1])))
    assert recorder.mismatches == [mismatch(f"top{TOP_PAIRS + 1}", last, "u", Kind.VALUE)]


def test_lists_of_two_lengths_are_compared_cell_by_cell(recorder: Recorder) -> None:
    expected, obtained = listed(("a", "0.5"), ("b", "0.25")), listed(("x", "0.5"), ("", ""))
    compare_rows(recorder, ROW, expected, obtained)
    assert recorder.mismatches == [
        mismatch("top1", "a", "x", Kind.VALUE),
        mismatch("top2", "b", "", Kind.ABSENT),
        mismatch("prob2", "0.25", "", Kind.ABSENT),
    ]
