"""No float32 copy of a half-precision W_U is made, on the CPU or on a GPU."""

from typing import Any

import pytest
import torch
from fake_cuda import fake_cuda
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lenses_min.core import unembedding
from lenses_min.core.unembedding import Unembedding, parts

D, V = 24, 37
CUDA = "cuda:0"


class Made(TorchDispatchMode):
    """Keeps the elements of the largest float32 tensor that has the width of W, and the operators that multiply."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0
        self.products: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.dtype == torch.float32 and D in tensor.shape:
                self.largest = max(self.largest, tensor.numel())
        if "mm" in str(func):
            self.products.append(str(func))
        return made


@pytest.mark.parametrize("wide", [False, True])
def test_no_float32_weight_is_made(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU as much as `WIDENED` allows; on CUDA nothing for rows in half."""
    x = torch.ones(2, D, dtype=torch.float32 if wide else torch.bfloat16)
    head = Unembedding(torch.ones(V, D).bfloat16(), None)
    monkeypatch.setattr(unembedding, "WIDENED", 3 * D)
    with Made() as made:
        head.product(x)
    assert made.largest == 3 * D
    with fake_cuda():
        on_cuda = Unembedding(head.weight.to(CUDA), None)
        rows = x.to(CUDA)
        with Made() as made:
            assert on_cuda.product(rows).dtype == torch.float32
    assert made.largest == (3 * D if wide else 0)
    assert {*made.products} == ({"aten.mm.out"} if wide else {"aten.mm.dtype"})


@pytest.mark.parametrize(
    ("widened", "expected"),
    [
        (4, [slice(0, 1), slice(1, 2), slice(2, 3)]),
        (23, [slice(0, 2), slice(2, 4)]),
        (24, [slice(0, 3)]),
    ],
)
def test_a_part_has_as_many_rows_as_are_widened_at_once_and_one_at_least(
    widened: int, expected: list[slice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unembedding, "WIDENED", widened)
    assert parts(torch.ones(3, 8)) == expected
