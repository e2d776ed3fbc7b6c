"""The tables that run.py does not write: how lenses agree, and whole answers."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import log

from ..runs.places import Place
from ..runs.run import AGREEMENT, PURE, TABLE_KINDS, Run
from .cells import PassKey, Row
from .rows import TINY, DocumentContext
from .rules import Rule, Violation, close

LEAST = 2.0**-126  # a float32 probability below this may be 0
Tables = Mapping[str, Sequence[Row]]


def lenses_of(tables: Tables) -> dict[str, str]:
    """The lenses of a run and the kind of each one's pure table, the norm lens first."""
    kinds = [kind for kind in TABLE_KINDS if kind.startswith(PURE) and kind in tables]
    return {kind.removeprefix(PURE).removeprefix("-") or "norm": kind for kind in kinds}


def check_further(
    run: Run, kind: str, tables: Tables, facts: DocumentContext, n: int
) -> Iterator[Violation]:
    """The rows of one of the two tables, and each row by itself and against the pure tables."""
    rows, lenses = tables[kind], lenses_of(tables)
    pure = {(lens, row.where, row["layer"]): row for lens, k in lenses.items() for row in tables[k]}
    check, keys = (agreement_row, pairs) if kind == AGREEMENT else (answer_row, answers)
    rule = Rule.AGREEMENT_ROWS if kind == AGREEMENT else Rule.ANSWERS_ROWS
    demanded = sorted(
        (pass_key, *key)
        for pass_key in facts.passes
        for key in keys(facts, pass_key, n, list(lenses))
    )
    present = sorted(
        (r.where, r["layer"], *sorted(r[c] for c in ("lens", "against") if c in r.cells))
        for r in rows
    )
    if len(rows) == len(run.tables[kind].rows) and present != demanded:
        place = Place(run.table_name(kind))
        yield Violation(place, rule, rows_difference(demanded, present))
    for row in rows:
        yield from check(row, pure.get((row["lens"], row.where, row["layer"])))


def rows_difference(demanded: Sequence[object], present: Sequence[object]) -> str:
    """How many rows there are and should be, and the first that is missing, else the first too many."""
    counts = f"{len(present)} rows for {len(demanded)}"
    known, actual = set(demanded), set(present)
    missing = [key for key in demanded if key not in actual]
    first = missing or [key for key in present if key not in known]
    return counts + (f", first at {first[0]}" if first else "")


def pairs(
    facts: DocumentContext, pass_key: PassKey, n: int, lenses: list[str]
) -> list[tuple[object, ...]]:
    """Every two lenses at every layer, and each with the model; a pair's names in alphabetical order."""
    return [
        (layer, a, b)
        for layer in range(n + 1)
        for a, b in combinations(sorted([*lenses, "model"]), 2)
    ]


def answers(
    facts: DocumentContext, pass_key: PassKey, n: int, lenses: list[str]
) -> list[tuple[object, ...]]:
    """Every lens at every layer and the model at the last one, where the answer has an id."""
    if facts.passes[pass_key].answer_id is None:
        return []
    return [*((layer, lens) for layer in range(n + 1) for lens in lenses), (n, "model")]


def agreement_row(row: Row, pure: Row | None) -> Iterator[Violation]:
    """0 ≤ JS ≤ TV ≤ 1 in bits (Lin 1991), KL ≥ 2 TV² / ln 2 (Pinsker); the KL to the model is the pure row's.

    1 is an exact bound: run.py, which sums in float32, writes no such table. Below 0 the last bit of a sum is allowed.
    """
    kl, js, tv = row["kl_bits"], row["js_bits"], row["tv"]
    if not 0 <= tv <= 1:
        yield row.broken("tv", Rule.AGREEMENT_RANGE)
    if not -TINY <= js <= min(1, tv + TINY):
        yield row.broken("js_bits", Rule.AGREEMENT_RANGE)
    if kl < 2 * tv**2 / log(2) - TINY:
        yield row.broken("kl_bits", Rule.AGREEMENT_RANGE)
    if row["against"] == "model" and pure is not None and not close(kl, pure["kl_to_final_bits"]):
        yield row.broken("kl_bits", Rule.AGREEMENT_MODEL)


def answer_row(row: Row, pure: Row | None) -> Iterator[Violation]:
    """p_joint = 2^−surprisal ≤ 1; a whole answer is no likelier than its first token, one token is that token."""
    p, bits, tokens = row["p_joint"], row["surprisal_bits"], row["n_tokens"]
    if bits < 0 or not close(p, 2.0**-bits):
        yield row.broken("surprisal_bits", Rule.ANSWERS_RANGE)
    if not 0 <= p <= 1:
        yield row.broken("p_joint", Rule.ANSWERS_RANGE)
    if tokens < 1:
        yield row.broken("n_tokens", Rule.ANSWERS_RANGE)
    first = None if pure is None else pure["p_answer"]
    if first is not None and not (
        close(p, first) if tokens == 1 else p <= first * (1 + 1e-4) + LEAST
    ):
        yield row.broken("p_joint", Rule.ANSWERS_FIRST)
