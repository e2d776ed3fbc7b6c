"""Top-k lists: listed tokens that tie may swap, nothing else may."""

from typing import Any

import pytest
from changing import captured, only, with_cell, with_leaf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spec.compare.cells import listed_pairs
from spec.compare.runs import compare
from spec.compare.tolerance import FP32
from spec.compare.topk import labels, order_faults
from spec.runs import columns
from spec.runs.run import PURE


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
    assert (
        order_faults("abcde", [0.4, 0.39999, 0.1, 0.05, 0.049999], obtained, ties, open_end=True)
        == faults
    )


def test_tokens_of_one_text_are_distinguished_by_order() -> None:
    assert order_faults("��a", [0.5, 0.3, 0.1], "��a", ties) == []
    assert order_faults("��a", [0.5, 0.3, 0.1], "�a�", ties) == [1, 2]
    assert order_faults("��a", [0.5, 0.3, 0.1], "x�a", ties) == [0]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([0.3, 0.2, 0.1, 0.0999999, 0.05]), min_size=1, max_size=6), st.data()
)
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
    compared = compare(base, tied, FP32)
    assert compared.matches
    counts = {
        s.column: (s.compared, s.differing)
        for s in compared.statistics
        if s.file == run.table_name(PURE)
    }
    rows = len(table.rows)
    assert counts["top3"] == counts["top4"] == (rows, 1)
    assert counts["top2"] == (rows, 0)
    result = compare(
        run, with_cell(with_cell(run, PURE, 0, "top3", "as"), PURE, 0, "top4", " text"), FP32
    )
    assert [(m.place.column_text, m.kind) for m in result.mismatches] == [
        ("top3", "top-k order"),
        ("top4", "top-k order"),
    ]


def test_a_tie_swaps_in_a_list_of_a_document() -> None:
    run = captured("rms-rope")
    path = ("test_prompts", 3, "topk")
    pairs = [["a", 0.5], ["b", 0.25], ["c", 0.25], *[[f"t{i}", 2.0**-i] for i in range(3, 10)]]
    base = with_leaf(run, path, pairs)
    assert compare(
        base, with_leaf(run, path, [pairs[i] for i in (0, 2, 1, *range(3, 10))]), FP32
    ).matches
    swapped = [["b", 0.5], ["a", 0.25], *pairs[2:]]
    assert [
        (m.place.column_text, m.kind)
        for m in compare(base, with_leaf(run, path, swapped), FP32).mismatches
    ] == [("token", "top-k order")] * 2


def test_listed_pairs_are_decoded_texts() -> None:
    cells = {"top1": ("a", '"a"'), "prob1": ("0.5", '"0.5"'), "top2": ("", ""), "prob2": ("", "")}
    assert listed_pairs(cells) == [("a", "0.5")]
    assert listed_pairs({"prob2": ("0.5", "0.5")}) == [("", ""), ("", "0.5")]
    assert listed_pairs({}) == []


def test_a_strange_token_in_a_json_list_is_reported() -> None:
    run = captured("rms-rope")
    other = with_leaf(run, ("test_prompts", 3, "topk", 1, 0), "strange")
    assert only(compare(run, other, FP32))[1:] == (
        "test_prompts[3].topk[1]",
        "token",
        "top-k token",
    )


def tied(a: float, b: float) -> bool:
    return abs(a - b) <= 0.125


@pytest.mark.parametrize(
    ("obtained", "open_end", "faults"),
    [
        ("abcd", False, []),
        ("bacd", False, [0, 1]),
        ("acbd", False, []),
        ("abdc", False, []),
        ("dbca", False, [0, 3]),
        ("abcx", False, [3]),
        ("abcx", True, []),
        ("abxd", True, []),
        ("axcd", True, [1]),
        ("xbcd", True, [0]),
        ("abxc", True, []),
        ("abxc", False, [2, 3]),
    ],
)
def test_tokens_of_a_list_that_tie(obtained: str, open_end: bool, faults: list[int]) -> None:
    probabilities = [0.5, 0.25, 0.125, 0.0625]
    assert order_faults("abcd", probabilities, obtained, tied, open_end) == faults


def test_tokens_of_one_text_by_their_order() -> None:
    assert labels(["a", "b", "a", "a"], [0, 2, 3]) == {("a", 0): 0, ("a", 1): 2, ("a", 2): 3}
