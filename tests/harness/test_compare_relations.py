"""What relates values that differ: a factor, an offset, a neighbour, another pass, another order; how many it takes."""

from math import inf, log, nextafter, tanh
from typing import Any

import pytest

from spec.compare import relations
from spec.compare.precisions import decimals
from spec.compare.relations import (
    Value,
    cap_of_logits,
    factor,
    holds,
    log_rows,
    neighbour,
    offset,
    other_pass,
    reordered,
    swapped,
)
from spec.runs.places import TableRow


def at(layer: int, expected: float, obtained: float, name: str = "pos") -> Value:
    return Value(TableRow(name, "orig", str(layer), "4"), expected, obtained)


def by(function: Any, *numbers: float) -> list[Value]:
    return [at(layer, number, function(number)) for layer, number in enumerate(numbers)]


def test_a_factor_near_one_is_none() -> None:
    assert factor(by(lambda x: x * 1.0019, 1.0, 2.0, 3.0)) == ""
    assert factor(by(lambda x: x * 1.0021, 1.0, 2.0, 3.0)).startswith(
        "obtained / expected = 1.0021"
    )
    assert factor(by(lambda x: x * 0.9979, 1.0, 2.0, 3.0)).startswith(
        "obtained / expected = 0.9979"
    )
    assert factor([*by(lambda x: 2 * x, 1.0, 2.0, 3.0), at(4, 0.0, 0.0)]) == ""
    assert factor([*by(lambda x: 2 * x, 1.0, 2.0, 3.0), at(4, 4.0, 8.008)]) != ""
    assert factor([*by(lambda x: 2 * x, 1.0, 2.0, 3.0), at(4, 4.0, 8.012)]) == ""
    assert factor(by(lambda x: inf, 1.0, 2.0, 3.0)) == ""
    assert factor(by(lambda x: x / 100, 1.0, 2.0, 3.0)) == (
        "obtained / expected = 0.01 in every one of them = 1 / 100 (a share where percent belong?)"
    )
    assert factor(by(lambda x: x * 1.442695, 1.0, 2.0, 3.0)) == (
        "obtained / expected = 1.4427 in every one of them = 1 / ln 2 (bits where nats belong?)"
    )


def test_an_offset_is_one_number() -> None:
    sentence = "obtained − expected = +0.5 in every one of them"
    assert offset(by(lambda x: x + 0.5, 1.0, 2.0, 3.0)) == sentence
    assert offset([*by(lambda x: x + 0.5, 1.0, 2.0, 3.0), at(4, 4.0, 4.5004)]) == sentence
    assert offset([*by(lambda x: x + 0.5, 1.0, 2.0, 3.0), at(4, 4.0, 4.5006)]) == ""
    assert offset(by(lambda x: x, 1.0, 2.0, 3.0)) == ""
    assert offset(by(lambda x: inf, 1.0, 2.0, 3.0)) == ""
    assert offset(by(lambda x: x + 0.5, 1.0, 2.0, 2.0)) == ""


def test_three_neighbours_of_half_of_the_values_are_needed() -> None:
    sentence = "obtained of a layer = expected of the next one: off by one layer?"
    shifted = [at(layer, layer + 0.5, layer + 1.5) for layer in range(4)]
    assert neighbour(shifted) == sentence
    assert neighbour(shifted[:3]) == ""
    alone = [Value(None, 1.0, 2.0)] * 3
    assert neighbour([*shifted[:4], *alone[:2]]) == sentence
    assert neighbour([*shifted[:4], *alone]) == ""


def test_three_layers_of_another_pass_are_needed() -> None:
    values = [at(layer, layer + 0.5, layer * 2.0) for layer in range(3)]
    values += [at(layer, layer * 2.0, 9.0, "ctl") for layer in range(3)]
    assert other_pass(values) == "obtained of pos/orig = expected of ctl/orig"
    assert other_pass(values[:-1]) == ""
    assert other_pass([v for v in values if v.row and v.row.layer_index]) == ""


