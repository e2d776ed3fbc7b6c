"""The whole answer, and the last layer against the model, of arrays worked out by hand."""

from math import log

import numpy as np
import pytest
import torch

from lenses_min.core.host import to_host
from lenses_min.core.last_layer import (
    LastLogits,
    LogitComparison,
    compare_logits,
    last_layer_consistency,
)
from lenses_min.core.metrics import Divergence, Measures
from lenses_min.core.pass_metrics import AnswerMetrics, PassMetrics
from lenses_min.core.rows import AgreementRow
from lenses_min.core.types import Encoded, Gold, Rows
from lenses_min.pipeline.agreement import agreement_rows, last_layer_agreement
from lenses_min.pipeline.answers import answer_rows
from lenses_min.prompts.suite import Prompt

PROMPT = Prompt("pos", "orig", "a b", "c d e")
ROWS = Rows(torch.zeros(4, 2), [0, 0, 1, 1], [0, 1, 0, 1])


def encoded(*answer_ids: int) -> Encoded:
    gold = Gold(PROMPT.answer, (), answer_ids, "with_space")
    return Encoded(PROMPT, gold, (1, 2), (1, 2), answer_ids[:1], answer_ids[:-1])


def measures(p_answer: list[list[float]]) -> Measures[np.ndarray]:
    """Numbers of rows of which the probabilities of the answers are read alone."""
    p = np.array(p_answer)
    rest, ids = np.zeros(len(p)), np.zeros((len(p), 1), dtype=np.int32)
    return Measures(p, ids, rest, rest, rest, rest, p, np.log(p), ids)


def numbers(answer: AnswerMetrics[np.ndarray] | None) -> PassMetrics[np.ndarray]:
    """The first token has p = 1/2 at layer 0, 1/4 at layer 1, and 1/2 by the model itself."""
    model = measures([[1 / 2]])
    return PassMetrics(
        by_lens={"norm": measures([[1.0], [1 / 2], [1.0], [1 / 4]])},
        by_pair={},
        last_logits=LastLogits(np.zeros(2), np.zeros(2)),
        consistency=LogitComparison(model, model, np.zeros(1)),
        answer=answer,
    )


def test_the_probability_of_an_answer_is_the_product_of_those_of_its_tokens() -> None:
    """A later token is read at its own place: of three tokens the diagonal of two by two numbers a layer."""
    later = measures([[1 / 2, 0.9], [0.9, 1 / 4], [1.0, 0.9], [0.9, 1 / 2]])
    answer = AnswerMetrics({"norm": later}, np.log([1 / 2, 1 / 4]))
    rows = answer_rows(encoded(5, 6, 7), ROWS, numbers(answer))
    assert [(row.layer, row.lens) for row in rows] == [(0, "norm"), (1, "norm"), (1, "model")]
    assert [row.p_joint for row in rows] == pytest.approx([1 / 16, 1 / 8, 1 / 16])
    assert [row.surprisal_bits for row in rows] == pytest.approx([4, 3, 4])
    assert {(row.prompt_id, row.prompt_variant, row.answer, row.n_tokens) for row in rows} == {
        ("pos", "orig", "c d e", 3)
    }


def test_an_answer_of_one_token_has_the_probability_of_that_token() -> None:
    rows = answer_rows(encoded(5), ROWS, numbers(None))
    assert [(row.layer, row.lens) for row in rows] == [(0, "norm"), (1, "norm"), (1, "model")]
    assert [row.p_joint for row in rows] == pytest.approx([1 / 2, 1 / 4, 1 / 2])
    assert [row.surprisal_bits for row in rows] == pytest.approx([1, 2, 1])


def test_an_answer_without_an_id_has_no_rows() -> None:
    assert answer_rows(encoded(), ROWS, numbers(None)) == []


def test_each_pair_has_a_row_a_layer() -> None:
    by_pair = {
        ("norm", "model"): Divergence(
            np.array([0.5, 0.25]), np.array([0.1, 0.2]), np.array([0.3, 0.4]), np.array([1, 0])
        ),
        ("norm", "raw"): Divergence(
            np.array([2.0, 3.0]), np.array([0.6, 0.7]), np.array([0.8, 0.9]), np.array([0, 1])
        ),
    }
    assert agreement_rows(encoded(5), ROWS, by_pair) == [
        AgreementRow("pos", "orig", 0, 1, "norm", "model", 0.5, 0.1, 0.3, True),
        AgreementRow("pos", "orig", 0, 1, "norm", "raw", 2.0, 0.6, 0.8, False),
        AgreementRow("pos", "orig", 1, 1, "norm", "model", 0.25, 0.2, 0.4, False),
        AgreementRow("pos", "orig", 1, 1, "norm", "raw", 3.0, 0.7, 0.9, True),
    ]


def test_a_pair_of_lenses_has_an_entry_of_its_last_layer() -> None:
    z = torch.tensor([2.0, 1.0, 0.0])
    compared = to_host(compare_logits(z, z.flip(0), []))
    kl = float(compared.lens.kl[0]) / log(2)
    entries = last_layer_agreement({("raw", "norm"): compared}, [])
    rest = {key: entries[0].pop(key) for key in ("temp_est", "kl_after_temp_bits")}
    assert entries == [{"lens": "raw", "against": "norm", "kl_bits": kl, "top1_agree": False}]
    assert kl > rest["kl_after_temp_bits"] > 0
    assert rest["temp_est"] > 1


@pytest.mark.parametrize(("rank_logits", "rank"), [(False, 2), (True, 4)])
def test_the_last_layer_is_ranked_by_what_the_contract_ranks_by(
    rank_logits: bool, rank: int
) -> None:
    """Of the last three logits none has a probability over 0 in float32."""
    z = torch.tensor([300.0, 2.0, 1.0, 0.0])
    compared = to_host(compare_logits(z, z, [3], rank_logits))
    block = last_layer_consistency(compared, [3])
    assert (block["p_answer_lens"], block["answer_rank_lens"]) == (0.0, rank)


def test_without_an_answer_the_last_layer_has_neither_its_probability_nor_its_rank() -> None:
    z, final = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    block = last_layer_consistency(to_host(compare_logits(z, final, [])), [])
    assert (block["p_answer_lens"], block["answer_rank_lens"]) == (None, None)
    assert (block["top1_agree"], block["p_top1_lens"]) == (False, block["p_top1_model"])
