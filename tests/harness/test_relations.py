"""Relations between obtained and expected numbers: named where they are planted, and not claimed where they are not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from spec.compare.classify import classes, hint, swapped_columns
from spec.compare.kinds import Kind
from spec.compare.recorder import Mismatch
from spec.compare.relations import RELATIONS, Value, bfloat16, half, relation
from spec.runs.places import NamedRow, Place, Row, TableRow

LAYERS = 6
EXPECTED = {
    ("pos/orig", layer): number
    for layer, number in enumerate([0.5312, 3.0178, 1.2345, 7.7218, 2.9113, 5.0431])
} | {
    ("ctl/orig", layer): number
    for layer, number in enumerate([9.1234, 4.4321, 8.3456, 6.6789, 1.1717, 3.5555])
}
Key = tuple[str, int]


def row(key: Key) -> TableRow:
    prompt, variant = key[0].split("/")
    return TableRow(prompt, variant, str(key[1]), "4")


def planted(obtained: Callable[[Key, float], float | None]) -> list[Value]:
    """The rows whose number is another one; None leaves a row as it is."""
    values = []
    for key, expected in EXPECTED.items():
        number = obtained(key, expected)
        if number is not None and number != expected:
            values.append(Value(row(key), expected, number))
    return values


def next_layer(key: Key, expected: float) -> float | None:
    return EXPECTED.get((key[0], key[1] + 1))


def previous_layer(key: Key, expected: float) -> float | None:
    return EXPECTED.get((key[0], key[1] - 1))


def of_other_pass(key: Key, expected: float) -> float | None:
    return EXPECTED["ctl/orig", key[1]] if key[0] == "pos/orig" else expected + key[1] / 7 + 0.01


def turned_round(key: Key, expected: float) -> float:
    return EXPECTED[key[0], LAYERS - 1 - key[1]]


PLANTED: dict[str, tuple[Callable[[Key, float], float | None], str]] = {
    "nats": (lambda _, x: x * log(2), "0.693147 in every one of them = ln 2 (nats where bits belong?)"),
    "sign": (lambda _, x: -x, "obtained / expected = -1 in every one of them = −1"),
    "percent": (lambda _, x: 100 * x, "= 100 (percent?)"),
    "factor": (lambda _, x: 1.7 * x, "obtained / expected = 1.7 in every one of them"),
    "offset": (lambda _, x: x - 0.25, "obtained − expected = -0.25 in every one of them"),
    "next layer": (next_layer, "obtained of a layer = expected of the next one: off by one layer?"),
    "previous layer": (previous_layer, "expected of the previous one: off by one layer?"),
    "other pass": (of_other_pass, "obtained of pos/orig = expected of ctl/orig"),
    "bfloat16": (lambda _, x: bfloat16(x), "obtained = expected, rounded to bfloat16"),
    "float16": (lambda _, x: half(x), "obtained = expected, rounded to float16"),
    "decimals": (lambda _, x: round(x, 2), "obtained = expected, rounded to 2 decimals"),
    "order": (turned_round, "the same numbers at other places: sorted otherwise?"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_relation_is_named(name: str) -> None:
    obtained, sentence = PLANTED[name]
    assert sentence in relation(planted(obtained))


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("at", [2, 3])
def test_one_value_that_does_not_follow_refutes_it(name: str, at: int) -> None:
    values = planted(PLANTED[name][0])
    values[at] = replace(values[at], obtained=values[at].obtained * 1.013 + 0.0077)
    assert relation(values) == ""


@given(st.lists(st.floats(0.01, 10), min_size=2 * LAYERS, max_size=2 * LAYERS, unique=True))
def test_nothing_is_claimed_of_numbers_that_have_nothing_to_do_with_each_other(
    numbers: Sequence[float],
) -> None:
    pairs = zip(EXPECTED.items(), numbers, strict=True)
    values = [Value(row(key), expected, number) for (key, expected), number in pairs]
    ratios = [value.obtained / value.expected for value in values]
    assume(max(ratios) > 1.01 * min(ratios))
    differences = [value.obtained - value.expected for value in values]
    assume(max(differences) - min(differences) > 0.05)
    assert relation(values) == ""


def test_two_values_prove_nothing() -> None:
    values = planted(lambda _, x: 2 * x)
    assert relation(values[:2]) == ""
    assert relation(values[:3]) != ""


@pytest.mark.parametrize("test", RELATIONS)
def test_one_number_that_comes_again_proves_nothing(test: Callable[[Sequence[Value]], str]) -> None:
    values = [Value(row(key), 2.0, 3.1234567) for key in EXPECTED]
    assert test(values) == ""


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-6e4, max_value=6e4))
def test_rounding_is_that_of_torch(number: float) -> None:
    assert bfloat16(number) == torch.tensor(number).bfloat16().double().item()
    assert half(number) == torch.tensor(number).half().double().item()


def test_what_overflows_is_infinite() -> None:
    assert half(1e6) == bfloat16(1e300) == float("inf")


def mismatches(
    column: str, numbers: Callable[[Key, float], float], spot: Callable[[Key], Row] = row
) -> list[tuple[str, Mismatch]]:
    """A case of two passes in which a column has other numbers."""
    pairs = []
    for key, expected in EXPECTED.items():
        place = Place("output-F-records.csv", spot(key), column)
        texts = repr(expected), repr(numbers(key, expected))
        pairs.append(("fact", Mismatch(place, *texts, Kind.VALUE)))
    return pairs


def test_a_class_has_the_relation_that_holds_in_all_its_cases() -> None:
    first = mismatches("entropy", lambda _, x: 2 * x)
    second = [("other", mismatch) for _, mismatch in mismatches("entropy", lambda _, x: 3 * x)]
    assert "= 2 in every one" in hint(classes(first)[0])
    assert "= 2 in every one" in hint(classes([*first, *[("other", m) for _, m in first]])[0])
    assert "expected" not in hint(classes([*first, *second])[0])


def test_a_row_of_an_unknown_table_has_its_layer_too() -> None:
    def named(key: Key) -> NamedRow:
        return NamedRow((("prompt_id", key[0]), ("layer", str(key[1]))))

    group = classes(mismatches("kl", lambda key, x: next_layer(key, x) or x + 1, named)[:5])[0]
    assert "off by one layer" in hint(group)


def test_swapped_columns_are_named() -> None:
    a = mismatches("p_top1", lambda _, x: x / 3)
    b = [
        (case, replace(m, place=replace(m.place, column="p_top5"), expected=m.obtained, obtained=m.expected))
        for case, m in a
    ]  # fmt: skip
    assert swapped_columns(classes([*a, *b])) == [("records: p_top1", "records: p_top5")]
    assert swapped_columns(classes([*a, *b[:-1]])) == []
    other = mismatches("p_top5", lambda _, x: x / 3)
    assert swapped_columns(classes([*a, *other])) == []
