"""How often `measure` reads and writes a logit, and what takes new memory, counted by dispatch on a CPU.

Passes over [chunk, V] tensors are traffic of the memory. Passes over a block of rows, which `BLOCK` keeps small, are
traffic of the cache. A pass is one read or one write of every number, whatever its dtype.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lenses_min.core import metrics
from lenses_min.core.decode import MetricBuffer, RowBlock
from lenses_min.core.distribution import normalise, softmax, wide_blocks
from lenses_min.core.types import Rows
from lenses_min.fit.logits import kls_of_logits

ROWS, V = 170, 49_152  # a chunk, several blocks of rows
PICKS = ("gather", "index")  # they read as many numbers as they return
MAKERS = ("empty", "new_empty", "full", "ones", "zeros", "empty_like", "arange")


def tensors(tree: Any) -> list[Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, Tensor)]


def is_target(name: str, key: str) -> bool:
    """Whether an argument is only written."""
    return key == "out" or (name == "copy_" and key == "0")


class Traffic(TorchDispatchMode):
    """Numbers read, written and given new memory, by (verb, is it a [chunk, V] tensor), as multiples of ROWS × V."""

    def __init__(self, whole: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # TorchDispatchMode is not annotated
        self.whole = whole.numel()
        self.passes: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.is_view:
            return made
        written = tensors(made)
        given = [(f"{i}", t) for i, t in enumerate(args)] + [*(kwargs or {}).items()]
        known = [t.data_ptr() for t in tensors(given)]
        for t in written:
            if t.data_ptr() not in known:
                self.add("take", t, t.numel())
            if name not in MAKERS:
                self.add("write", t, t.numel())
        if name not in MAKERS:
            for t in tensors([value for key, value in given if not is_target(name, key)]):
                self.add("read", t, written[0].numel() if name in PICKS else t.numel())
        return made

    def add(self, verb: str, t: Tensor, numbers: int) -> None:
        if numbers >= V:
            size = t.untyped_storage().nbytes() // t.element_size()
            place = "memory" if size >= self.whole else "cache"
            self.passes[verb, place] += numbers / self.whole  # type: ignore[assignment]  # a Counter of fractions


@pytest.mark.parametrize(
    ("rank_logits", "reads", "writes"), [(False, 21.5, 12.1), (True, 18.5, 11.1)]
)
def test_a_logit_is_read_and_written_so_often(
    rank_logits: bool, reads: float, writes: float
) -> None:
    """All columns of the norm lens, two answers, top-20: at most 6 reads and 2 writes of memory, the rest in cache.

    New memory is taken for three blocks of 8 rows and some single rows, as a page of it costs more than a pass.
    """
    draw = torch.Generator().manual_seed(0)
    z, final = 3 * torch.randn(ROWS, V, generator=draw), 3 * torch.randn(V, generator=draw)
    with Traffic(z) as counted:
        metrics.measure(z, final, [5, 77], 20, rank_logits)
    assert counted.passes["read", "memory"] <= 4
    assert counted.passes["write", "memory"] == 0
    assert counted.passes["read", "cache"] <= reads
    assert counted.passes["write", "cache"] <= writes
    assert counted.passes["take", "memory"] == 0
    assert counted.passes["take", "cache"] <= 4 * 8 / ROWS


def new_rows(z: Tensor, function: Callable[[], object]) -> float:
    """Rows as long as those of z for which a call takes new memory."""
    with Traffic(z) as counted:
        function()
    return len(z) * sum(n for (verb, _), n in counted.passes.items() if verb == "take")


def some_logits(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, V, generator=torch.Generator().manual_seed(seed))


def test_a_sum_over_a_block_takes_the_memory_that_is_there() -> None:
    z, q = some_logits(2), softmax(some_logits(2, seed=1))
    ((_, wide, room),) = wide_blocks(z)
    p, log_m = normalise(wide, room), torch.empty_like(wide)
    assert new_rows(z, lambda: metrics.entropy_bits(p)) == 0
    assert new_rows(z, lambda: metrics.kl_nats(p, q.log_p)) == 0
    assert new_rows(z, lambda: metrics.diverge(p, q, log_m)) == 0
    assert new_rows(z, lambda: metrics.diverge(p, q)) == 2


def test_a_raised_logarithm_takes_one_block_and_flags() -> None:
    p = softmax(40 * some_logits(2))
    assert new_rows(p.p, lambda: p.log_raised) == 2 * 2


def test_pairs_of_lenses_take_memory_once_for_all() -> None:
    """Of two lenses at 8 rows, 4 at a time: their blocks and one for ln m; the rest are single rows of the model."""
    z = {"a": some_logits(8), "b": some_logits(8, seed=1)}
    block = RowBlock(
        Rows(z["a"], [*range(8)], [0] * 8), z["a"][0], [], [("a", "b"), ("a", "model")]
    )
    buffer = MetricBuffer(block)
    of_lenses, of_pairs, of_model = (2 * 2 + 1) * 4, 4, 3
    assert new_rows(z["a"], lambda: buffer.add(z, 1, True)) == of_lenses + of_pairs + of_model


def test_both_directions_of_kl_share_one_block_for_their_terms() -> None:
    z, model = some_logits(2), softmax(some_logits(2, seed=1))
    assert new_rows(z, lambda: kls_of_logits(z, model)) == 2 * 3
