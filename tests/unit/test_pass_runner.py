"""The runner of passes, step by step, over a model of one layer and three tokens whose residuals are its logits."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from math import log
from typing import Any

import pytest
import torch
from stub_passes import encoded

from lenses_min import RunOptions
from lenses_min.core.decode import RowBlock
from lenses_min.core.forward import Captured, ForwardRequest, Residuals, hook_name
from lenses_min.core.types import Encoded, Gold, Lens, Norms, Rows
from lenses_min.core.unembedding import Unembedding
from lenses_min.lenses.norm import NormLens
from lenses_min.model import verify
from lenses_min.model.load import LoadedModel
from lenses_min.pipeline import passes
from lenses_min.pipeline.passes import Pass, PassRunner
from lenses_min.prompts.suite import Prompt, Suite

HEAD = Unembedding(torch.eye(3), None)
PLAIN, RECORDED, LATER = (
    Prompt(name, "orig", "The", "x", write_records=name != "a") for name in "abc"
)
SUITE = Suite((PLAIN, RECORDED, LATER), (), frozenset())
# Probabilities of the three tokens: at the last position of the prompt, and at the first token of the answer.
LAST = ((1 / 2, 1 / 4, 1 / 4), (1 / 4, 1 / 2, 1 / 4))
ANSWER = ((1 / 4, 1 / 4, 1 / 2), (1 / 8, 1 / 8, 3 / 4))


class NoNorm(Norms):
    @property
    def last(self) -> int:
        return 1

    def apply(self, x: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
        return x


@dataclass(frozen=True)
class LateLens(Lens):
    """The residual itself, with records from layer 1 on."""

    name = "late"
    first_record_layer = 1
    fallback_answer = "Berlin"

    def decode(self, x: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
        return x


@pytest.fixture
def runner_of(fact_model: LoadedModel) -> Callable[..., PassRunner]:
    """A runner of the small model under some options."""

    def make(alone_above: int | None = None, **options: Any) -> PassRunner:
        facts = replace(fact_model.facts, n_layers=1, d_vocab=3, alone_above=alone_above)
        model = replace(fact_model, facts=facts, norms=NoNorm(), head=HEAD)
        lenses = [NormLens(model.norms, HEAD), LateLens()]
        return PassRunner(model, lenses, SUITE, RunOptions("m", **options))

    return make


def forward(x: torch.Tensor, answer: torch.Tensor | None = None) -> Captured:
    """A prompt of two tokens with a residual at the last one of each layer, and one token of its answer, if any."""
    answer = torch.zeros(0, 3) if answer is None else answer
    residuals = Residuals({hook_name(i): x[i : i + 1] for i in (0, 1)}, x, 1, 2)
    after = Rows(answer, [0, 1][: len(answer)], [2, 2][: len(answer)])
    return Captured(residuals, x[1], after, answer[1:])


def one_pass(of: Encoded, captured: Captured) -> Pass:
    return Pass(of, captured, captured.residuals.rows(()))


@pytest.mark.parametrize(("contract", "rank"), [("reference", 2), ("corrected", 3)])
def test_ranks_count_logits_under_the_corrected_contract_alone(
    contract: str, rank: int, runner_of: Callable[..., PassRunner]
) -> None:
    """The last two tokens have a probability that float32 does not hold."""
    runner = runner_of(contract=contract)
    of = one_pass(encoded(RECORDED, 2), forward(torch.tensor([[0.0, -200.0, -300.0]] * 2)))
    (rows,) = runner.decode([RowBlock(of.rows, of.forward.final, [2])])
    (answer,) = runner.decode([RowBlock(of.forward.answer_residuals, of.forward.final, [])])
    metrics = runner.metrics(of, rows, answer)
    assert metrics.by_lens["norm"].rank.tolist() == [[rank]] * 2
    assert metrics.consistency is not None
    assert metrics.consistency.lens.rank.tolist() == [[rank]]
    assert metrics.raw_lens is not None
    for side in (metrics.raw_lens.norm, metrics.raw_lens.raw):
        assert side.rank.tolist() == [[rank]] * 2


@pytest.mark.parametrize(
    ("records", "own", "followed", "first"), [*product((False, True), repeat=4)]
)
def test_what_is_measured_of_a_pass(
    records: bool, own: bool, followed: bool, first: bool, runner_of: Callable[..., PassRunner]
) -> None:
    """`own` prompts; an answer of more tokens that `followed` the prompt; the prompt that transformers read first."""
    runner = runner_of(prompts="own.yaml" if own else "")
    of = encoded(RECORDED if records else PLAIN, 1)
    if followed:
        gold = replace(of.gold, answer_ids=(1, 2))
        of = replace(of, gold=gold, answer_prefix_ids=(1,))
    if first:
        of = replace(of, token_ids=runner.model.own.ids)
    x = torch.tensor(LAST).log()
    captured = forward(x, torch.tensor(ANSWER).log() if followed else None)
    one = one_pass(of, captured)
    (rows,) = runner.decode([RowBlock(one.rows, captured.final, [1])])
    (answer,) = runner.decode(
        [RowBlock(captured.answer_residuals, captured.final, of.gold.answer_ids[1:])]
    )
    metrics = runner.metrics(one, rows, answer)
    assert (metrics.consistency is not None) == (records or own)
    pairs = [("norm", "late"), ("late", "model")] if records else []
    assert list(metrics.agreement) == pairs, "of norm and model the consistency tells"
    assert (metrics.temperatures is not None) == records
    assert (metrics.raw_lens is not None) == records
    assert (metrics.answer is not None) == followed
    if metrics.answer:
        assert metrics.answer.model_log_p.tolist() == pytest.approx([log(3 / 4)])
    assert (metrics.residuals is not None) == first
    if metrics.residuals is not None:
        assert torch.equal(metrics.residuals, x)


@pytest.fixture
def result_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[PassRunner, Encoded], Any]:
    """The result of a pass whose forward gives the probabilities above."""
    monkeypatch.setattr(verify, "bridge_error", lambda model, residuals, logits: {"kl_bits": 0.0})

    def run(runner: PassRunner, of: Encoded) -> Any:
        x = torch.tensor(LAST).log()
        answer = torch.tensor(ANSWER).log() if of.answer_prefix_ids else None
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(PassRunner, "capture", lambda self, requests: [forward(x, answer)])
            patched.setattr(PassRunner, "full_layers", lambda self, encoded: range(0))
            (result,) = runner.run_batch([of])
        return result

    return run


def test_the_whole_answer_is_the_product_of_its_tokens(
    runner_of: Callable[..., PassRunner], result_of: Callable[[PassRunner, Encoded], Any]
) -> None:
    of = encoded(PLAIN, 1)
    of = replace(of, gold=replace(of.gold, answer_ids=(1, 2)), answer_prefix_ids=(1,))
    rows = result_of(runner_of(prompts="own.yaml"), of).whole_answers
    assert [(row.lens, row.layer) for row in rows] == [
        *(("norm", 0), ("norm", 1), ("late", 0), ("late", 1), ("model", 1))
    ]
    assert [row.p_joint for row in rows] == pytest.approx([1 / 8, 3 / 8, 1 / 8, 3 / 8, 3 / 8])


def test_lenses_are_compared_at_every_layer_where_a_run_writes_more_than_the_reference(
    runner_of: Callable[..., PassRunner], result_of: Callable[[PassRunner, Encoded], Any]
) -> None:
    assert result_of(runner_of(), encoded(PLAIN, 1)).divergences == []
    rows = result_of(runner_of(prompts="own.yaml"), encoded(PLAIN, 1)).divergences
    pairs = [("norm", "late"), ("norm", "model"), ("late", "model")]
    assert [(row.layer, row.lens, row.against) for row in rows] == [
        (layer, *pair) for layer in (0, 1) for pair in pairs
    ]


@pytest.mark.parametrize(("contract", "layers"), [("reference", [1]), ("corrected", [0, 1])])
def test_records_begin_at_the_first_layer_of_a_lens_but_under_the_corrected_contract(
    contract: str,
    layers: list[int],
    runner_of: Callable[..., PassRunner],
    result_of: Callable[[PassRunner, Encoded], Any],
) -> None:
    records = result_of(runner_of(contract=contract), encoded(RECORDED, 1)).records
    assert [row.layer for row in records["norm"]] == [0, 1]
    assert [row.layer for row in records["late"]] == layers


@pytest.mark.parametrize(
    ("contract", "prompts", "right"),
    [
        ("reference", "", False),
        ("reference", "own.yaml", True),
        ("corrected", "", True),
        ("corrected", "own.yaml", True),
    ],
)
def test_an_answer_without_an_id_is_its_own_text_but_in_the_reference(
    contract: str,
    prompts: str,
    right: bool,
    runner_of: Callable[..., PassRunner],
    result_of: Callable[[PassRunner, Encoded], Any],
) -> None:
    """The likeliest token of layer 1 spells the answer; the reference looks for Berlin (R6)."""
    runner = runner_of(contract=contract, prompts=prompts)
    of = encoded(PLAIN)
    of = replace(of, gold=Gold(runner.model.tokens.text(1).strip(), (), (), "unknown"))
    assert [row.is_answer for row in result_of(runner, of).pure["norm"]] == [False, right]


def test_the_pass_that_transformers_read_is_compared_with_it(
    runner_of: Callable[..., PassRunner], result_of: Callable[[PassRunner, Encoded], Any]
) -> None:
    runner = runner_of()
    first = replace(encoded(PLAIN, 1), token_ids=runner.model.own.ids)
    assert result_of(runner, first).bridge_error == {"kl_bits": 0.0}
    assert result_of(runner, encoded(PLAIN, 1)).bridge_error == {}


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({}, [0, 1, 1]),
        ({"keep_residuals": True}, [0, 2, 1]),
        ({"contract": "corrected"}, [0, 2, 2]),
    ],
)
def test_layers_of_which_every_position_is_kept(
    options: dict[str, Any], layers: list[int], runner_of: Callable[..., PassRunner]
) -> None:
    """Of no records, of the first pass with records, and of a later one: so many layers from 0 on."""
    runner = runner_of(**options)
    for prompt, count in zip(SUITE.passes, layers, strict=True):
        of = replace(encoded(prompt, 1), answer_prefix_ids=(1,))
        assert runner.request(of) == ForwardRequest((1, 5), range(count), (1,))
        decoded = range(0) if not prompt.write_records else range(2 if "contract" in options else 1)
        assert runner.full_layers(of) == decoded


@pytest.mark.parametrize(
    ("most", "ids", "answer", "apart"),
    [(None, 9, 2, False), (4, 3, 1, False), (4, 3, 2, True), (4, 9, 0, False)],
)
def test_a_long_prompt_and_its_answer_have_forwards_of_their_own(
    most: int | None,
    ids: int,
    answer: int,
    apart: bool,
    runner_of: Callable[..., PassRunner],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the tokens together are more than may share a forward, and there is an answer to read."""
    monkeypatch.setattr(passes, "capture_apart", lambda bridge, request, n: ("apart", request, n))
    monkeypatch.setattr(passes, "capture_batch", lambda bridge, requests, n: [*requests, n])
    request = ForwardRequest((5,) * ids, range(0), (1,) * answer)
    made: list[Any] = runner_of(most).capture([request])
    assert made == ([("apart", request, 1)] if apart else [request, 1])
