"""The bounds of a comparison: the last value that passes, the first that does not, and the verdicts that follow."""

from math import inf, nan, nextafter
from typing import Any

import pytest

from spec.compare.classify import passes_hint
from spec.compare.kinds import Kind
from spec.compare.recorder import Comparison, Mismatch, Recorder, Tally, judge
from spec.compare.thresholds import Threshold
from spec.compare.tolerance import BF16, BF16_WIDE, FP32, Bound, Tolerance
from spec.compare.verdicts import (
    BROKEN,
    CHANGED,
    EQUAL,
    EXTENDED,
    EXTRA,
    IDENTICAL,
    MISSING,
    NOT_UNDERSTOOD,
    exit_status,
    of_kinds,
    worst,
)
from spec.runs import columns
from spec.runs.places import Place, TableRow

HALF = Tolerance("half", Bound(0.0, 0.5), rank_slack=0.25)


@pytest.mark.parametrize(
    ("expected", "obtained", "what", "verdict"),
    [
        ("1.0", "1.0", columns.KL, (None, 0.0, 0.0)),
        ("1.0", "1.5", columns.KL, (None, 0.5, 1.0)),
        ("1.5", "1.0", columns.KL, (None, 0.5, 1.0)),
        ("1.0", "1.75", columns.KL, (Kind.VALUE, 0.75, 1.5)),
        ("1.0", "1.25", "float", (None, 0.25, 0.5)),
        ("1.0", "", columns.KL, (Kind.ABSENT, 0.0, 0.0)),
        ("", "1.0", columns.KL, (Kind.ABSENT, 0.0, 0.0)),
        ("a", "b", columns.TEXT, (Kind.VALUE, 0.0, 0.0)),
        ("True", "False", columns.FLAG, (Kind.VALUE, 0.0, 0.0)),
        ("1", "1.0", columns.INTEGER, (Kind.FORMAT, 0.0, 0.0)),
        ("1.0", "1", columns.INTEGER, (Kind.VALUE, 0.0, 0.0)),
        ("1.0", "one", columns.KL, (Kind.FORMAT, 0.0, 0.0)),
        ("one", "1.0", columns.KL, (Kind.VALUE, 0.0, 0.0)),
        ("3", "4", columns.INTEGER, (Kind.VALUE, 1.0, inf)),
        ("12", "13", columns.INTEGER, (Kind.VALUE, 1.0, inf)),
        ("3", "4", columns.RANK, (Kind.VALUE, 1.0, inf)),
        ("12", "9", columns.RANK, (None, 3.0, 1.0)),
        ("12", "16", columns.RANK, (Kind.VALUE, 4.0, 4 / 3)),
        ("inf", "1.0", columns.KL, (Kind.VALUE, inf, inf)),
        ("1.0", "inf", columns.KL, (Kind.VALUE, inf, inf)),
        ("nan", "1.0", columns.KL, (Kind.VALUE, inf, inf)),
    ],
)
def test_two_written_values(
    expected: str, obtained: str, what: str, verdict: tuple[Kind | None, float, float]
) -> None:
    assert judge(expected, obtained, what, HALF) == verdict


@pytest.mark.parametrize(
    ("bound", "size", "allowed"),
    [
        (Bound(0.5, 0.25), 2.0, 1.25),
        (Bound(0.5, 0.25), -2.0, 1.25),
        (Bound(0.5, 0.25), 0.0, 0.25),
        (Bound(0.5, 0.25, saturates=True), 0.5, 0.375),
        (Bound(0.5, 0.25, saturates=True), 1.0, 0.25),
        (Bound(0.5, 0.25, saturates=True), 3.0, 0.25),
        (Bound(0.5, 0.25).times(2), 2.0, 2.5),
        (Bound(0.0, 0.0), 5.0, 0.0),
    ],
)
def test_what_a_bound_allows(bound: Bound, size: float, allowed: float) -> None:
    assert bound.allowed(size) == allowed


@pytest.mark.parametrize("number", [inf, nan, -1.0])
def test_a_bound_is_finite(number: float) -> None:
    for numbers in ((number, 0.0), (0.0, number)):
        with pytest.raises(ValueError, match="use 0 for exact"):
            Bound(*numbers)


