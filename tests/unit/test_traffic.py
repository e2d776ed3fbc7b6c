"""How often `measure` reads and writes a logit, counted by dispatch on a CPU.

Passes over [chunk, V] tensors are traffic of the memory. Passes over a block of rows, which `BLOCK` keeps small, are
traffic of the cache. A pass is one read or one write of every number, whatever its dtype.
"""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lenses_min.core import metrics

ROWS, V = 170, 49_152  # a chunk, several blocks of rows
PICKS = ("gather", "index")  # they read as many numbers as they return
MAKERS = ("empty", "new_empty", "full", "ones", "zeros", "empty_like", "arange")


class Traffic(TorchDispatchMode):
    """Numbers read and written, by (verb, is it a [chunk, V] tensor), as multiples of ROWS × V."""

    def __init__(self, whole: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # TorchDispatchMode is not annotated
        self.whole = whole.numel()
        self.passes: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.is_view or name in MAKERS:
            return made
        written = [t for t in tree_leaves(made) if isinstance(t, Tensor)]
        given = [(f"{i}", t) for i, t in enumerate(args)] + [*(kwargs or {}).items()]
        for key, tree in given:
            out = key == "out" or (name == "copy_" and key == "0")
            for t in tree_leaves(tree):
                if isinstance(t, Tensor) and not out:
                    self.add("read", t, written[0].numel() if name in PICKS else t.numel())
        for t in written:
            self.add("write", t, t.numel())
        return made

    def add(self, verb: str, t: Tensor, numbers: int) -> None:
        if numbers >= V:
            size = t.untyped_storage().nbytes() // t.element_size()
            place = "memory" if size >= self.whole else "cache"
            self.passes[verb, place] += numbers / self.whole  # type: ignore[assignment]  # a Counter of fractions


@pytest.mark.parametrize(
    ("rank_logits", "reads", "writes"), [(False, 21.6, 12.2), (True, 18.6, 11.2)]
)
def test_a_logit_is_read_and_written_so_often(
    rank_logits: bool, reads: float, writes: float
) -> None:
    """All columns of the norm lens, two answers, top-20: at most 6 reads and 2 writes of memory, the rest in cache."""
    draw = torch.Generator().manual_seed(0)
    z, final = 3 * torch.randn(ROWS, V, generator=draw), 3 * torch.randn(V, generator=draw)
    with Traffic(z) as counted:
        metrics.measure(z, final, [5, 77], 20, rank_logits)
    assert counted.passes["read", "memory"] <= 4
    assert counted.passes["write", "memory"] == 0
    assert counted.passes["read", "cache"] <= reads
    assert counted.passes["write", "cache"] <= writes
