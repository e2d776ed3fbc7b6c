"""How firm milestones are, against brute force: every threshold of a fine grid, every row pushed by its margin."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from math import exp, inf, log2
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lenses_min.core.milestones import milestones
from lenses_min.core.rows import PureRow
from lenses_min.output.decisions import LOGIT_ERROR, Thresholds, lowered, raised
from lenses_min.output.firmness import Firmness, delta, firmness

PROMPT = "The capital of Italy is called simply"
COPY, LEAD = 0.6, 0.4
TINY = 1e-9


def row_of(layer: int, **values: Any) -> PureRow:
    """A row whose flags follow from its numbers."""
    top = values["top"]
    (token, p), (_, second) = top[:2]
    rank = values["answer_rank"]
    return PureRow(
        prompt_id="pos",
        prompt_variant="orig",
        layer=layer,
        pos=6,
        token="⟨NEXT⟩",
        rest_mass=0.0,
        p_top1=p,
        p_top5=None,
        cos_to_final=None,
        control_margin=None,
        copy_collapse=p > COPY and p - second > LEAD and token == " Italy",
        entropy_collapse=values["entropy"] <= 1.0,
        is_answer=rank == 1,
        **values,
    )


@st.composite
def passes(draw: st.DrawFn) -> list[PureRow]:
    """Passes of a few layers with numbers near their thresholds."""
    rows = []
    for layer in range(draw(st.integers(1, 5))):
        first = draw(st.floats(0.5, 0.75))
        second = first * draw(st.floats(0.01, 0.7)) * (1 - first) / first
        p = [first, second, *(second * 0.99**i for i in range(1, 4))]
        rank = draw(st.none() | st.integers(1, 14))
        if draw(st.booleans()):  # near ties of the first two
            p[1] = first * draw(st.floats(0.8, 1.0, exclude_max=True))
        tokens = [draw(st.sampled_from([" Italy", " Rome", " .", ""])), " a", " b", " c", " d"]
        rows.append(
            row_of(
                layer,
                top=tuple(zip(tokens, p, strict=True)),
                answer_rank=rank,
                p_answer=None if rank is None else p[rank - 1] if rank < 6 else p[4] * 0.9**rank,
                entropy=draw(st.floats(0.7, 1.3)),
                kl_to_final_bits=draw(st.none() | st.floats(0.3, 1.3)),
            )
        )
    return rows


@dataclass(frozen=True)
class Condition:
    """A condition read anew: its number in a row (None: it cannot hold), the thresholds to try, and how they decide."""

    number: Callable[[PureRow], Any]
    own: Any
    grid: Sequence[Any]
    holds: Callable[[Any, Any], bool]
    shift: Callable[[Any, float], Any]
    least: float = TINY  # the change beyond a margin that surely counts


def up_to_one(t: float) -> list[float]:
    """t ± 10%, the upper ones no further from t than a tenth of what is left to 1."""
    top = min(1.1 * t, 1 - 0.9 * (1 - t))
    return [0.9 * t + (top - 0.9 * t) * i / 20 for i in range(20)] + [t, top]


def copied(row: PureRow) -> tuple[float, float] | None:
    (token, p), (_, second) = row.top[:2]
    return (p, p - second) if token == " Italy" else None


def ratio(row: PureRow) -> tuple[float, int] | None:
    """p(answer) over that of the best other token, and the rank."""
    if row.answer_rank is None or row.p_answer is None:
        return None
    return row.p_answer / row.top[row.answer_rank == 1][1], row.answer_rank


def beats(n: tuple[float, int], t: float) -> bool:
    return n[0] >= t and (n[1] <= 2 if t < 1 else n[0] >= 1)


def at_most(number: Callable[[PureRow], Any], t: float) -> Condition:
    grid = [t * 0.9, *(t * (0.9 + 0.2 * i / 40) for i in range(1, 40)), t * 1.1]
    return Condition(number, t, grid, lambda n, t: n <= t, lambda n, d: n + d)


def rank_at_most(t: int, lowest: int) -> Condition:
    grid = list(range(lowest, t + 2))
    return Condition(lambda r: r.answer_rank, t, grid, lambda n, t: n <= t, lambda n, d: n + d, 0)


CONDITIONS = {
    "L_copy": Condition(
        copied,
        (COPY, LEAD),
        list(product(up_to_one(COPY), up_to_one(LEAD))),
        lambda n, t: n[0] > t[0] and n[1] > t[1],
        lambda n, d: (n[0] + d, n[1] + d),
    ),
    "L_copy_H": at_most(lambda r: r.entropy, 1.0),
    "L_semantic": Condition(
        ratio,
        1.0,
        [0.9 + 0.2 * i / 40 for i in range(41)],
        beats,
        lambda n, d: (n[0] * 2**d, n[1]),
    ),
    "first_kl_below_0.5": at_most(lambda r: r.kl_to_final_bits, 0.5),
    "first_kl_below_1.0": at_most(lambda r: r.kl_to_final_bits, 1.0),
    "first_rank_le_1": rank_at_most(1, 1),
    "first_rank_le_5": rank_at_most(5, 4),
    "first_rank_le_10": rank_at_most(10, 9),
}
THRESHOLDS = Thresholds(COPY, LEAD, "float32")


def first_layer(condition: Condition, numbers: Sequence[Any], threshold: Any) -> float:
    """The first layer that holds, infinite where none does."""
    holding = (i for i, n in enumerate(numbers) if n is not None and condition.holds(n, threshold))
    return next(holding, inf)


def pushed(condition: Condition, numbers: Sequence[Any], i: int, change: float) -> set[float]:
    """The milestones where the number of row i is pushed up and down."""
    return {
        first_layer(
            condition,
            [*numbers[:i], condition.shift(numbers[i], d), *numbers[i + 1 :]],
            condition.own,
        )
        for d in (change, -change)
    }


def no_ties(rows: Sequence[PureRow]) -> bool:
    """No ratio stands within rounding of a threshold that is tried."""
    ratios = [n[0] for n in map(ratio, rows) if n is not None]
    return all(abs(r - t) > TINY for r in ratios for t in (0.9, 1.0, 1.1))


@given(passes())
def test_the_layers_of_moved_thresholds_are_those_of_brute_force(rows: list[PureRow]) -> None:
    assume(no_ties(rows))
    firm = firmness(rows, PROMPT, THRESHOLDS)
    assert {name: f.layer for name, f in firm.items()} == milestones(rows)
    for name, condition in CONDITIONS.items():
        if name == "L_semantic" and firm[name].unit == "ranks":
            continue  # no row has an answer
        numbers = list(map(condition.number, rows))
        tried = [first_layer(condition, numbers, t) for t in condition.grid]
        ends = [inf if end is None else end for end in (firm[name].earliest, firm[name].latest)]
        assert ends == [min(tried), max(tried)], name


@given(passes())
def test_the_nearest_layer_changes_the_milestone_by_its_margin_and_no_layer_by_less(
    rows: list[PureRow],
) -> None:
    assume(no_ties(rows))
    firm = firmness(rows, PROMPT, THRESHOLDS)
    for name, condition in CONDITIONS.items():
        numbers = list(map(condition.number, rows))
        before, near = first_layer(condition, numbers, condition.own), firm[name]
        reach = [i for i, n in enumerate(numbers) if i <= before and n is not None]
        assert (near.nearest_layer is None) == (not reach), name
        if near.nearest_layer is None or near.nearest_margin is None:
            continue

        push = near.nearest_margin + condition.least
        assert pushed(condition, numbers, near.nearest_layer, push) != {before}, name
        less = near.nearest_margin - (condition.least or 1)
        still = (pushed(condition, numbers, i, less) == {before} for i in reach)
        assert less < 0 or all(still), name
        if before != inf and near.margin is not None:
            push = near.margin + condition.least
            assert pushed(condition, numbers, int(before), push) != {before}, name
            assert near.nearest_margin <= near.margin


@given(passes())
def test_a_difference_has_the_range_of_its_two_milestones(rows: list[PureRow]) -> None:
    firm = firmness(rows, PROMPT, THRESHOLDS)
    later, earlier, delta = firm["L_semantic"], firm["L_copy"], firm["delta_layers"]
    ends = [(delta.earliest, later.earliest, earlier.latest)]
    ends += [
        (delta.latest, later.latest, earlier.earliest),
        (delta.layer, later.layer, earlier.layer),
    ]
    for end, a, b in ends:
        assert end == (None if a is None or b is None else a - b)


@pytest.mark.parametrize("dtype", list(LOGIT_ERROR))
@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.01, 0.5)), min_size=1, max_size=4
    )
)
def test_a_milestone_is_firm_where_no_rounding_of_logits_moves_it(
    dtype: str, drawn: list[tuple[float, float, float]]
) -> None:
    """Each row has the logits of a prompt's token, of the answer and of a third one; each may be off by δ."""
    delta = LOGIT_ERROR[dtype]
    exact = [(1.2 + a * 4 * delta, b * 4 * delta, c - 2) for a, b, c in drawn]
    pairs = [(b, 0.0) for _, b, _ in exact]
    assume(all(abs(abs(b) - 2 * delta) > TINY and abs(b) > TINY for b, _ in pairs))

    def softmax(z: Sequence[float]) -> list[float]:
        return [exp(v) / sum(map(exp, z)) for v in z]

    def copying(z: Sequence[float]) -> bool:
        p, *others = softmax(z)
        return p > COPY and p - max(others) > LEAD

    copy_rows, answer_rows = [], []
    for layer, (z, pair) in enumerate(zip(exact, pairs, strict=True)):
        numbers = {"entropy": 2.0, "kl_to_final_bits": None}
        p = softmax(z)
        top = ((" Italy", p[0]), (" a", max(p[1:])))
        copy_rows.append(row_of(layer, top=top, answer_rank=None, p_answer=None, **numbers))
        p, rank = softmax(pair), 1 if pair[0] >= pair[1] else 2
        top = ((" x", max(p)), (" y", min(p)))
        answer_rows.append(row_of(layer, top=top, answer_rank=rank, p_answer=p[0], **numbers))
    thresholds = Thresholds(COPY, LEAD, dtype)

    def moves(rows: Sequence[Sequence[float]], holds: Callable[[Sequence[float]], bool]) -> bool:
        """Whether some corner of what the logits may be moves the first layer."""
        first = next((i for i, z in enumerate(rows) if holds(z)), len(rows) - 1)
        return any(
            holds([v + d for v, d in zip(z, signs, strict=True)]) != holds(z)
            for z in rows[: first + 1]
            for signs in product((-delta, delta), repeat=len(z))
        )

    copy = firmness(copy_rows, PROMPT, thresholds)["L_copy"]
    answers = firmness(answer_rows, PROMPT, thresholds)
    assert copy.within_rounding == moves(exact, copying)
    expected = moves(pairs, lambda z: z[0] >= z[1])
    assert answers["L_semantic"].within_rounding == expected
    assert answers["first_rank_le_1"].within_rounding == expected


