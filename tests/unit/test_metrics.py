"""Metrics at the edges that random logits never reach."""

import pytest
import torch

from lenses_min.core import decode as row_decoder
from lenses_min.core import metrics
from lenses_min.core.distribution import softmax
from lenses_min.core.types import Rows


def test_a_vanishing_vector_has_a_vanishing_cosine() -> None:
    """The 1e-12 that the norms are raised by counts from there on."""
    tiny, unit = torch.tensor([[1e-12, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert metrics.cosine(tiny, unit).item() == pytest.approx(0.5)
    assert metrics.cosine(unit, tiny).item() == pytest.approx(0.5)
    assert metrics.cosine(torch.zeros(1, 2), unit).item() == 0


def test_every_row_has_its_own_reference() -> None:
    draw = torch.Generator().manual_seed(3)
    z, final = (
        torch.randn(3, 7, generator=draw),
        torch.randn(3, 7, generator=draw) * torch.tensor([[1.0], [9], [99]]),
    )
    alone = [metrics.cosine(z[i : i + 1], final[i : i + 1]) for i in range(3)]
    assert torch.allclose(metrics.cosine(z, final), torch.cat(alone))


def test_a_vocabulary_over_the_chunk_is_decoded_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_decoder, "CHUNK_ELEMENTS", 4)
    sizes = []

    def decode(x: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
        sizes.append(x.shape[0])
        return x

    rows = Rows(torch.randn(3, 5), [0, 1, 2], [0, 0, 0])
    row_decoder.decode_rows({"x": decode}, [row_decoder.RowBlock(rows, "x", [])], vocab=5, k=1)
    assert sizes == [1] * 3


def test_ranks_by_logits_part_what_underflow_ties() -> None:
    z = torch.tensor([[300.0, 2.0, 1.0, 0.0]])
    assert metrics.measure(z, z, [3], 1).rank.tolist() == [[2]]
    assert metrics.measure(z, z, [3], 1, rank_logits=True).rank.tolist() == [[4]]


def test_numbers_of_all_chunks_lie_in_what_the_first_one_reserved() -> None:
    rows = Rows(torch.randn(6, 5), [0, 0, 0, 1, 1, 1], [0, 1, 2] * 2)
    block = row_decoder.RowBlock(rows, torch.zeros(5), [], pairs=[("x", "model")])
    buffer = row_decoder.MetricBuffer(block)
    z = {"x": torch.randn(6, 5, generator=torch.Generator().manual_seed(0))}
    places = []
    for start in (0, 2, 4):
        part = slice(start, start + 2)
        buffer.add(rows[part], {"x": z["x"][part]}, 5, False)
        places.append(buffer.metrics.by_lens["x"].kl.data_ptr())
    assert len(set(places)) == 1
    expected = metrics.measure(z["x"], torch.zeros(5), [], 5)
    assert torch.equal(buffer.metrics.by_lens["x"].kl, expected.kl)
    pair = metrics.diverge(softmax(z["x"][[2, 5]]), softmax(torch.zeros(1, 5)))
    assert torch.equal(buffer.metrics.by_pair["x", "model"].kl_bits, pair.kl_bits)


def test_rows_at_the_last_position_are_counted() -> None:
    def ends(*pos: int) -> int:
        rows = Rows(torch.zeros(len(pos), 1), [0] * len(pos), [*pos])
        return row_decoder.RowBlock(rows, torch.zeros(2), []).end_count

    assert (ends(), ends(0), ends(0, 1, 2, 2), ends(2, 0)) == (0, 1, 2, 1)
