"""In which base of logarithms entropies and divergences are written, as far as listed probabilities show it. Pure.

The K listed probabilities p of V, and the mass r that is left, bound an entropy in nats: none of the others is larger
than the least listed one, and r is most uncertain where it is spread evenly. They bound a KL in nats too, as far as the
tokens of both lists cover the mass: by the log-sum inequality from below, by the 1e-30 of its formula from above.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import e, inf, log
from types import MappingProxyType
from typing import Any

from ..runs.csv_dialect import Table
from ..runs.run import PURE, RECORDS, Run
from ..runs.values import lookup
from .last_layer import (
    FIRST,
    Listed,
    listed,
    listed_by_model,
    number,
    predictions,
)

BASES: Mapping[str, float] = MappingProxyType({"2": 2.0, "e": e, "10": 10.0})
ATOL, RTOL = 1e-3, 1e-3  # of what is fitted, in nats
REFUTES = 0.02  # nats beyond the bounds
NEEDED = 3  # numbers that refute each of the other bases
ROUNDING = 1e-6  # of the sum of 20 float32 probabilities
KL_TINY = 1e-30  # of the contract's formula
BLOCKS = ("test_prompts", "temperature_exploration")


@dataclass(frozen=True)
class Bounded:
    """A written entropy or KL, and the least and the largest it can be, in nats."""

    written: float
    low: float
    high: float

    def misfit(self, base: float) -> float:
        """How far beyond the bounds the number is if written in a base, in nats."""
        nats = self.written * log(base)
        return max(self.low - nats, nats - self.high, 0.0)


@dataclass(frozen=True)
class Base:
    """The base of the numbers of one quantity in one file; None where none or several fit.

    `misfits` are the largest error of each base, in nats; `refuting` the numbers that refute the rival with the fewest.
    """

    place: str
    base: str | None
    numbers: int
    misfits: Mapping[str, float]
    refuting: int


def bases(run: Run) -> tuple[Base, ...]:
    """The base of every group of numbers of a run that has one or that fits none."""
    size = lookup(run.document, "model_stats", "d_vocab")
    if not isinstance(size, int) or size < 1:
        return ()
    groups: dict[str, list[Bounded]] = {
        "document: entropy": list(entropies_of_blocks(run.document, size)),
        **{f"{kind}: entropy": list(entropies(table, size)) for kind, table in run.tables.items()},
        f"{PURE}: kl_to_final_bits": list(divergences(run)),
    }
    judged = [judge(place, numbers) for place, numbers in groups.items()]
    return tuple(base for base in judged if base.base or min(base.misfits.values()) > REFUTES)


def judge(place: str, numbers: Sequence[Bounded]) -> Base:
    """The one base that fits every number, where enough numbers refute each of the others."""
    misfits = {name: max((n.misfit(b) for n in numbers), default=0.0) for name, b in BASES.items()}
    refuting = {name: sum(n.misfit(b) > REFUTES for n in numbers) for name, b in BASES.items()}
    fitting = [name for name, base in BASES.items() if all(fits(n, base) for n in numbers)]
    rivals = [count for name, count in refuting.items() if name not in fitting]
    clear = len(fitting) == 1 and min(rivals) >= NEEDED
    return Base(
        place,
        fitting[0] if clear else None,
        len(numbers),
        MappingProxyType(misfits),
        min(rivals, default=0),
    )


def fits(bounded: Bounded, base: float) -> bool:
    return bounded.misfit(base) <= ATOL + RTOL * abs(bounded.written)


def entropies(table: Table, size: int) -> Iterator[Bounded]:
    """The entropies of a table's rows."""
    for row in range(len(table.rows)):
        written, pairs = number(table.column("entropy", row)), listed(table, row)
        if written is not None and pairs:
            yield Bounded(written, *entropy_bounds([p for _, p in pairs], size))


def entropies_of_blocks(document: Mapping[str, Any] | None, size: int) -> Iterator[Bounded]:
    """The entropies of the document's lists."""
    blocks = [block for _, block in predictions(document)]
    for name in BLOCKS:
        entries = lookup(document, name)
        blocks += entries if isinstance(entries, list) else []
    for block in blocks:
        written, pairs = lookup(block, "entropy"), listed_by_model(block)
        if isinstance(written, float) and pairs:
            yield Bounded(written, *entropy_bounds([p for _, p in pairs], size))


def entropy_bounds(probabilities: Sequence[float], size: int) -> tuple[float, float]:
    """The least and the largest entropy of `size` probabilities of which the largest ones are given, in nats."""
    listed_part = -sum(p * log(p) for p in probabilities)
    rest, others = max(0.0, 1 - sum(probabilities)), size - len(probabilities)
    if not rest or others < 1:
        return listed_part, listed_part
    least = min(probabilities)
    return listed_part - rest * log(least), listed_part + rest * log(others / rest)


def divergences(run: Run) -> Iterator[Bounded]:
    """The KL of every layer of the first pass to the model's own prediction, by the longest list of the layer."""
    model = next((listed_by_model(b) for key, b in predictions(run.document) if key == FIRST), ())
    if not model or PURE not in run.tables:
        return
    table, lists = run.tables[PURE], lists_by_row(run)
    for row in range(len(table.rows)):
        written, lens = number(table.column("kl_to_final_bits", row)), lists.get(key_of(table, row))
        if written is not None and lens and is_first(table, row):
            yield Bounded(written, *kl_bounds(lens, model))


def is_first(table: Table, row: int) -> bool:
    """Whether a row is of the first pass, and of several facts of the first one."""
    prompt_id, prompt_variant, *_, fact = key_of(table, row)
    return (prompt_id, prompt_variant) == FIRST and fact in ("0", "")


def lists_by_row(run: Run) -> dict[tuple[str, ...], Listed]:
    """The longest list of each layer and position."""
    lists: dict[tuple[str, ...], Listed] = {}
    for table in (run.tables[kind] for kind in (PURE, RECORDS) if kind in run.tables):
        for row in range(len(table.rows)):
            pairs, key = listed(table, row), key_of(table, row)
            lists[key] = max(lists.get(key, ()), pairs, key=len)
    return lists


def key_of(table: Table, row: int) -> tuple[str, ...]:
    names = ("prompt_id", "prompt_variant", "layer", "pos", "fact_index")
    return tuple(table.column(name, row) for name in names)


def kl_bounds(lens: Listed, model: Listed) -> tuple[float, float]:
    """The least and the largest KL of two distributions of which the largest probabilities are given, in nats.

    Labels that stand for several ids make it unknown.
    """
    p, q = dict(lens), dict(model)
    if len(p) < len(lens) or len(q) < len(model):
        return 0.0, inf
    shared = p.keys() & q.keys()
    both = sum(p[token] * log(p[token] / q[token]) for token in shared)
    alone = [p[token] for token in p if token not in shared]
    rest = max(0.0, 1 - sum(p.values()))
    left = max(0.0, 1 - sum(q[token] for token in shared)) + ROUNDING
    beyond = rest + sum(alone)
    low = both + (beyond * log(beyond / left) if beyond else 0.0)
    return low, both - beyond * log(KL_TINY)