def numbers_of(**values: Any) -> dict[str, Any]:
    """A row far from every threshold but for the given values."""
    top = ((" x", 0.3), (" y", 0.2), (" z", 0.1), (" v", 0.08), (" w", 0.06))
    far = {"entropy": 3.0, "kl_to_final_bits": 3.0, "answer_rank": 400, "p_answer": 1e-6}
    return {"top": top, **far, **values}


@pytest.mark.parametrize(
    ("name", "dtype", "values", "expected"),
    [
        ("L_copy_H", "bfloat16", {"entropy": 1.14}, True),  # 0.1 bits + 5%
        ("L_copy_H", "bfloat16", {"entropy": 1.16}, False),
        ("L_copy_H", "float16", {"entropy": 1.02}, False),  # an eighth
        ("L_copy_H", "float32", {"entropy": 1.0001}, True),
        ("L_copy_H", "float32", {"entropy": 1.0002}, False),
        ("first_kl_below_0.5", "bfloat16", {"kl_to_final_bits": 0.55}, True),  # 0.05 bits + 2%
        ("first_kl_below_0.5", "bfloat16", {"kl_to_final_bits": 0.57}, False),
        ("first_rank_le_10", "bfloat16", {"answer_rank": 14}, True),  # 30%
        ("first_rank_le_10", "bfloat16", {"answer_rank": 15}, False),
        ("first_rank_le_10", "float32", {"answer_rank": 11}, False),
        ("first_rank_le_5", "bfloat16", {"answer_rank": 6, "p_answer": 0.055}, True),
        ("first_rank_le_5", "bfloat16", {"answer_rank": 6, "p_answer": 0.03}, False),
        ("L_semantic", "bfloat16", {"answer_rank": None, "p_answer": None}, None),
        ("L_copy_H", "", {"entropy": 1.0001}, None),
    ],
)
def test_rounding_by_dtype(
    name: str, dtype: str, values: dict[str, Any], expected: bool | None
) -> None:
    rows = [row_of(0, **numbers_of(**values))]
    assert firmness(rows, PROMPT, Thresholds(0.95, 0.1, dtype))[name].within_rounding is expected


