"""Lens formulas against the oracle; causality; what a batch or a chunk may not change."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lenses_min.core.forward import last_logits
from lenses_min.core.norms import FormulaNorms
from lenses_min.core.unembedding import Unembedding
from lenses_min.lenses.final import FinalLens
from lenses_min.lenses.norm import NormLens
from lenses_min.lenses.prism import PrismLens, Whitening
from lenses_min.lenses.raw import RawLens
from lenses_min.model.load import LoadedModel
from lenses_min.model.verify import capture
from spec import oracle

from .strategies import SEEDS, logits

D, V, L, EPS = 8, 13, 4, 1e-3


def parts(seed: int) -> tuple[FormulaNorms, Unembedding]:
    scale = 1 + 0.2 * logits(seed, L, D)
    norms = FormulaNorms(scale, torch.full((L, 1), EPS), torch.zeros(L, 1, dtype=torch.bool))
    return norms, Unembedding(logits(seed + 1, V, D), logits(seed + 2, V))


def wide(tensor: torch.Tensor) -> np.ndarray:
    return tensor.double().numpy()


def bias_of(head: Unembedding) -> np.ndarray:
    assert head.bias is not None
    return wide(head.bias)


@given(
    SEEDS,
    st.lists(st.integers(0, L - 1), min_size=1, max_size=6),
    st.sampled_from([0.01, 1.0, 100.0]),
)
def test_norm_and_raw_lens_equal_the_oracle(seed: int, layers: list[int], scale: float) -> None:
    norms, head = parts(seed)
    x = logits(seed + 3, len(layers), D, scale=scale)
    result = NormLens(norms, head).decode(x, torch.tensor(layers))
    raw = RawLens(head).decode(x, torch.tensor(layers))
    for i, layer in enumerate(layers):
        arguments = wide(head.weight.T), bias_of(head)
        expected = oracle.norm_lens(wide(x[i]), wide(norms.scale[layer]), EPS, *arguments)
        assert wide(result[i]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert wide(raw[i]) == pytest.approx(
            oracle.raw_lens(wide(x[i]), *arguments), rel=1e-4, abs=1e-4 * scale
        )


@given(SEEDS, st.lists(st.integers(0, L - 1), min_size=1, max_size=6))
def test_the_final_lens_equals_the_oracle_and_the_norm_lens_at_the_last_layer(
    seed: int, layers: list[int]
) -> None:
    norms, head = parts(seed)
    x = logits(seed + 3, len(layers), D)
    result = FinalLens(norms, head).decode(x, torch.tensor(layers))
    for i in range(len(layers)):
        expected = oracle.final_lens(
            wide(x[i]),
            lambda row: oracle.reference_norm(row, wide(norms.scale[-1]), EPS),
            wide(head.weight.T),
            bias_of(head),
        )
        assert wide(result[i]) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert torch.equal(result, NormLens(norms, head).decode(x, torch.full((len(layers),), L - 1)))


@given(SEEDS, st.lists(st.integers(0, L - 1), min_size=1, max_size=4))
def test_prism_equals_the_oracle_and_reduces_to_the_norm_lens(seed: int, layers: list[int]) -> None:
    norms, head = parts(seed)
    x, index = logits(seed + 3, len(layers), D), torch.tensor(layers)
    mean, var = logits(seed + 4, D), logits(seed + 5, D).square() + 0.1
    q = torch.linalg.qr(logits(seed + 6, D, D))[0]
    result = PrismLens(norms, head, Whitening(mean, torch.rsqrt(var + 1e-8), q)).decode(x, index)
    for i, layer in enumerate(layers):
        normed = oracle.reference_norm(wide(x[i]), wide(norms.scale[layer]), EPS)
        expected = oracle.prism_lens(
            normed, (wide(mean), wide(var), 1e-8), wide(q), wide(head.weight.T), bias_of(head)
        )
        assert wide(result[i]) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    unit = Whitening(torch.zeros(D), torch.ones(D), torch.eye(D))
    same = PrismLens(norms, head, unit).decode(x, index)
    assert torch.allclose(same, NormLens(norms, head).decode(x, index), rtol=1e-5, atol=1e-5)


@given(st.lists(st.integers(4, 114), min_size=2, max_size=12), st.integers(1, 6))
@settings(max_examples=25)
def test_a_longer_prompt_leaves_earlier_positions_unchanged(
    fact_model: LoadedModel, ids: list[int], more: int
) -> None:
    short, _ = capture(fact_model.bridge, ids, 6, range(7))
    longer, _ = capture(fact_model.bridge, ids + ids[:1] * more, 6, range(7))
    for layer in range(7):
        assert torch.allclose(short.at(layer), longer.at(layer)[: len(ids)], rtol=1e-4, atol=1e-4)


@given(st.lists(st.lists(st.integers(4, 114), min_size=5, max_size=5), min_size=1, max_size=4))
@settings(max_examples=25)
def test_a_batch_equals_each_prompt_alone(fact_model: LoadedModel, batch: list[list[int]]) -> None:
    together = last_logits(fact_model.bridge, batch)
    for i, ids in enumerate(batch):
        assert torch.allclose(
            together[i], last_logits(fact_model.bridge, [ids])[0], rtol=1e-4, atol=1e-4
        )
        assert torch.allclose(
            together[i], capture(fact_model.bridge, ids, 6, [0])[1], rtol=1e-4, atol=1e-4
        )
