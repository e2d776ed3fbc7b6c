"""What relates values that differ: a factor, an offset, a neighbour, another pass, another order; how many it takes."""

from math import inf
from typing import Any

from spec.compare.relations import Value, factor, neighbour, offset, other_pass, reordered
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