@pytest.mark.parametrize(
    ("firm", "text"),
    [
        (Firmness(25, 24, 27, "bits", 1.0, 24, 0.5, False), "25 (24–27, firm)"),
        (Firmness(25, 25, 25, "bits", 1.0, 24, 0.5, True), "25 (not firm)"),
        (Firmness(25, 25, None, "bits", 1.0, 24, 0.5, None), "25 (25–none)"),
        (Firmness(None, None, None, "bits", None, None, None, False), "- (firm)"),
        (Firmness(None, None, None, "bits", None, None, None, None), "-"),
    ],
)
def test_a_milestone_in_a_line(firm: Firmness, text: str) -> None:
    assert str(firm) == text


def test_a_ratio_below_float32_is_no_error() -> None:
    rows = [row_of(0, **numbers_of(p_answer=0.0))]
    near = firmness(rows, PROMPT, THRESHOLDS)["L_semantic"]
    assert near.nearest_margin == pytest.approx(149 + log2(0.3))


@pytest.mark.parametrize(
    ("token", "p", "prompt", "dtype", "margin", "verdict"),
    [
        (" Italy", 0.55, PROMPT, "float32", pytest.approx(0.05), False),
        (" Italy", 0.55, "", "float32", None, None),  # it may be a copy, and 10% less would do
        (" Italy", 0.53, "", "float32", None, False),
        (" Italy", 0.53, "", "bfloat16", None, None),
        (" Rome", 0.55, PROMPT, "float32", None, False),
        (" Rome", 0.7, "", "float32", None, False),  # it would have been one already
        (" ,", 0.55, PROMPT + ",", "float32", None, False),
    ],
)
def test_what_may_be_a_copy(
    token: str, p: float, prompt: str, dtype: str, margin: Any, verdict: bool | None
) -> None:
    values = numbers_of(top=((token, p), (" y", 0.01)))
    row = replace(row_of(0, **values), copy_collapse=False)
    near = firmness([row], prompt, Thresholds(COPY, LEAD, dtype))["L_copy"]
    assert (near.nearest_margin, near.within_rounding) == (margin, verdict)


