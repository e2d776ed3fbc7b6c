"""What a diff keeps of each value, and its columns and layers, of recorders that are filled by hand."""

from math import inf, nan
from sys import float_info

import pytest

from spec.compare.diff_columns import (
    ColumnDiff,
    Entry,
    FirstDivergence,
    Note,
    PassLayer,
    ValueRecorder,
    column_diff,
    column_diffs,
    first_divergences,
    located,
    median_of,
)
from spec.compare.kinds import Kind
from spec.compare.recorder import Mismatch, Statistic
from spec.compare.tolerance import FP32
from spec.runs.columns import TEXT
from spec.runs.places import NamedRow, Place, TableRow

TABLE = "pure-next-token"
FILE = f"output-F-{TABLE}.csv"


def row(layer: int | str, name: str = "pos/orig") -> TableRow:
    prompt, variant = name.split("/")
    return TableRow(prompt, variant, str(layer), "4")


def place(layer: int, column: str, name: str = "pos/orig") -> Place:
    return Place(FILE, row(layer, name), column)


def mismatch(layer: int, column: str, kind: Kind = Kind.VALUE) -> Mismatch:
    return Mismatch(place(layer, column), "a", "b", kind)


@pytest.fixture
def recorder() -> ValueRecorder:
    return ValueRecorder(FILE, FP32)


def test_every_value_that_differs_is_stored_and_every_value_counted(
    recorder: ValueRecorder,
) -> None:
    places = [place(layer, "entropy") for layer in range(3)]
    recorder.tally(places[0], "entropy")
    recorder.tally(places[1], "entropy", 0.5, 0.25, False)
    recorder.tally(places[2], "entropy", same=False)
    assert recorder.entries == [
        Entry(places[1], "entropy", 0.5, 0.25, False),
        Entry(places[2], "entropy", 0.0, 0.0, False),
    ]
    assert recorder.statistics == [Statistic(FILE, "entropy", 3, 2, 0.5, 0.25, places[1])]


def test_passes_are_those_of_rows_with_a_layer(recorder: ValueRecorder) -> None:
    named = NamedRow((("prompt_id", "x"), ("prompt_variant", "y"), ("layer", "3")))
    recorder.compared_rows([row(0), row("last", "pos/no_filler"), named])
    recorder.compared_rows([row(1, "ctl/orig")])
    assert list(recorder.passes) == [(TABLE, "pos/orig"), (TABLE, "ctl/orig")]
    assert list(ValueRecorder("F_07_resid.pt", FP32).passes) == [("residual", "pos/orig")]


def test_an_undemanded_value_is_noted_where_it_differs(recorder: ValueRecorder) -> None:
    path = ("model_stats", "n_ctx")
    recorder.undemanded(path, "8", "8")
    recorder.undemanded(path, "8", "16")
    assert recorder.notes == [Note(FILE, path, "8", "16")]


def test_a_column_of_numbers() -> None:
    """A share of 1 is within the tolerance."""
    entries = [
        Entry(place(3, "prob1"), "prob1", 0.25, 1.0, False),
        Entry(place(2, "prob2"), "prob2", 0.5, 1.5, False),
        Entry(place(1, "prob1"), "prob1", 0.0, 0.0, False),
    ]
    worst = place(2, "prob2")
    expected = ColumnDiff("x: prob*", 4, 3, 1, 0.125, 0.5, 1.5, worst, 2)
    assert column_diff("x: prob*", 4, entries, []) == expected


def test_a_column_without_a_number_has_its_first_mismatch_as_its_worst_place() -> None:
    first = place(4, "top1")
    texts = [Entry(place(6, "top1"), "top1", 0.0, 0.0, False)]
    mismatches = [mismatch(4, "top1"), mismatch(3, "top1")]
    expected = ColumnDiff("x: top*", 5, 1, 2, 0.0, 0.0, 0.0, first, 3)
    assert column_diff("x: top*", 5, texts, mismatches) == expected


def test_a_column_of_another_writing_differs() -> None:
    column = column_diff("x: token", 5, [], [mismatch(4, "token", Kind.QUOTING)])
    assert column == ColumnDiff("x: token", 5, 0, 1, 0.0, 0.0, 0.0, place(4, "token"), 4)
    assert column.differs
    assert column.worst_row == "pos/orig layer 4 pos 4"


