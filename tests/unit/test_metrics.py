"""Metrics at the edges that random logits never reach."""

from dataclasses import fields
from itertools import pairwise
from math import log, log2
from weakref import ReferenceType, ref

import pytest
import torch
from torch.testing import assert_close

from lenses_min.core import decode as row_decoder
from lenses_min.core import distribution, metrics
from lenses_min.core.distribution import bounded, norm, row_blocks, softmax, sum_dtype, wide_blocks
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


def test_the_logits_of_a_chunk_are_freed_before_the_next_has_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_decoder, "CHUNK_ELEMENTS", 10)
    logits: list[ReferenceType[torch.Tensor]] = []

    def decode(x: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
        assert [z for z in logits if z() is not None] == []
        logits.append(ref(z := x.clone()))
        return z

    rows = Rows(torch.randn(6, 5), [0] * 6, [*range(6)])
    block = row_decoder.RowBlock(rows, torch.zeros(5), [], pairs=[("x", "model")])
    row_decoder.decode_rows({"x": decode}, [block], vocab=5, k=1)
    assert len(logits) == 3


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
        buffer.add({"x": z["x"][part]}, 5, False)
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


def test_sums_are_in_float32_where_a_device_has_no_float64() -> None:
    dtypes = {name: sum_dtype(torch.device(name)) for name in ("cpu", "cuda", "mps")}
    assert dtypes == {"cpu": torch.float64, "cuda": torch.float64, "mps": torch.float32}


@pytest.mark.parametrize(
    ("rows", "size", "device", "ends"),
    [
        (0, 10, "cpu", [0, 0]),
        (0, 10**9, "cpu", [0, 0]),
        (1, 10**9, "cpu", [0, 1]),
        (3, 10**9, "cpu", [0, 1, 2, 3]),
        (5, 3 * 2**16, "cpu", [0, 2, 4, 5]),
        (5, 2**20, "cuda", [0, 2, 4, 5]),
    ],
)
def test_a_block_has_as_many_rows_as_its_device_widens_at_once_and_one_at_least(
    rows: int, size: int, device: str, ends: list[int]
) -> None:
    expected = [slice(*pair) for pair in pairwise(ends)]
    assert row_blocks(rows, size, torch.device(device)) == expected


def test_a_block_has_its_rows_in_the_dtype_of_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(distribution.BLOCK, "cpu", 16)
    z = torch.arange(24.0).reshape(3, 8)
    blocks = [
        (part, wide.clone(), [tuple(free.shape) for free in room])
        for part, wide, room in wide_blocks(z)
    ]
    assert [part for part, _, _ in blocks] == [slice(0, 2), slice(2, 3)]
    assert [shapes for _, _, shapes in blocks] == [[(2, 8)] * 2, [(1, 8)] * 2]
    assert all(torch.equal(wide, z[part].double()) for part, wide, _ in blocks)


def test_a_quantity_reaches_its_bounds_and_stays_within_them() -> None:
    x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])
    assert bounded(x, 0.0, 1.0).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    for v in (3, 5, 6, 7):  # of these bounds some lie below the nearest float32 number
        assert log2(v) - 3e-7 < bounded(torch.tensor([9.0]), 0.0, log2(v)).item() <= log2(v)


def test_a_softmax_leaves_its_logits_as_they_are() -> None:
    z = torch.tensor([[0.0, log(3)]], dtype=torch.float64)
    assert softmax(z).p[0].tolist() == pytest.approx([0.25, 0.75])
    assert z.tolist() == [[0.0, log(3)]]


@pytest.mark.parametrize("least", [0.0, -34.9, -35.1, -69.0, -200.0])
def test_a_raised_logarithm_is_that_of_the_formula(least: float) -> None:
    """Beside a row whose probabilities are all large."""
    p = softmax(torch.tensor([[0.0, -1.0], [0.0, least]]))
    tiny = torch.full_like(p.log_p, log(1e-30))
    assert (p.log_raised - torch.logaddexp(p.log_p, tiny)).abs().max() <= 2e-30
    assert softmax(torch.zeros(0, 4)).log_raised.shape == (0, 4)