def test_shares_of_what_is_allowed() -> None:
    tolerance = Tolerance("x", Bound(0.5, 0.0), {columns.ENTROPY: Bound(0.0, 0.25)})
    assert tolerance.fraction(columns.KL, 2.0, 3.0) == 1.0
    assert tolerance.fraction(columns.KL, -2.0, -3.0) == 1.0
    assert tolerance.fraction(columns.KL, 2.0, 3.0, scale=4.0) == 0.5
    assert tolerance.fraction(columns.KL, 2.0, 3.0, scale=1.0) == 1.0
    assert tolerance.fraction(columns.KL, 0.0, 1.0) == inf
    assert tolerance.fraction(columns.KL, 0.0, 0.0) == 0.0
    assert tolerance.fraction(columns.KL, inf, inf) == 0.0
    assert tolerance.fraction(columns.ENTROPY, 2.0, 2.125) == 0.5
    assert tolerance.ties(columns.KL, 2.0, 3.0)
    assert tolerance.ties(columns.KL, 2.0, 4.0)
    assert tolerance.ties(columns.KL, 4.0, 2.0)
    assert not tolerance.ties(columns.KL, 2.0, 4.5)


@pytest.mark.parametrize(
    ("tolerance", "quantity", "expected", "allowed"),
    [
        (FP32, columns.KL, 2.0, 2.02e-4),
        (BF16, columns.PROBABILITY, 0.5, 0.05001),
        (BF16, columns.REST, 0.5, 0.0501),
        (BF16, columns.MARGIN, 0.5, 0.051),
        (BF16, columns.ENTROPY, 2.0, 0.15),
        (BF16, columns.KL, 2.0, 0.09),
        (BF16, columns.COSINE, 0.5, 0.02),
        (BF16, columns.TEMPERATURE, 2.0, 0.44),
        (BF16, columns.RESIDUAL, 2.0, 0.08125),
        (BF16, "float", 2.0, 0.101),
        (BF16_WIDE, columns.PROBABILITY, 0.5, 0.10001),
        (BF16_WIDE, columns.REST, 0.5, 0.1001),
        (BF16_WIDE, columns.ENTROPY, 2.0, 0.2),
    ],
)
def test_the_classes(tolerance: Tolerance, quantity: str, expected: float, allowed: float) -> None:
    assert tolerance.allowed(quantity, expected) == pytest.approx(allowed, rel=1e-9)


@pytest.mark.parametrize(
    ("slack", "tail", "rank", "moves"),
    [
        (0.0, 0.5, 99, 0),
        (0.25, 0.0, 5, 0),
        (0.25, 0.0, 6, 1),
        (0.1, 0.0, 6, 1),
        (0.25, 0.0, 12, 3),
        (0.25, 0.5, 12, 6),
        (0.25, 0.5, 40, 10),
    ],
)
def test_how_far_a_rank_moves(slack: float, tail: float, rank: int, moves: int) -> None:
    tolerance = Tolerance("x", Bound(0.0, 0.0), rank_slack=slack, tail_slack=tail)
    assert tolerance.rank_moves(rank) == moves


def test_the_worst_value_of_a_column_is_kept() -> None:
    first, second, third = (Place("x.csv", TableRow("p", "v", layer)) for layer in "012")
    tally = Tally()
    tally.add(first, 0.0, 0.0, same=True)
    assert tally == Tally(1, 0, 0.0, 0.0, None)
    tally.add(second, 1.0, 0.5, same=False)
    tally.add(third, 0.5, 0.5, same=False)
    assert tally == Tally(3, 2, 1.0, 0.5, second)
    tally.add(third, 2.0, 0.5, same=False)
    tally.add(first, 3.0, 0.25, same=False)
    assert tally == Tally(5, 4, 3.0, 0.5, third)
    statistic = tally.statistic("x.csv", "kl")
    assert (statistic.file, statistic.column) == ("x.csv", "kl")
    assert statistic.worst_row == "p/v layer 2"
    recorder = Recorder("x.csv", FP32)
    recorder.equal("kl", 4)
    recorder.equal("kl")
    assert [(s.compared, s.differing, s.worst_row) for s in recorder.statistics] == [(5, 0, "")]