def test_a_column_of_equal_values_has_no_worst_row() -> None:
    column = column_diff("x: token", 5, [], [])
    assert column == ColumnDiff("x: token", 5, 0, 0, 0.0, 0.0, 0.0, None, None)
    assert not column.differs
    assert column.worst_row == ""


@pytest.mark.parametrize(
    ("errors", "compared", "middle"),
    [([4.0, 1.0], 4, 0.5), ([4.0], 3, 0.0), ([4.0, 1.0], 3, 1.0), ([], 2, 0.0)],
)
def test_the_median_of_errors(errors: list[float], compared: int, middle: float) -> None:
    assert median_of(errors, compared) == middle


def test_the_median_is_0_where_most_values_are_equal_and_some_errors_are_no_number() -> None:
    assert median_of([nan, 1.0] * 3, 14) == 0


def test_columns_come_by_what_is_beyond_and_then_by_their_worst_share(
    recorder: ValueRecorder,
) -> None:
    recorder.tally(place(0, "prob1"), "prob1")
    recorder.tally(place(0, "prob2"), "prob2", 0.5, 0.25, False)
    recorder.tally(place(0, "entropy"), "entropy", 0.25, 0.5, False)
    recorder.value(place(0, "top1"), "top1", "a", "b", TEXT)
    columns = column_diffs([recorder], recorder.mismatches)
    assert [(c.name, c.compared, c.beyond, c.worst_fraction) for c in columns] == [
        (f"{TABLE}: top*", 1, 1, 0.0),
        (f"{TABLE}: entropy", 1, 0, 0.5),
        (f"{TABLE}: prob*", 2, 0, 0.25),
    ]


def test_the_share_of_a_text_is_the_least_or_without_end(recorder: ValueRecorder) -> None:
    """A text that a tie explains has the least share, one of another value 1, any other mismatch no end."""
    recorder.tally(place(1, "prob3"), "prob3", 0.5, 0.25, False)
    recorder.tally(place(2, "top1"), "top1", same=False)
    recorder.tally(Place(FILE), "row order", same=False)
    whole_row = Mismatch(Place(FILE, row(4)), "row", "", Kind.MISSING_ROW)
    mismatches = [mismatch(2, "token"), mismatch(3, "top2", Kind.TOPK_TOKEN), whole_row]
    assert list(located([recorder], mismatches)) == [
        (PassLayer(TABLE, "pos/orig", 1), "prob*", 0.25),
        (PassLayer(TABLE, "pos/orig", 2), "top*", float_info.min),
        (PassLayer(TABLE, "pos/orig", 2), "token", 1.0),
        (PassLayer(TABLE, "pos/orig", 3), "top*", inf),
    ]


def test_where_each_pass_begins_to_differ(recorder: ValueRecorder) -> None:
    """A share of 1 is within the tolerance, a greater one and a mismatched text are beyond it."""
    within, equal, text, beyond = "pos/orig", "pos/no_filler", "ctl/orig", "a/orig"
    recorder.compared_rows([row(0, name) for name in (within, equal, text, beyond)])
    recorder.tally(place(1, "entropy", within), "entropy", 0.5, 1.0, False)
    recorder.tally(place(2, "kl", within), "kl", 0.5, 0.5, False)
    recorder.tally(place(0, "entropy", text), "entropy", 0.5, 0.5, False)
    recorder.tally(place(3, "entropy", text), "entropy", 0.5, 0.5, False)
    recorder.value(place(3, "top1", text), "top1", "a", "b", TEXT)
    recorder.tally(place(2, "entropy", beyond), "entropy", 0.5, 1.5, False)
    assert first_divergences([recorder], recorder.mismatches) == [
        FirstDivergence(TABLE, within, 1, None, "entropy"),
        FirstDivergence(TABLE, equal, None, None, ""),
        FirstDivergence(TABLE, text, 0, 3, "top*"),
        FirstDivergence(TABLE, beyond, 2, 2, "entropy"),
    ]
