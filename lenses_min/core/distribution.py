"""logits → probabilities that stay in 0 … 1 and add up to 1, on any processor and with any vocabulary.

Sums over the vocabulary are taken in float64: in float32 the probabilities of 262,144 tokens add up to 1.00007 on
some processors. One block of rows is widened at a time, so that memory stays below that of the logits. Where a device
has no float64 (MPS), float32 is summed pairwise. What rounding leaves outside the range of a quantity is clamped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.linalg import vector_norm

from .types import upload

TINY = 1e-30  # inside the logarithms of KL, as the contract has it
UNRAISED = -35  # nats, from which on TINY adds less than half a unit of the last place, or 1e-30
LEAST = -1e4  # of a log-probability, nats, so that 0 · log 0 is 0
# Numbers of a block: 3 MiB a float64 tensor, which the cache of a processor holds; a GPU wants fewer, larger blocks.
BLOCK = {"cpu": 3 * 2**17}
BLOCK_ELSEWHERE = 2**21
WITHOUT_FLOAT64 = {"mps"}


def sum_dtype(device: torch.device) -> torch.dtype:
    """The dtype of sums over the vocabulary: float64, or float32 where the device has no float64."""
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def row_blocks(rows: int, row_size: int, device: torch.device) -> list[slice]:
    """Slices of `rows` rows, of `row_size` numbers each, that are widened at once; one empty slice for no row."""
    step = max(1, BLOCK.get(device.type, BLOCK_ELSEWHERE) // row_size)
    return [slice(start, min(rows, start + step)) for start in range(0, max(rows, 1), step)]


def new_blocks(count: int, rows: int, like: Float[Tensor, "*N V"]) -> Float[Tensor, "C n V"]:
    """Memory for `count` blocks of `rows` rows in the dtype of sums, of the width and on the device of `like`."""
    return like.new_empty((count, rows, like.shape[-1]), dtype=sum_dtype(like.device))


def wide_blocks(
    z: Float[Tensor, "N V"],
) -> Iterator[tuple[slice, Float[Tensor, "n V"], list[Float[Tensor, "n V"]]]]:
    """For each block of rows: where it stands, its rows in the dtype of sums, and room for two more such blocks.

    The next block overwrites the rows and the room, so that memory is taken once: fresh memory costs more than a sum.
    """
    parts = row_blocks(len(z), z.shape[-1], z.device)
    blocks = new_blocks(3, parts[0].stop, z)
    for part in parts:
        wide, *room = blocks[:, : part.stop - part.start]
        yield part, wide.copy_(z[part]), room


def float32_blocks(room: Float[Tensor, "n V"]) -> tuple[Float[Tensor, "n V"], Float[Tensor, "n V"]]:
    """Two float32 blocks of rows in the memory of one in float64; of one in float32, itself and a new one."""
    if room.dtype == torch.float32:
        return room, torch.empty_like(room)
    halves = room.view(torch.float32).unflatten(-1, (2, -1))
    return halves[:, 0], halves[:, 1]


def total(x: Float[Tensor, "*N V"]) -> Float[Tensor, "*N"]:
    """Σ x over the vocabulary; relative error at most about V · 1e-16 for x ≥ 0, in float32 log2 V · 6e-8.

    float32 is added pairwise (Higham, "The accuracy of floating point summation", 1993), whatever the device does.
    """
    if x.dtype == torch.float64:
        return x.sum(-1)
    while (size := x.shape[-1]) > 1:
        half = size // 2
        paired = x[..., :half] + x[..., half : 2 * half]
        x = torch.cat([paired, x[..., 2 * half :]], -1) if size % 2 else paired
    return x[..., 0]


def dot(x: Float[Tensor, "N V"], y: Float[Tensor, "*M V"]) -> Float[Tensor, " N"]:
    """Σ x · y over the vocabulary, y of the same rows or one for all, by which float64 needs no product."""
    return x @ y[0] if len(y) == 1 and x.dtype == torch.float64 else total(x * y)


def norm(x: Float[Tensor, "N V"]) -> Float[Tensor, " N"]:
    """√Σ x² over the vocabulary, by one reading where float64 is summed."""
    return vector_norm(x, dim=-1) if x.dtype == torch.float64 else total(x * x).sqrt()


def bounded(x: Float[Tensor, "*N"], low: float, high: float) -> Float[Tensor, "*N"]:
    """x in float32, not below low nor above high; a `high` between two float32 numbers is rounded down."""
    top = np.float32(high)
    if float(top) > high:
        top = np.nextafter(top, np.float32(low))
    return x.float().clamp(low, float(top))


@dataclass(frozen=True)
class Distribution:
    """Probabilities p of N rows, 0 … 1, Σ p = 1 within 1e-10, and ln p, in the dtype of sums.

    `terms` is memory for what is summed over the rows, such as p · ln p; None takes new memory for every sum.
    """

    p: Float[Tensor, "N V"]
    log_p: Float[Tensor, "N V"]
    terms: Float[Tensor, "N V"] | None = None

    @cached_property
    def log_raised(self) -> Float[Tensor, "N V"]:
        """ln(p + 1e-30), within 1e-30; where a CPU sees no p below e⁻³⁵, that is ln p."""
        if not self.p.is_cpu:
            return torch.logaddexp(self.log_p, self.log_p.new_full((), log(TINY)))
        if (self.log_p.amin(-1) > UNRAISED).all():
            return self.log_p
        raised = (self.p + TINY).log_()  # logaddexp takes four times as long
        return torch.where(self.log_p > UNRAISED, self.log_p, raised, out=raised)

    @cached_property
    def top1(self) -> Int[Tensor, " N"]:
        """The id of the largest p."""
        return self.log_p.max(-1).indices

    def __getitem__(self, rows: Sequence[int]) -> "Distribution":
        """Some of the rows, in their order: a copy, or itself where they are all."""
        if len(rows) == len(self.p):
            return self
        at, terms = upload(rows, self.p.device), self.terms
        return Distribution(
            self.p[at], self.log_p[at], terms if terms is None else terms[: len(at)]
        )


def normalise(
    wide: Float[Tensor, "N V"], room: Sequence[Float[Tensor, "N V"] | None]
) -> Distribution:
    """p = exp(z − max z) / Σ exp(z − max z) of rows in the dtype of sums.

    ln p overwrites the rows, p the first block of the room; the second one is for `terms`.
    """
    log_p = wide.sub_(wide.amax(-1, keepdim=True))
    p = torch.exp(log_p, out=room[0])
    sums = total(p)[:, None]
    p.mul_(1 / sums)  # a division takes four times as long
    return Distribution(p, log_p.sub_(sums.log()).clamp_(min=LEAST), room[1])


def softmax(z: Float[Tensor, "N V"]) -> Distribution:
    """`normalise` of a copy: the rows stay as they are. The caller passes one block."""
    wide, p = new_blocks(2, len(z), z)
    return normalise(wide.copy_(z), (p, None))
