"""Comparison and schema look no name up by walking a list: twice the rows take twice the comparisons of names."""

from collections.abc import Callable
from typing import Any

import pytest

from spec.compare.recorder import Recorder
from spec.compare.runs import compare
from spec.compare.tables import COLUMN, compare_names
from spec.compare.tolerance import FP32
from spec.runs.csv_dialect import Table
from spec.runs.listing import AGREEMENT, ANSWERS, PURE
from spec.runs.places import Place, TableRow
from spec.runs.run import Run
from spec.schema.cells import Row, expected_columns
from spec.schema.document import MILESTONES
from spec.schema.further_tables import check_further
from spec.schema.row_order import check_order
from spec.schema.rows import DocumentContext, Pass
from spec.schema.rules import Rule
from spec.schema.suite import check_suite

SIZES = (200, 400)


class Counted(str):
    """A text that counts how often texts of its kind are compared."""

    times = 0

    def __eq__(self, other: object) -> bool:
        Counted.times += 1
        return str.__eq__(self, other)

    def __lt__(self, other: Any) -> bool:
        Counted.times += 1
        return str.__lt__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def names(count: int) -> list[str]:
    return [Counted(f"p{i}") for i in range(count)]


def by_name(count: int) -> None:
    """Names of which each side lacks some, so that every search is to its end."""
    expected, obtained = names(count), names(count)
    sides = expected[: count // 2], obtained[count // 4 :]
    compare_names(Recorder("f", FP32), COLUMN, sides, lambda name: Place("f", column=name))


def table(kind: str, count: int) -> Table:
    header = tuple(Counted(name) for name in expected_columns(kind))
    rows = tuple(
        tuple(Counted(prompt if name == "prompt_id" else "0.25") for name in header)
        for prompt in names(count)
    )
    return Table(header, rows, rows, True)


def by_table(count: int) -> None:
    expected, obtained = (
        Run("X", frozenset({f"output-X-{PURE}.csv"}), {PURE: table(PURE, count)}) for _ in range(2)
    )
    assert compare(expected, obtained, FP32).matches


def rows_of(count: int, **more: Any) -> list[Row]:
    return [
        Row(
            "f",
            TableRow(name, Counted("v"), Counted("0"), Counted("0")),
            {"prompt_id": name, "prompt_variant": Counted("v"), "pos": 0, **more},
        )
        for name in names(count)
    ]


def passes(count: int) -> DocumentContext:
    known: dict[tuple[str, str], Pass] = {
        (name, Counted("v")): Pass("a", 1, ids_known=True) for name in names(count)
    }
    return DocumentContext(passes=known, own=True)


def by_order(count: int) -> None:
    """Every second row is missing, one comes twice."""
    rows = rows_of(count, layer=0)
    rows = [*rows[::2], rows[0]]
    ends = dict.fromkeys(passes(count).passes, 0)
    violations = check_order(("f", PURE), rows, (), 0, passes(count), ends)
    assert [v.rule for v in violations].count(Rule.ROWS_EXTRA) == 1


def by_further(kind: str) -> Callable[[int], None]:
    def check(count: int) -> None:
        more = {"lens": "norm", "against": "model", "n_tokens": 1, "answer": "a"}
        numbers = {"kl_bits": 0.0, "js_bits": 0.0, "tv": 0.0, "p_joint": 1.0, "surprisal_bits": 0.0}
        rows = rows_of(count, layer=0, top1_agree=True, **more, **numbers)[: count - 2]
        tables = {kind: rows, PURE: []}
        run = Run("X", tables={kind: table(kind, count - 2)})
        assert list(check_further(run, kind, tables, passes(count), 0))

    return check


def by_suite(count: int) -> None:
    """A block for every pass, each held to the rows of its own."""
    flags = dict.fromkeys(("copy_collapse", "entropy_collapse", "is_answer"), False)
    numbers = {"answer_rank": None, "kl_to_final_bits": 9.0, "control_margin": None}
    gold: dict[str, Any] = {
        "string": "a",
        "pieces": [],
        "first_id": None,
        "answer_ids": [],
        "variant": "unknown",
    }
    block = {"gold_answer": gold, "gold_alignment": "unresolved", "control": None}
    block |= dict.fromkeys((*MILESTONES, "last_layer_consistency"))
    blocks = [{"prompt_id": n, "prompt_variant": Counted("v"), **block} for n in names(count)]
    document = {"model_stats": {"num_layers": 1}, "passes": blocks}
    assert list(check_suite("f", document, rows_of(count, layer=0, **flags, **numbers))) == []


@pytest.mark.parametrize(
    "step",
    [by_name, by_table, by_order, by_further(AGREEMENT), by_further(ANSWERS), by_suite],
    ids=["names", "tables", "order", "agreement", "answers", "passes"],
)
def test_comparisons_grow_with_the_rows_and_not_with_their_square(
    step: Callable[[int], None],
) -> None:
    times = []
    for count in SIZES:
        Counted.times = 0
        step(count)
        times.append(Counted.times)
    # a sort compares n log n times; a search through a list would compare four times as often
    assert times[1] <= 2.6 * times[0] + 100, times
