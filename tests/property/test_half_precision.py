"""Half precision: every lens within the bound that rounding implies, component by component, of the float64 oracle."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lenses_min.core.norms import FormulaNorms
from lenses_min.core.types import Lens
from lenses_min.core.unembedding import Unembedding
from lenses_min.lenses.final import FinalLens
from lenses_min.lenses.norm import NormLens
from lenses_min.lenses.prism import PrismLens, Whitening
from lenses_min.lenses.raw import RawLens
from lenses_min.lenses.tuned import TunedLens
from spec import oracle

from .strategies import SEEDS, logits

D, V, L, EPS = 8, 13, 4, 1e-3
ROUNDOFF = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
FLOAT32 = 2.0**-24 * 64  # a few dozen float32 operations
TINY = {
    torch.bfloat16: 0.0,
    torch.float16: 2.0**-25,
}  # half the smallest float16; bfloat16 has float32's range

Case = tuple[Lens, Callable[[np.ndarray, int], np.ndarray], int]


def wide(tensor: torch.Tensor) -> np.ndarray:
    return tensor.double().numpy()


def lenses(seed: int) -> tuple[list[Case], np.ndarray, np.ndarray]:
    """Each lens, what it makes of a residual in float64 before W_U, and how often it rounds a component to half."""
    scale, head = (
        1 + 0.2 * logits(seed, L, D),
        Unembedding(logits(seed + 1, V, D), logits(seed + 2, V)),
    )
    norms = FormulaNorms(scale, torch.full((L, 1), EPS), torch.zeros(L, 1, dtype=torch.bool))
    mean, var, q = (
        logits(seed + 4, D),
        logits(seed + 5, D).square() + 0.1,
        torch.linalg.qr(logits(seed + 6, D, D))[0],
    )
    weight, bias = 0.1 * logits(seed + 7, L - 1, D, D), 0.1 * logits(seed + 8, L - 1, D)

    def norm(x: np.ndarray, y: int) -> np.ndarray:
        return oracle.reference_norm(x, wide(scale[y]), EPS)

    def tuned(x: np.ndarray, y: int) -> np.ndarray:
        return norm(x + wide(weight[y]) @ x + wide(bias[y]) if y < L - 1 else x, L - 1)

    found: list[Case] = [
        (NormLens(norms, head), norm, 1),
        (FinalLens(norms, head), lambda x, y: norm(x, L - 1), 1),
        (RawLens(head), lambda x, y: x, 0),
        (
            TunedLens(norms, head, weight, bias),
            tuned,
            3,
        ),  # the translated residual, its norm through it, the normed
        (PrismLens(norms, head, Whitening(mean, torch.rsqrt(var), q)), norm, 1),
    ]
    return found, wide(torch.rsqrt(var)[:, None] * q), wide(mean)


@pytest.mark.parametrize("dtype", ROUNDOFF, ids=str)
@given(SEEDS, st.integers(0, L - 1), st.sampled_from([0.01, 1.0, 100.0]))
@settings(max_examples=25)
def test_every_lens_stays_within_its_roundings(
    dtype: torch.dtype, seed: int, layer: int, size: float
) -> None:
    """|Δz| ≤ k u Σ |n| |W_U| for k roundings of the normed residual n, u = 2⁻⁸ or 2⁻¹¹; float32 does the rest."""
    cases, turn, mean = lenses(seed)
    x = logits(seed + 3, 1, D, scale=size).to(dtype)
    for lens, before, rounded in cases:
        decoded = lens.decode(x, torch.tensor([layer]))
        head = lens.head  # type: ignore[attr-defined]
        normed, way = before(wide(x[0]), layer), wide(head.weight.T)
        expected, terms = normed @ way + wide(head.bias), np.abs(normed) @ np.abs(way)
        if lens.name == "prism":
            expected = (normed - mean) @ turn @ way + wide(head.bias)
            terms = np.abs(normed) @ np.abs(turn @ way)
            exact = (np.abs(normed) + np.abs(mean)) @ np.abs(turn) @ np.abs(way)
        else:
            exact = terms
        slack = FLOAT32 * (exact + np.abs(wide(head.bias))) + TINY[dtype] * np.abs(way).sum(0) * 8
        allowed = 1.01 * rounded * ROUNDOFF[dtype] * terms + slack
        assert decoded.dtype == torch.float32
        assert (np.abs(wide(decoded[0]) - expected) <= allowed).all(), lens.name