def test_verdicts_by_kind() -> None:
    assert of_kinds([], same=True) == IDENTICAL
    assert of_kinds([], same=False) == EQUAL
    assert of_kinds([Kind.VALUE], same=False) == CHANGED
    for kind in (Kind.EXTRA_FILE, Kind.EXTRA_COLUMN, Kind.EXTRA_KEY, Kind.FURTHER_PASS):
        assert of_kinds([kind], same=False) == EXTENDED
        assert of_kinds([kind, Kind.VALUE], same=False) == CHANGED
        assert of_kinds([kind, Kind.OBTAINED_RUN], same=False) == BROKEN
    assert of_kinds([Kind.EXPECTED_RUN], same=True) == BROKEN


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([], IDENTICAL),
        ([IDENTICAL, NOT_UNDERSTOOD], IDENTICAL),
        ([IDENTICAL, EQUAL], EQUAL),
        ([EQUAL, EXTENDED], EXTENDED),
        ([EQUAL, EXTRA], EXTENDED),
        ([EXTRA, MISSING], CHANGED),
        ([EXTENDED, CHANGED], CHANGED),
        ([CHANGED, BROKEN], BROKEN),
    ],
)
def test_the_worst_verdict(parts: list[str], verdict: str) -> None:
    assert worst(parts) == verdict
    assert worst(reversed(parts)) == verdict


def test_exit_statuses() -> None:
    verdicts = IDENTICAL, EQUAL, EXTENDED, CHANGED, BROKEN
    assert [exit_status(verdict, allow_extended=False) for verdict in verdicts] == [0, 0, 3, 1, 1]
    assert [exit_status(verdict, allow_extended=True) for verdict in verdicts] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("passes", "sentence"),
    [
        ([], ""),
        (["pos/orig"], "in pos/orig only"),
        (["pos/orig", "ctl/orig"], "in pos/orig, ctl/orig only"),
        (["ctl/orig", "pos/orig", "pos/no_filler"], "in all three passes"),
        (["ctl/orig", "pos/orig", "be/orig"], "in 3 passes"),
        (["a/b", "c/d", "e/f", "g/h"], "in 4 passes"),
    ],
)
def test_which_passes_a_class_touches(passes: list[str], sentence: str) -> None:
    assert passes_hint(passes) == sentence


def test_a_number_near_a_threshold() -> None:
    at_most, over = Threshold(("p", "v"), "entropy", 1.0), Threshold(("p", "v"), "kl", 0.0, True)
    assert [at_most.holds(x) for x in (0.5, 1.0, nextafter(1.0, 2))] == [True, True, False]
    assert [over.holds(x) for x in (-1.0, 0.0, nextafter(0.0, 1))] == [False, False, True]
    assert at_most.near(1.5, HALF)
    assert at_most.near(0.5, HALF)
    assert not at_most.near(1.501, HALF)
    assert not at_most.near(0.499, HALF)


@pytest.mark.parametrize("name", ["rank_slack", "tail_slack"])
def test_a_slack_is_a_share(name: str) -> None:
    def of(share: float) -> Tolerance:
        slack: dict[str, Any] = {name: share}
        return Tolerance("x", Bound(0.0, 0.0), **slack)

    for share in (1.0, -0.1):
        with pytest.raises(ValueError, match=rf"{name} is a share in \[0, 1\), got {share}"):
            of(share)
    assert of(0.999)


def test_counts_of_values_cannot_be_changed() -> None:
    counted = {"a": 1}
    values: Any = Comparison((), (), counted).values
    counted["a"] = 2
    assert dict(values) == {"a": 1}
    with pytest.raises(TypeError):
        values["a"] = 3


def test_a_count_of_values_is_no_negative_number() -> None:
    assert Comparison((), (), {"a": 0}).compared == 0
    sentence = r"counts of values are ≥ 0, got \{'a': 1, 'b': -1\}; count what was compared"
    with pytest.raises(ValueError, match=sentence):
        Comparison((), (), {"a": 1, "b": -1})


def test_a_mismatch_has_one_of_the_kinds() -> None:
    kind: Any = "value"
    assert Mismatch(Place(), "1", "2", kind).kind is Kind.VALUE