@pytest.mark.parametrize("name", ["copy_collapse", "entropy_collapse", "is_answer"])
def test_a_flag_that_its_number_does_not_give_is_taken_as_it_is(name: str) -> None:
    """Runs of other dates decided by other thresholds."""
    flag: dict[str, Any] = {name: True}
    rows = [replace(row_of(0, **numbers_of()), **flag)]
    key = {"copy_collapse": "L_copy", "entropy_collapse": "L_copy_H", "is_answer": "L_semantic"}
    near = firmness(rows, PROMPT, THRESHOLDS)[key[name]]
    assert (near.layer, near.earliest, near.latest) == (0, 0, 0)
    assert (near.margin, near.nearest_layer, near.within_rounding) == (None, None, None)


def test_ranks_decide_where_no_probability_of_the_answer_is_known() -> None:
    rows = [row_of(i, **numbers_of(p_answer=None, answer_rank=r)) for i, r in enumerate((2, 1))]
    near = firmness(rows, PROMPT, THRESHOLDS)["L_semantic"]
    assert near == Firmness(1, 0, 1, "ranks", 1, 0, 1, False)


def test_an_answer_without_an_id_is_the_top_one() -> None:
    values = numbers_of(p_answer=None, answer_rank=None)
    rows = [replace(row_of(i, **values), is_answer=i == 1) for i in range(2)]
    near = firmness(rows, PROMPT, THRESHOLDS)["L_semantic"]
    assert (near.layer, near.nearest_layer, near.within_rounding) == (1, 1, None)
    assert near.margin == near.nearest_margin == pytest.approx(log2(0.3 / 0.2))