class Elsewhere(torch.Tensor):
    """Numbers that take the ways of a device that is no CPU."""

    is_cpu = False


def test_a_raised_logarithm_is_the_same_on_every_device() -> None:
    p = softmax(torch.tensor([[0.0, -1.0, -34.9, -69.0, -200.0]]))
    elsewhere = distribution.Distribution(p.p.as_subclass(Elsewhere), p.log_p)
    assert_close(elsewhere.log_raised, p.log_raised, rtol=1e-14, atol=0)
    assert elsewhere.log_raised[0, -1].item() == pytest.approx(log(1e-30))


def test_the_blocks_of_a_device_have_their_rows_whatever_the_number_of_lenses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cache of a CPU holds the blocks of all lenses."""
    monkeypatch.setitem(distribution.BLOCK, "cpu", 2 * 7)
    z, final = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)), torch.zeros(7)

    def sizes(z: torch.Tensor) -> list[int]:
        blocks = metrics.measure_blocks({"a": z, "b": z}, metrics.Reference(final), [], 2, True)
        return [len(numbers.kl) for block in blocks for _, numbers in block.values()]

    assert sizes(z) == [1] * 2 * 4
    assert sizes(z.as_subclass(Elsewhere)) == [2] * 2 * 2


def test_rows_of_a_distribution_share_the_memory_of_its_terms() -> None:
    z = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    ((_, wide, room),) = wide_blocks(z)
    p = distribution.normalise(wide, room)
    assert p[[0, 1, 2]] is p
    some = p[[2, 0]]
    assert some.terms is not None
    assert some.terms.data_ptr() == room[1].data_ptr()
    assert torch.equal(some.p, p.p[[2, 0]])
    assert torch.equal(some.log_p, p.log_p[[2, 0]])
    assert softmax(z)[[2, 0]].terms is None


def test_a_reference_for_all_rows_is_widened_once_and_rows_block_by_block() -> None:
    z = torch.randn(2, 7, generator=torch.Generator().manual_seed(0))
    one, rows = metrics.Reference(z[0]), metrics.Reference(z)
    assert one[slice(3, 4)] is one
    assert one.logits.dtype == torch.float64
    assert rows.logits.dtype == torch.float32
    assert torch.equal(rows[slice(1, 2)].logits, z[1:].double())


def test_the_norm_of_a_row_is_that_of_its_numbers() -> None:
    x = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert norm(x).tolist() == norm(x.double()).tolist() == [5.0, 0.0]


def test_the_norm_in_float32_is_summed_pairwise() -> None:
    """One after the other, a million equal squares lose the fourth digit."""
    x = torch.full((1, 2**20), 0.1)
    assert norm(x).item() == pytest.approx(norm(x.double()).item(), rel=1e-7)


def test_logits_whose_squares_exceed_float32_have_a_cosine() -> None:
    large, unit = torch.tensor([[3e19, 4e19]]), torch.tensor([[1.0, 0.0]])
    assert metrics.cosine(large, unit).item() == pytest.approx(0.6)


def test_numbers_summed_in_float32_stay_in_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on MPS. Rounding alone would take some of these rows out of the ranges."""
    monkeypatch.setattr(distribution, "WITHOUT_FLOAT64", {"cpu"})
    z = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    for final in (z, -z):
        assert metrics.cosine(z, final).abs().max() <= 1
    assert metrics.measure(z, z[0], [], 3).p_top5.max() <= 1
    impossible = torch.full_like(z, -1e4)
    p, q = softmax(torch.cat([z, impossible], -1)), softmax(torch.cat([impossible, z], -1))
    assert metrics.diverge(p, q).tv.max() <= 1