def test_three_numbers_are_needed_to_be_reordered() -> None:
    sentence = "the same numbers at other places: sorted otherwise?"
    assert reordered([at(0, 1.0, 2.0), at(1, 2.0, 3.0), at(2, 3.0, 1.0)]) == sentence
    assert reordered([at(0, 1.0, 2.0), at(1, 2.0, 1.0)]) == ""
    assert reordered([at(0, 1.0, 2.0), at(1, 2.0, 3.0), at(2, 3.0, 2.0)]) == ""


def test_the_middle_one_of_several_numbers_is_named() -> None:
    ratios = (2.0, 2.0001, 2.0002, 2.0003)
    values = [at(layer, layer + 1.0, (layer + 1) * ratio) for layer, ratio in enumerate(ratios)]
    assert factor(values) == "obtained / expected = 2.0002 in every one of them"
    differences = (0.5, 0.5001, 0.5002, 0.5003)
    values = [at(layer, float(layer), layer + added) for layer, added in enumerate(differences)]
    assert offset(values) == "obtained − expected = +0.5002 in every one of them"


def capped(*logits: float) -> list[Value]:
    return by(lambda x: 30 * tanh(x / 30), *logits)


CAPPED = capped(6.0, 12.0, 30.0, 60.0)


def test_a_cap_of_logits_is_fitted_to_all_of_them() -> None:
    assert cap_of_logits(CAPPED) == pytest.approx(30.0, rel=1e-9)
    assert cap_of_logits(CAPPED[:3]) is None
    too_small_to_change = at(4, 1e-6, 1e-6)
    assert cap_of_logits([*CAPPED, too_small_to_change]) == pytest.approx(30.0, rel=1e-9)


@pytest.mark.parametrize(
    ("expected", "obtained"), [(90.0, 0.0), (90.0, -30.0), (1.0, 1.0005), (0.0, 0.0), (12.0, 11.0)]
)
def test_one_number_that_no_cap_explains_refutes_it(expected: float, obtained: float) -> None:
    assert cap_of_logits([*CAPPED, at(4, expected, obtained)]) is None


def test_a_cap_of_logits_needs_a_change_that_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = [value.obtained / value.expected for value in CAPPED]
    monkeypatch.setattr(relations, "VISIBLE", max(ratios) - min(ratios))
    assert cap_of_logits(CAPPED) == pytest.approx(30.0, rel=1e-9)
    monkeypatch.setattr(relations, "VISIBLE", nextafter(max(ratios) - min(ratios), inf))
    assert cap_of_logits(CAPPED) is None


def test_the_logarithms_of_probabilities_by_distribution() -> None:
    values = [Value(None, 1.0, 0.5, "a"), Value(None, 0.25, 1.0, "a"), Value(None, 0.5, 0.5, "b")]
    assert log_rows(values) == [[(0.0, log(0.5)), (log(0.25), 0.0)], [(log(0.5), log(0.5))]]
    for number in (1.5, 0.0, -0.5):
        assert log_rows([*values, Value(None, number, 0.5, "b")]) == []
        assert log_rows([*values, Value(None, 0.5, number, "b")]) == []
    assert log_rows([*values, Value(None, 0.5, 0.5)]) == []


def test_three_rows_show_that_columns_are_swapped() -> None:
    a = {layer: at(layer, layer + 1.0, layer + 5.0) for layer in range(3)}
    b = {layer: at(layer, layer + 5.0, layer + 1.0) for layer in range(3)}
    assert swapped(a, b)
    assert not swapped({i: a[i] for i in (0, 1)}, {i: b[i] for i in (0, 1)})
    assert not swapped(a, {i: b[i] for i in (0, 1)})


def test_two_numbers_are_one_up_to_a_millionth() -> None:
    assert holds([(1.0, 1 + 5e-7), (2.0, 2.0), (3.0, 3.0)], 3)
    assert not holds([(1.0, 1 + 2e-6), (2.0, 2.0), (3.0, 3.0)], 3)


def test_a_number_is_rounded_to_its_decimals() -> None:
    assert [decimals(count)(1.23456) for count in (1, 3, 8)] == [1.2, 1.235, 1.23456]