@pytest.mark.parametrize("holds", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), inf])
def test_numbers_that_are_none_decide_nothing(bad: float, holds: bool) -> None:
    """A model that overflows; JSON has no such numbers either. The rank of the answer is one still."""
    top = ((" Italy", bad), (" y", bad))
    values = numbers_of(top=top, entropy=bad, kl_to_final_bits=bad, p_answer=bad)
    values["answer_rank"] = 1 if holds else 2
    row = replace(row_of(0, **values), copy_collapse=holds, entropy_collapse=holds)
    near = firmness([row], PROMPT, THRESHOLDS)
    json.dumps([asdict(firm) for firm in near.values()], allow_nan=False)
    for name in ("L_copy", "L_copy_H", "first_kl_below_1.0"):
        assert (near[name].margin, near[name].within_rounding) == (None, None)


@pytest.mark.parametrize(("p", "early"), [(0.9, True), (0.901, True), (0.899, False)])
def test_the_second_is_nearly_the_answer_within_a_tenth(p: float, early: bool) -> None:
    top = ((" x", 0.5), (" Berlin", 0.5 * p))
    rows = [row_of(0, **(numbers_of(top=top, p_answer=0.5 * p) | {"answer_rank": 2}))]
    near = firmness(rows, PROMPT, THRESHOLDS)["L_semantic"]
    assert (near.layer, near.earliest) == (None, 0 if early else None)


def test_a_flat_row_is_not_nearly_the_answer() -> None:
    """Its probabilities are all within 10%, and hundreds of tokens stand above the answer."""
    top = tuple((token, 0.0011) for token in (" x", " y", " z", " v", " w"))
    rows = [row_of(0, **numbers_of(top=top, p_answer=0.00105))]
    near = firmness(rows, PROMPT, Thresholds(COPY, LEAD, "bfloat16"))["L_semantic"]
    assert (near.earliest, near.within_rounding) == (None, False)


@pytest.mark.parametrize(
    ("later", "earlier", "expected"),
    [
        ((3, False), (1, False), False),
        ((3, True), (1, None), True),
        ((3, None), (1, False), None),
        ((3, True), (None, False), False),  # still no difference
        ((3, False), (None, None), None),
        ((None, True), (None, False), False),
        ((None, None), (None, True), None),
        ((None, True), (None, True), True),
    ],
)
def test_whether_rounding_moves_a_difference(
    later: tuple[int | None, bool | None],
    earlier: tuple[int | None, bool | None],
    expected: bool | None,
) -> None:
    semantic, copy = (
        Firmness(layer, layer, layer, "bits", 1.0, layer, 1.0, verdict)
        for layer, verdict in (later, earlier)
    )
    assert delta(semantic, copy).within_rounding is expected


def test_a_pass_without_rows_has_no_milestones() -> None:
    near = firmness([], PROMPT, THRESHOLDS)
    assert {str(firm) for firm in near.values()} == {"-"}


def test_thresholds_are_moved_by_a_tenth() -> None:
    assert lowered(0.5) == pytest.approx(0.45)
    assert [raised(p) for p in (0.0, 0.25, 0.5, 0.95, 1.0)] == pytest.approx(
        [0.0, 0.275, 0.55, 0.955, 1.0]
    )
