"""Rows of one pass: the copy window's beginning and end, and an answer that has no id."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lenses_min import RunOptions
from lenses_min.core import records
from lenses_min.core.metrics import Measures
from lenses_min.core.milestones import milestones
from lenses_min.core.norms import FormulaNorms
from lenses_min.core.records import RowContext, tables_of
from lenses_min.core.rows import PureRow, RecordRow
from lenses_min.core.tokens import Tokens
from lenses_min.core.types import Bos, Encoded, Gold, Lens, PassResult, Rows
from lenses_min.core.unembedding import Unembedding
from lenses_min.lenses.norm import NormLens
from lenses_min.lenses.prism import PrismLens, Whitening
from lenses_min.prompts.suite import Prompt, built_in

MAIN, ABLATION, CONTROL = built_in().passes
TEXTS = {0: " Berlin", 1: " Paris", 2: " x"}


def lens(kind: type[Lens]) -> Lens:
    norms = FormulaNorms(torch.ones(4, 2), torch.zeros(4, 1), torch.zeros(4, 1, dtype=torch.bool))
    head = Unembedding(torch.ones(3, 2), None)
    if kind is NormLens:
        return NormLens(norms, head)
    return PrismLens(norms, head, Whitening(torch.zeros(2), torch.ones(2), torch.eye(2)))


def pure(
    context: RowContext, kind: type[Lens], top: list[int], entropy: float = 0.0
) -> list[PureRow]:
    """The rows of a pass whose layers have these ids on top, all of them sure, and no id for the answer."""
    n = len(top)
    metrics = Measures(
        top_p=np.array([[0.99, 0.01]] * n),
        top_id=np.array([[i, 1] for i in top]),
        p_top5=np.zeros(n),
        entropy=np.full(n, entropy),
        kl=np.zeros(n),
        cos=np.zeros(n),
        p_answer=np.zeros((n, 0)),
        log_p_answer=np.zeros((n, 0)),
        rank=np.zeros((n, 0), dtype=np.int32),
    )
    rows = Rows(torch.zeros(n, 2), list(range(n)), [0] * n)
    return context.pure(rows, metrics, lens(kind))


def copies(context: RowContext, kind: type[Lens], top: list[int]) -> list[bool]:
    return [row.copy_collapse for row in pure(context, kind, top)]


def context(prompt: Prompt = MAIN, ids: tuple[int, ...] = (2, 2)) -> RowContext:
    encoded = Encoded(prompt, Gold(prompt.answer, (), (), "unknown"), (9,), ids, ())
    return RowContext(encoded, Tokens(None, Bos((), "none"), TEXTS), 0.95, 0.10)


def test_a_window_starts_empty_for_every_lens_and_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """With run.py's window of one token this would not show, so it is two here."""
    monkeypatch.setattr(records, "COPY_WINDOW", 2)
    for prompt in (MAIN, ABLATION):
        row_of = context(prompt)
        for kind in (NormLens, PrismLens):
            assert copies(row_of, kind, [2, 2, 1, 2]) == [False, True, False, False]


@pytest.mark.parametrize(
    ("prompt", "kind", "top", "is_answer"),
    [
        (MAIN, NormLens, 0, True),
        (MAIN, PrismLens, 0, True),
        (CONTROL, NormLens, 0, True),
        (CONTROL, NormLens, 1, False),
        (CONTROL, PrismLens, 0, False),
        (CONTROL, PrismLens, 1, True),
    ],
)
def test_an_answer_without_an_id_is_matched_by_its_text(
    prompt: Prompt, kind: type[Lens], top: int, is_answer: bool
) -> None:
    """The norm lens looks for Berlin even in the control pass (R6), Prism for the pass's own answer."""
    assert context(prompt).is_answer(None, top, lens(kind).fallback_answer) is is_answer
    assert pure(context(prompt), kind, [top])[0].is_answer is is_answer


def test_at_its_bound_entropy_collapses_and_a_copy_does_not() -> None:
    assert [
        pure(context(), NormLens, [2], bits)[0].entropy_collapse for bits in (1.0, 1.0000001)
    ] == [True, False]
    row_of = RowContext(context().encoded, Tokens(None, Bos((), "none"), TEXTS), 0.5, 0.25)
    likely = [(0.5, 0.0), (0.5000001, 0.0), (0.75, 0.5), (0.75, 0.4999999), (0.75,)]
    assert [row_of.copies([2], top_p) for top_p in likely] == [False, True, False, True, True]


def test_under_the_corrected_contract_every_lens_looks_for_the_answer_of_the_pass() -> None:
    own = replace(context(CONTROL), own_answers=True)
    for kind in (NormLens, PrismLens):
        assert [row.is_answer for row in pure(own, kind, [0, 1])] == [False, True]


def test_the_answer_is_on_top_at_rank_one_alone() -> None:
    assert [context().is_answer(rank, 0, None) for rank in (1, 2, 3)] == [True, False, False]


def test_a_run_of_one_pass_has_its_tables() -> None:
    rows = pure(context(), NormLens, [2, 0])
    records: list[RecordRow] = [*rows]
    result = PassResult(
        encoded=context().encoded,
        records={"norm": records},
        pure={"norm": rows},
        consistency={},
        error={},
        bridge_error={},
        agreement=[],
        raw_samples=[],
        divergences=[],
        whole_answers=[],
        predictions={},
        residuals={},
    )
    tables = tables_of(RunOptions("m"), [result])
    assert tables == {("records", "norm"): records, ("pure", "norm"): rows}


def test_the_name_of_a_pass_begins_with_the_fact_that_the_run_names() -> None:
    (row,) = pure(context(), NormLens, [2])
    assert row.pass_name == "pos/orig"
    assert replace(row, fact_key="capital").pass_name == "capital/pos/orig"


def test_milestones_are_the_first_layers_that_hold() -> None:
    """A level is reached at its bound."""
    first = pure(context(), NormLens, [0] * 4, entropy=2.0)
    numbers: dict[str, tuple[Any, ...]] = {
        "copy_collapse": (False, True, True, False),
        "entropy_collapse": (False, False, True, True),
        "is_answer": (False, False, False, True),
        "kl_to_final_bits": (None, 1.0, 0.5, 0.1),
        "answer_rank": (None, 10, 5, 1),
    }
    rows = [
        replace(row, **{name: values[row.layer] for name, values in numbers.items()})
        for row in first
    ]
    assert milestones(rows) == {
        "L_copy": 1,
        "L_copy_H": 2,
        "L_semantic": 3,
        "delta_layers": 2,
        "first_kl_below_0.5": 2,
        "first_kl_below_1.0": 1,
        "first_rank_le_1": 3,
        "first_rank_le_5": 2,
        "first_rank_le_10": 1,
    }
    assert set(milestones(first[:0]).values()) == {None}
