"""How obtained numbers follow from expected ones, where it holds for every mismatch of a class: a hint at the cause.

Each relation is a pure function of a class's values and returns a sentence, "" where it does not hold. At least
`NEEDED` values must show it, and not all of them may be alike, so that no single number proves anything.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import isclose, isfinite, log, tanh
from typing import Any

from ..runs.places import NamedRow, Row
from .logit_fits import SPARE, VISIBLE, LogRow, fit_soft_cap, fit_temperature
from .precisions import PRECISIONS

NEEDED = 3
RTOL = 1e-3  # of a factor or an offset
SAME_RTOL = 1e-6  # of two values that are one number, written by two runs
FACTORS = {
    log(2): "ln 2 (nats where bits belong?)",
    1 / log(2): "1 / ln 2 (bits where nats belong?)",
    -1.0: "−1 (a reversed difference?)",
    100.0: "100 (percent?)",
    0.01: "1 / 100 (a share where percent belong?)",
}


@dataclass(frozen=True)
class Value:
    """One mismatch of numbers: where it is, as far as it is a row of a table, and both numbers.

    Listed probabilities of one distribution share `distribution`; it is None for all other numbers.
    """

    row: Row | None
    expected: float
    obtained: float
    distribution: Hashable = None

    @property
    def reversed(self) -> "Value":
        """The value with both numbers changed round."""
        return replace(self, expected=self.obtained, obtained=self.expected)


Values = Sequence[Value]


def relation(values: Values) -> str:
    """The first relation that holds for all values, "" for none."""
    if len(values) < NEEDED:
        return ""
    return next((sentence for test in RELATIONS if (sentence := test(values))), "")


def factor(values: Values) -> str:
    """obtained / expected is one number."""
    ratios = [value.obtained / value.expected for value in values if value.expected]
    if len(ratios) < len(values) or not vary([value.expected for value in values]):
        return ""
    middle = sorted(ratios)[len(ratios) // 2]
    if not isfinite(middle) or abs(middle - 1) <= 2 * RTOL:
        return ""
    if not all(isclose(ratio, middle, rel_tol=RTOL) for ratio in ratios):
        return ""
    causes = (
        f" = {cause}" for known, cause in FACTORS.items() if isclose(known, middle, rel_tol=RTOL)
    )
    return f"obtained / expected = {middle:.6g} in every one of them{next(causes, '')}"


def offset(values: Values) -> str:
    """obtained − expected is one number."""
    differences = [value.obtained - value.expected for value in values]
    middle = sorted(differences)[len(differences) // 2]
    if not middle or not isfinite(middle) or not vary([value.expected for value in values]):
        return ""
    if all(isclose(difference, middle, rel_tol=RTOL) for difference in differences):
        return f"obtained − expected = {middle:+.6g} in every one of them"
    return ""


def neighbour(values: Values) -> str:
    """The obtained value of a layer, or of a position, is the expected one of its neighbour, all else the same."""
    for name, what in (("layer", "layer"), ("pos", "position")):
        places = [place_on(value.row, name) for value in values]
        expected = {
            place: value.expected for place, value in zip(places, values, strict=True) if place
        }
        for step, side in ((1, "next"), (-1, "previous")):
            pairs = [
                (value.obtained, expected[place[0] + step, place[1]])
                for place, value in zip(places, values, strict=True)
                if place and (place[0] + step, place[1]) in expected
            ]
            if holds(pairs, len(values)):
                return f"obtained of a {what} = expected of the {side} one: off by one {what}?"
    return ""


def other_lens(values: Values) -> str:
    """The obtained value under a lens is the expected one under another, row by row; of a table with a column lens."""
    lenses: dict[str, dict[Hashable, Value]] = {}
    for value in values:
        cells = key_cells(value.row)
        if lens := cells.pop("lens", ""):
            lenses.setdefault(lens, {})[tuple(cells.items())] = value
    for name, rows in lenses.items():
        for other, others in lenses.items():
            pairs = [(rows[key].obtained, others[key].expected) for key in rows if key in others]
            if other != name and holds(pairs, len(rows)):
                return f"obtained under {name} = expected under {other}"
    return ""


def other_pass(values: Values) -> str:
    """The obtained value of a pass is the expected one of another pass, layer by layer."""
    passes: dict[str, dict[int, Value]] = {}
    for value in values:
        if value.row is not None and value.row.layer_index is not None:
            passes.setdefault(value.row.pass_name, {})[value.row.layer_index] = value
    for name, layers in passes.items():
        for other, others in passes.items():
            common = layers.keys() & others.keys()
            pairs = [(layers[i].obtained, others[i].expected) for i in sorted(common)]
            if other != name and holds(pairs, len(layers)):
                return f"obtained of {name} = expected of {other}"
    return ""


def rounded(values: Values) -> str:
    """The obtained values are the expected ones in a lower precision."""
    for name, lower in PRECISIONS.items():
        if all(lower(value.expected) == value.obtained for value in values):
            return f"obtained = expected, rounded to {name}"
    return ""


def temperature(values: Values) -> str:
    """The obtained probabilities are the expected ones at another temperature, one for all distributions."""
    number = fit_temperature(log_rows(values))
    if number is None:
        return ""
    return f"ln obtained = ln expected / {number:.6g} + a constant a row: a temperature of {number:.6g}?"


def soft_cap(values: Values) -> str:
    """The obtained logits are the expected ones under a soft cap, or the other way round."""
    for side, what in ((values, "a soft cap?"), ([v.reversed for v in values], "a cap left out?")):
        names = ("obtained", "expected") if side is values else ("expected", "obtained")
        if (cap := fit_soft_cap(log_rows(side))) is not None:
            after, before = (f"ln {name}" for name in names)
            return f"{after} = K tanh(({before} + c) / K) + a constant a row, K = {cap:.4g}: {what}"
        if (cap := cap_of_logits(side)) is not None:
            return f"{names[0]} = K tanh({names[1]} / K), K = {cap:.6g}: {what}"
    return ""


def cap_of_logits(values: Values) -> float | None:
    """The K of obtained = K tanh(expected / K), None where a number deviates or one factor explains all."""
    pairs = [(abs(v.expected), v.obtained / v.expected) for v in values if v.expected]
    if len(pairs) < len(values) or len({x for x, _ in pairs}) <= 1 + SPARE:
        return None
    ratios = [ratio for _, ratio in pairs]
    if not (0 < min(ratios) <= max(ratios) <= 1 and max(ratios) - min(ratios) >= VISIBLE):
        return None
    largest, ratio = max(pairs)
    low, high = largest * ratio / 2, largest / VISIBLE
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (
            (middle, high) if middle * tanh(largest / middle) < largest * ratio else (low, middle)
        )
    same = (isclose(high * tanh(x / high), x * ratio, rel_tol=RTOL) for x, ratio in pairs)
    return high if all(same) else None


def log_rows(values: Values) -> list[LogRow]:
    """ln expected and ln obtained of each distribution; none where a value is no probability of one."""
    rows: dict[Hashable, list[tuple[float, float]]] = {}
    for value in values:
        numbers = value.expected, value.obtained
        if value.distribution is None or not all(0 < number <= 1 for number in numbers):
            return []
        rows.setdefault(value.distribution, []).append((log(numbers[0]), log(numbers[1])))
    return list(rows.values())


def reordered(values: Values) -> str:
    """The same numbers at other places."""
    before, after = (Counter(v.expected for v in values), Counter(v.obtained for v in values))
    same = before == after and len(before) >= NEEDED
    return "the same numbers at other places: sorted otherwise?" if same else ""


def swapped(a: Mapping[Any, Value], b: Mapping[Any, Value]) -> bool:
    """Whether two columns, by row, have each the numbers that the other one should have."""
    if a.keys() != b.keys() or len(a) < NEEDED:
        return False
    pairs = [
        *((a[row].obtained, b[row].expected) for row in a),
        *((b[row].obtained, a[row].expected) for row in a),
    ]
    return holds(pairs, len(pairs))


def holds(pairs: Sequence[tuple[float, float]], count: int) -> bool:
    """Whether enough pairs of numbers are equal, all of them, and not all one number."""
    enough = len(pairs) >= max(NEEDED, count / 2)
    return (
        enough
        and all(isclose(a, b, rel_tol=SAME_RTOL) for a, b in pairs)
        and vary([a for a, _ in pairs])
    )


def vary(numbers: Sequence[float]) -> bool:
    """Whether there are at least `NEEDED` different numbers."""
    return len(set(numbers)) >= NEEDED


def key_cells(row: Row | None) -> dict[str, str]:
    """The key of a row by column, without the columns that its table has not."""
    if isinstance(row, NamedRow):
        return dict(row.cells)
    names = [field.name for field in fields(row)] if row else []
    return {name: cell for name in names if isinstance(cell := getattr(row, name), str)}


def place_on(row: Row | None, name: str) -> tuple[int, Hashable] | None:
    """A row's number on an axis, layer or pos, and the rest of its key; None where it has no such number."""
    cells = key_cells(row)
    number = cells.pop(name, "")
    return (int(number), tuple(cells.items())) if number.isdecimal() else None


RELATIONS = (
    *(rounded, factor, offset, neighbour, other_pass, other_lens),
    *(temperature, soft_cap, reordered),
)
