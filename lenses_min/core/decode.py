"""residual rows → lens → metrics: the rows of several prompts through all lenses, in chunks.

Memory never grows with rows × vocabulary, and W_U is read once a chunk and lens, whatever the prompts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .distribution import Distribution, new_blocks
from .metrics import Divergence, Measures, Reference, diverge, measure_blocks
from .types import Decode, Rows

CHUNK_ELEMENTS = 2**23  # rows × vocabulary decoded at once: 32 MiB a float32 tensor
Pair = tuple[str, str]  # two lenses, or a lens and "model"


@dataclass(frozen=True)
class RowBlock:
    """Rows of one prompt and the answers whose probability is read.

    They are compared with logits `against` [V], or with a lens by its name.

    `pairs` of lenses are compared at the last position of each layer; "model" stands for `against`.
    """

    rows: Rows
    against: Float[Tensor, " V"] | str
    answers: Sequence[int]
    pairs: Sequence[Pair] = ()

    @property
    def end_count(self) -> int:
        """How many rows stand at the last position."""
        return self.rows.pos.count(max(self.rows.pos, default=0))


@dataclass(frozen=True)
class LensMetrics:
    """The numbers of a block's rows by lens, those of its last positions by pair, and the logits of its last row.

    `last_logits` are [V] by lens.
    """

    by_lens: dict[str, Measures[Tensor]] = field(default_factory=dict)
    by_pair: dict[Pair, Divergence[Tensor]] = field(default_factory=dict)
    last_logits: dict[str, Tensor] = field(default_factory=dict)


def chunks(sizes: Sequence[int], step: int) -> Iterator[list[tuple[int, slice]]]:
    """Pieces (block, its rows), in order, of `step` rows together; the last chunk may have fewer."""
    chunk: list[tuple[int, slice]] = []
    room = step
    for i, size in enumerate(sizes):
        start = 0
        while start < size:
            stop = min(size, start + room)
            chunk.append((i, slice(start, stop)))
            room, start = room - (stop - start), stop
            if room == 0:
                yield chunk
                chunk, room = [], step
    if chunk:
        yield chunk


def decode_rows(
    lenses: Mapping[str, Decode],
    blocks: Sequence[RowBlock],
    vocab: int,
    k: int,
    rank_logits: bool = False,
) -> list[LensMetrics]:
    """The numbers of every block under every lens; see `measure` for k and rank_logits."""
    buffers = [MetricBuffer(block) for block in blocks]
    sizes = [len(block.rows.pos) for block in blocks]
    for chunk in chunks(sizes, max(1, CHUNK_ELEMENTS // vocab)):
        decode_chunk(lenses, buffers, chunk, k, rank_logits)
    return [buffer.metrics for buffer in buffers]


class MetricBuffer:
    """The numbers of a block, with room for all its rows from the first chunk on.

    Separate tensors of every chunk would lie between the large tensors of two chunks, and the heap would grow.
    """

    def __init__(self, block: RowBlock) -> None:
        self.block = block
        self.metrics = LensMetrics()
        # where the next chunk goes, among all rows and among the last positions
        self.row = self.end = 0

    def add(self, z: Mapping[str, Tensor], k: int, rank_logits: bool) -> None:
        """Measure the next rows of the block, given their logits under every lens."""
        block, pos = self.block, self.block.rows.pos
        against = Reference(z[block.against] if isinstance(block.against, str) else block.against)
        room = None
        for measured in measure_blocks(z, against, block.answers, k, rank_logits):
            for name, (_, part) in measured.items():
                place(self.metrics.by_lens, name, part, self.row, len(pos))
            here = pos[self.row : self.row + len(part.kl)]
            self.row += len(here)
            ends = [i for i, each in enumerate(here) if each == pos[-1]]
            if block.pairs and ends:
                room = new_blocks(1, len(here), against.logits)[0] if room is None else room
                at_ends = {name: p[ends] for name, (p, _) in measured.items()}
                self.add_pairs(at_ends | {"model": against.p}, room[: len(ends)])

    def add_pairs(self, p: Mapping[str, Distribution], room: Float[Tensor, "E V"]) -> None:
        """Compare every pair of lenses at the next rows of the last position; the room has a row for each."""
        for a, b in self.block.pairs:
            part = diverge(p[a], p[b], room)
            place(self.metrics.by_pair, (a, b), part, self.end, self.block.end_count)
        self.end += len(room)


def decode_chunk(
    lenses: Mapping[str, Decode],
    buffers: Sequence[MetricBuffer],
    chunk: Sequence[tuple[int, slice]],
    k: int,
    rank_logits: bool,
) -> None:
    """Add the numbers of a chunk to the buffers of its blocks; its logits are freed before the next chunk has any."""
    rows = [buffers[i].block.rows[part] for i, part in chunk]
    x, layers = torch.cat([r.x for r in rows]), torch.cat([r.layers for r in rows])
    lengths = [len(r.pos) for r in rows]
    decoded = {name: torch.split(decode(x, layers), lengths) for name, decode in lenses.items()}
    for j, (i, part) in enumerate(chunk):
        z = {name: pieces[j] for name, pieces in decoded.items()}
        buffers[i].add(z, k, rank_logits)
        if part.stop == len(buffers[i].block.rows.pos):
            last = {name: logits[-1].clone() for name, logits in z.items()}
            buffers[i].metrics.last_logits.update(last)


def place(numbers: dict[Any, Any], key: str | Pair, part: Any, start: int, size: int) -> None:
    """Copy rows of a dataclass of tensors into `numbers[key]` from row `start` on; a new key gets `size` rows."""
    new = {f.name: getattr(part, f.name) for f in fields(part)}
    if key not in numbers:
        rooms = {name: value.new_empty(size, *value.shape[1:]) for name, value in new.items()}
        numbers[key] = type(part)(**rooms)
    for name, value in new.items():
        getattr(numbers[key], name)[start : start + len(value)].copy_(value)
