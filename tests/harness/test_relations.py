"""Relations between obtained and expected numbers: named where they are planted, and not claimed where they are not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp, log, tanh
from random import Random

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from spec.compare.classify import classes, hint, swapped_columns
from spec.compare.kinds import Kind
from spec.compare.precisions import bfloat16, half
from spec.compare.recorder import Mismatch
from spec.compare.relations import (
    RELATIONS,
    Value,
    other_lens,
    relation,
    soft_cap,
    temperature,
)
from spec.runs.places import NamedRow, Place, Row, TableRow, at_path

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


POSITIONS = tuple(EXPECTED.values())  # of one layer, position after position


@pytest.mark.parametrize(("step", "side"), [(1, "next"), (-1, "previous")])
def test_the_position_beside_is_named(step: int, side: str) -> None:
    def at(i: int) -> Row:
        return TableRow("pos", "orig", "0", str(i))

    pairs = [
        (i, POSITIONS[i + step]) for i in range(len(POSITIONS)) if 0 <= i + step < len(POSITIONS)
    ]
    values = [Value(at(i), POSITIONS[i], number) for i, number in pairs]
    assert relation(values) == (
        f"obtained of a position = expected of the {side} one: off by one position?"
    )
    values[2] = replace(values[2], obtained=values[2].obtained * 1.013 + 0.0077)
    assert relation(values) == ""


def test_another_lens_of_the_same_table_is_named() -> None:
    def at(lens: str, key: Key) -> Row:
        return replace(row(key), pos=None, lens=lens)

    values = []
    for key, number in EXPECTED.items():
        under_final = 2 * number + key[1]
        values.append(Value(at("norm", key), number, under_final))
        values.append(Value(at("final", key), under_final, under_final + key[1] / 7 + 0.01))
    assert relation(values) == "obtained under norm = expected under final"
    values[2] = replace(values[2], obtained=values[2].obtained * 1.013 + 0.0077)
    assert relation(values) == ""


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


# Distributions: every relation of logits is planted in logits, and seen through the probabilities that are listed.
OfLogits = Callable[[int, float], float]  # row and logit → logit


def listed(function: OfLogits, rows: int = 6, k: int = 8, seed: int = 0) -> list[Value]:
    """The k likeliest tokens of some rows, whose logits are changed; as float32 has them."""
    random, values = Random(seed), []
    for at in range(rows):
        logits = sorted((random.uniform(-25, 25) for _ in range(60)), reverse=True)
        both = [softmax(side) for side in (logits, [function(at, z) for z in logits])]
        pairs = zip(both[0][:k], both[1][:k], strict=True)
        values += [Value(row(("pos/orig", at)), *pair, ("fact", at)) for pair in pairs]
    return values


def softmax(logits: Sequence[float]) -> list[float]:
    weights = [exp(z - max(logits)) for z in logits]
    return torch.tensor([weight / sum(weights) for weight in weights]).tolist()


def capped(number: float, cap: float = 30.0) -> float:
    return cap * tanh(number / cap)


def swapped_sides(values: Sequence[Value]) -> list[Value]:
    return [replace(v, expected=v.obtained, obtained=v.expected) for v in values]


HOT, COLD = listed(lambda _, z: z / 1.25), listed(lambda _, z: z / 0.8)
CAPPED = listed(lambda _, z: capped(z))
LOGITS = [Value(row(key), 9 * x, capped(9 * x)) for key, x in EXPECTED.items()]
OF_LOGITS: dict[str, tuple[Sequence[Value], str]] = {
    "hot": (HOT, "ln obtained = ln expected / 1.25 + a constant a row: a temperature of 1.25?"),
    "cold": (COLD, "a temperature of 0.8?"),
    "soft cap": (CAPPED, "ln obtained = K tanh((ln expected + c) / K) + a constant a row, K = 30: a soft cap?"),
    "cap left out": (
        swapped_sides(CAPPED),
        "ln expected = K tanh((ln obtained + c) / K) + a constant a row, K = 30: a cap left out?",
    ),
    "under zero": (listed(lambda _, z: capped(z - 40) + 40), "K = 30: a soft cap?"),
    "one row of twenty": (listed(lambda _, z: capped(z, 15.0), rows=1, k=20), "K = 15: a soft cap?"),
    "capped logits": (LOGITS, "obtained = K tanh(expected / K), K = 30: a soft cap?"),
    "uncapped logits": (swapped_sides(LOGITS), "expected = K tanh(obtained / K), K = 30: a cap left out?"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_LOGITS)
def test_a_temperature_and_a_soft_cap_are_named(name: str) -> None:
    values, sentence = OF_LOGITS[name]
    assert sentence in relation(values)


@pytest.mark.parametrize("name", OF_LOGITS)
def test_neither_is_claimed_for_the_other_one(name: str) -> None:
    values, sentence = OF_LOGITS[name]
    wrong = soft_cap if "temperature" in sentence else temperature
    assert wrong(values) == ""


@pytest.mark.parametrize("name", OF_LOGITS)
@pytest.mark.parametrize("at", [0, 1, 5, 7])
def test_one_number_refutes_it(name: str, at: int) -> None:
    values = list(OF_LOGITS[name][0])
    values[at] = replace(values[at], obtained=values[at].obtained * 0.985)
    assert relation(values) == ""


NEITHER: dict[str, OfLogits] = {
    "nothing": lambda _, z: z,
    "a temperature for each row": lambda at, z: z / (1.1 + at / 10),
    "a cap for each row": lambda at, z: capped(z, 20.0 + 10 * at),
    "another function that saturates": lambda _, z: z / (1 + abs(z) / 30),
    "a cap and a temperature": lambda _, z: capped(z) / 1.25,
    "a clamp": lambda _, z: min(max(z, -20.0), 20.0),
    "rounding": lambda at, z: z * (1 + 1e-6 * at),
}


@pytest.mark.parametrize("name", NEITHER)
def test_nothing_is_claimed_where_neither_holds_for_all(name: str) -> None:
    values = listed(NEITHER[name], rows=12, k=20)
    for side in (values, swapped_sides(values)):
        assert (temperature(side), soft_cap(side)) == ("", "")


@given(st.integers(0, 10**6), st.sampled_from([0.003, 0.05, 1.0]))
def test_noise_is_neither(seed: int, size: float) -> None:
    random = Random(seed)
    values = listed(lambda _, z: capped(z / 1.1) + random.gauss(0, size), seed=seed)
    assert (temperature(values), soft_cap(values)) == ("", "")


@given(st.floats(0.05, 0.95))
def test_one_factor_is_neither(ratio: float) -> None:
    values = [replace(v, obtained=ratio * v.expected) for v in HOT]
    assert (temperature(values), soft_cap(values)) == ("", "")


def test_a_fit_needs_more_numbers_than_parameters() -> None:
    """A temperature has one and a constant a row, a cap one and two constants a row; two more show nothing."""
    assert temperature(HOT[:4]) == soft_cap(CAPPED[:5]) == soft_cap(LOGITS[:3]) == ""
    assert temperature(HOT[:5]) != ""
    assert soft_cap(CAPPED[:6]) != ""
    assert soft_cap(LOGITS[:4]) != ""
    pairs = [v for i, v in enumerate(CAPPED) if i % 8 in (0, 7)]
    assert soft_cap(pairs) == "", "any two numbers lie on some cap"
    alone = [replace(v, distribution=i) for i, v in enumerate(HOT * 9)]
    assert temperature([*HOT, *alone]) == "", "most numbers are alone in their row"


def test_numbers_of_no_distribution_have_no_temperature() -> None:
    assert temperature([replace(v, distribution=None) for v in HOT]) == ""
    assert temperature([*HOT[1:], replace(HOT[0], obtained=0.0)]) == ""


@pytest.mark.parametrize("part", ["table", "document"])
def test_lists_of_tables_and_documents_are_distributions(part: str) -> None:
    """The same rows of two cases are two distributions."""
    pairs = []
    for at, value in enumerate(HOT):
        case = ("fact", "other")[at // 8 % 2]
        texts = repr(value.expected), repr(value.obtained)
        place = (
            Place("output-F-records.csv", row(("pos/orig", at // 16)), f"prob{at % 8 + 1}")
            if part == "table"
            else at_path("output-F.json", ("test_prompts", at // 16, "topk", at % 8, "p"))
        )
        pairs.append((case, Mismatch(place, *texts, Kind.VALUE)))
    (group,) = classes(pairs)
    assert "a temperature of 1.25?" in hint(group)


def test_ties_of_a_rounding_go_to_the_even_number() -> None:
    assert [bfloat16(1 + n * 2**-8) for n in (1, 3, 5, 7)] == [
        1.0,
        1 + 2**-6,
        1 + 2**-6,
        1 + 2**-5,
    ]
    assert [bfloat16(1 + n * 2**-8 + 2**-20) for n in (1, 3)] == [1 + 2**-7, 1 + 2**-6]
    assert [half(number) for number in (2049.0, 2051.0)] == [2048.0, 2052.0]


@pytest.mark.parametrize(
    ("lens", "sentence"), [(None, ""), ("raw", "obtained under norm = expected under raw")]
)
def test_rows_without_a_lens_are_of_no_lens(lens: str | None, sentence: str) -> None:
    values = []
    for layer in range(4):
        place = TableRow("pos", "orig", str(layer))
        values.append(Value(replace(place, lens="norm"), layer + 0.5, layer * 3.0))
        values.append(Value(replace(place, lens=lens), layer * 3.0, 9.0))
    assert other_lens(values) == sentence


def test_logits_under_a_cap_may_be_rounded() -> None:
    for share, named in ((1.0005, True), (1.003, False)):
        values = [replace(LOGITS[0], obtained=LOGITS[0].obtained * share), *LOGITS[1:]]
        assert bool(soft_cap(values)) is named
