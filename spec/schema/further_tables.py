"""The tables that run.py does not write: how lenses agree, and whole answers."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import log

from ..runs.run import AGREEMENT, PURE, TABLE_KINDS, Run
from .cells import Row
from .rows import TINY, DocumentContext
from .rules import Violation, close

LEAST = 2.0**-126  # a float32 probability below this may be 0
Tables = Mapping[str, Sequence[Row]]


def lenses_of(tables: Tables) -> dict[str, str]:
    """The lenses of a run and the kind of each one's pure table, the norm lens first."""
    found = [kind for kind in TABLE_KINDS if kind.startswith(PURE) and kind in tables]
    return {kind.removeprefix(PURE).removeprefix("-") or "norm": kind for kind in found}


def check_further(
    run: Run, kind: str, tables: Tables, facts: DocumentContext, n: int
) -> Iterator[Violation]:
    """The rows of one of the two tables, and each row by itself and against the pure tables."""
    rows, lenses = tables[kind], lenses_of(tables)
    pure = {(lens, row.where, row["layer"]): row for lens, k in lenses.items() for row in tables[k]}
    judge, wanted = (agreement_row, pairs) if kind == AGREEMENT else (answer_row, answers)
    demanded = sorted(
        (where, *key) for where in facts.passes for key in wanted(facts, where, n, list(lenses))
    )
    found = sorted(
        (r.where, r["layer"], *sorted(r[c] for c in ("lens", "against") if c in r.cells))
        for r in rows
    )
    if len(rows) == len(run.tables[kind].rows) and found != demanded:
        known, got = set(demanded), set(found)
        missing = [key for key in demanded if key not in got] or [
            key for key in found if key not in known
        ]
        told = f"{len(rows)} rows for {len(demanded)}" + (
            f", first at {missing[0]}" if missing else ""
        )
        yield Violation(run.table_name(kind), "", "", f"{kind}.rows", told)
    for row in rows:
        yield from judge(row, pure.get((row["lens"], row.where, row["layer"])))


def pairs(
    facts: DocumentContext, where: tuple[str, str], n: int, lenses: list[str]
) -> list[tuple[object, ...]]:
    """Every two lenses at every layer, and each with the model; a pair's names in alphabetical order."""
    return [
        (layer, a, b)
        for layer in range(n + 1)
        for a, b in combinations(sorted([*lenses, "model"]), 2)
    ]


def answers(
    facts: DocumentContext, where: tuple[str, str], n: int, lenses: list[str]
) -> list[tuple[object, ...]]:
    """Every lens at every layer and the model at the last one, where the answer has an id."""
    if facts.passes[where].answer_id is None:
        return []
    return [*((layer, lens) for layer in range(n + 1) for lens in lenses), (n, "model")]


def agreement_row(row: Row, pure: Row | None) -> Iterator[Violation]:
    """0 ≤ JS ≤ TV ≤ 1 in bits (Lin 1991), KL ≥ 2 TV² / ln 2 (Pinsker); the KL to the model is the pure row's.

    1 is an exact bound: run.py, which sums in float32, writes no such table. Below 0 the last bit of a sum is allowed.
    """
    kl, js, tv = row["kl_bits"], row["js_bits"], row["tv"]
    if not 0 <= tv <= 1:
        yield row.broken("tv", "agreement.range")
    if not -TINY <= js <= min(1, tv + TINY):
        yield row.broken("js_bits", "agreement.range")
    if kl < 2 * tv**2 / log(2) - TINY:
        yield row.broken("kl_bits", "agreement.range")
    if row["against"] == "model" and pure is not None and not close(kl, pure["kl_to_final_bits"]):
        yield row.broken("kl_bits", "agreement.model")


def answer_row(row: Row, pure: Row | None) -> Iterator[Violation]:
    """p_joint = 2^−surprisal ≤ 1; a whole answer is no likelier than its first token, one token is that token."""
    p, bits, tokens = row["p_joint"], row["surprisal_bits"], row["n_tokens"]
    if bits < 0 or not close(p, 2.0**-bits):
        yield row.broken("surprisal_bits", "answers.range")
    if not 0 <= p <= 1:
        yield row.broken("p_joint", "answers.range")
    if tokens < 1:
        yield row.broken("n_tokens", "answers.range")
    first = None if pure is None else pure["p_answer"]
    if first is not None and not (
        close(p, first) if tokens == 1 else p <= first * (1 + 1e-4) + LEAST
    ):
        yield row.broken("p_joint", "answers.first")