def test_rows_have_the_same_numbers_in_blocks_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows a block; one reference for all of them, and one for each."""
    monkeypatch.setitem(distribution.BLOCK, "cpu", 14)
    draw = torch.Generator().manual_seed(0)
    z, final = torch.randn(5, 7, generator=draw), torch.randn(5, 7, generator=draw)
    for references in (final[:1].expand(5, -1), final):
        given = references[0] if references is not final else final
        together = metrics.measure(z, given, [3, 5], 4)
        alone = [metrics.measure(z[i : i + 1], references[i], [3, 5], 4) for i in range(5)]
        for f in fields(metrics.Measures):
            expected = torch.cat([getattr(row, f.name) for row in alone])
            assert torch.allclose(getattr(together, f.name), expected), f.name


@pytest.mark.parametrize("pos", [[3] * 5, [2, 3, 3, 2, 3], [2, 2, 2, 2, 3]])
def test_lenses_side_by_side_have_the_numbers_of_each_alone(
    pos: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows a block, of which all, some or none stand at the last position."""
    monkeypatch.setitem(distribution.BLOCK, "cpu", 2 * 2 * 7)
    draw = torch.Generator().manual_seed(0)
    final = torch.randn(7, generator=draw)
    z = {name: 9 * torch.randn(5, 7, generator=draw) for name in "ab"}
    alone = {name: metrics.measure(logits, final, [3, 5], 4) for name, logits in z.items()}
    pairs = [("a", "b"), ("a", "model"), ("b", "model")]
    rows = Rows(torch.zeros(5, 1), [*range(5)], pos)
    buffer = row_decoder.MetricBuffer(row_decoder.RowBlock(rows, final, [3, 5], pairs))
    for part in (slice(0, 4), slice(4, 5)):
        buffer.add({name: logits[part] for name, logits in z.items()}, 4, False)
    for name, expected in alone.items():
        for f in fields(metrics.Measures):
            numbers = getattr(buffer.metrics.by_lens[name], f.name)
            assert_close(numbers, getattr(expected, f.name), rtol=1e-6, atol=1e-12)
    ends = [i for i, each in enumerate(pos) if each == 3]
    p = {name: softmax(logits[ends]) for name, logits in z.items()} | {
        "model": softmax(final[None])
    }
    for a, b in pairs:
        for f in fields(metrics.Divergence):
            numbers = getattr(buffer.metrics.by_pair[a, b], f.name)
            expected_pair = getattr(metrics.diverge(p[a], p[b]), f.name)
            assert_close(numbers, expected_pair, rtol=1e-6, atol=1e-12)


def test_without_answers_a_row_has_no_rank() -> None:
    numbers = metrics.measure(torch.randn(2, 5), torch.zeros(5), [], 3)
    assert {numbers.rank.shape, numbers.p_answer.shape, numbers.log_p_answer.shape} == {(2, 0)}


@pytest.mark.parametrize(
    ("rows", "v", "k"), [(320, 5, 1), (2, 64, 20), (2, 256, 1), (2, 320, 1), (2, 321, 1)]
)
def test_the_largest_are_listed_with_any_number_of_rows_and_logits(
    rows: int, v: int, k: int
) -> None:
    z = torch.randn(rows, v, generator=torch.Generator().manual_seed(0))
    assert torch.equal(metrics.top_ids(z, k), z.topk(k).indices)


def test_the_top_of_a_row_is_compared_with_that_of_the_same_row() -> None:
    p, q = torch.eye(3), torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert metrics.diverge(softmax(p), softmax(q)).top1_agree.tolist() == [True, False, True]


@pytest.mark.parametrize("chunk", [5, 10, 100])
@pytest.mark.parametrize("size", [10, 30, 100])
def test_pairs_stand_at_their_layers_in_any_chunks_and_blocks(
    chunk: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a lens is the reference of the block."""
    monkeypatch.setattr(row_decoder, "CHUNK_ELEMENTS", chunk)
    monkeypatch.setitem(distribution.BLOCK, "cpu", size)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    rows = Rows(x, [0, 1, 2, 3], [0] * 4)
    lenses = {"a": lambda x, layers: x, "b": lambda x, layers: -x}
    expected = metrics.diverge(softmax(x), softmax(-x))
    for against in (x[0], "a"):
        block = row_decoder.RowBlock(rows, against, [], pairs=[("a", "b")])
        (result,) = row_decoder.decode_rows(lenses, [block], 5, 2)
        for f in fields(metrics.Divergence):
            numbers = getattr(result.by_pair["a", "b"], f.name)
            assert torch.equal(numbers, getattr(expected, f.name)), f.name
