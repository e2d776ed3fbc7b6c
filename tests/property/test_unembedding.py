"""x @ W_U + b_U: products are exact in float32, so that only additions round, in any order."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lenses_min.core import unembedding
from lenses_min.core.unembedding import Unembedding
from lenses_min.fit import logits as fit

from .strategies import SEEDS, logits

HALF = [torch.float16, torch.bfloat16]
D, V = 24, 37


@contextmanager
def at_a_time(elements: int) -> Iterator[None]:
    """So many elements of W are widened at a time."""
    with patch.object(unembedding, "WIDENED", elements):
        yield


def additions(x: Tensor, head: Unembedding) -> Tensor:
    """How far D additions in float32, and the one of the bias, may take the sum from the exact one [N, V]."""
    assert head.bias is not None
    terms = x.double().abs() @ head.weight.double().abs().T + head.bias.double().abs()
    return terms * (D + 1) * 2.0**-24 / (1 - (D + 1) * 2.0**-24)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@given(SEEDS, st.integers(1, 5), st.integers(1, V * D + 1), st.booleans())
def test_only_the_additions_round(
    dtype: torch.dtype, seed: int, rows: int, elements: int, wide: bool
) -> None:
    """Against float64: rows in half, as norms return them, and in float32, as Prism's are."""
    x = logits(seed, rows, D)
    x = x if wide else x.to(dtype)
    head = Unembedding(logits(seed + 1, V, D).to(dtype), logits(seed + 2, V))
    assert head.bias is not None
    with at_a_time(elements):
        z = head.product(x)
    exact = x.double() @ head.weight.double().T + head.bias
    assert z.dtype == torch.float32
    rounded = additions(x, head) + (exact.abs() * 2.0**-24 if wide else 0)
    products = x.double().abs() @ head.weight.double().abs().T * 2.0**-24 if wide else 0
    assert bool(((z.double() - exact).abs() <= rounded + products).all())


@given(SEEDS, st.integers(1, V * D + 1))
def test_the_gradient_to_the_rows_is_that_of_the_whole_weight(seed: int, elements: int) -> None:
    weight, bias = logits(seed + 1, V, D).bfloat16(), logits(seed + 2, V)
    gradients = []
    for head in (Unembedding(weight, bias), Unembedding(weight.float(), bias)):
        x = logits(seed, 3, D).requires_grad_()
        with at_a_time(elements):
            fit.logits(x, head).square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-4)
