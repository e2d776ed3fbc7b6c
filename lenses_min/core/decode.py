"""residual rows → lens → metrics: one walk over the rows of several prompts for all lenses, in chunks.

Memory never grows with rows × vocabulary, and W_U is read once a chunk and lens, whatever the prompts.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from .distribution import row_blocks, softmax
from .metrics import diverge, measure
from .types import Decode, Rows, upload

CHUNK_ELEMENTS = 2**23  # rows × vocabulary decoded at once: 32 MiB a float32 tensor


@dataclass(frozen=True)
class RowBlock:
    """Rows of one prompt and the answers asked for, held `against` logits [V] or a lens by name.

    `pairs` of lenses are held against each other at the last position of each layer; "model" stands for `against`.
    """

    rows: Rows
    against: Float[Tensor, " V"] | str
    answers: Sequence[int]
    pairs: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class LensMetrics:
    """By lens the `numbers` of Measures, by "a~b" of Divergence; `last` has the logits [V] of each lens's last row."""

    numbers: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    last: dict[str, Tensor] = field(default_factory=dict)


def chunks(sizes: Sequence[int], step: int) -> Iterator[list[tuple[int, slice]]]:
    """Pieces (section, its rows), in order, of `step` rows together; the last chunk may have fewer."""
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
    sections: Sequence[RowBlock],
    vocab: int,
    k: int,
    rank_logits: bool = False,
) -> list[LensMetrics]:
    """What every lens says of every section; see `measure` for k and rank_logits."""
    shelves = [MetricBuffer(section) for section in sections]
    last: list[dict[str, Tensor]] = [{} for _ in sections]
    for chunk in chunks(
        [len(section.rows.pos) for section in sections], max(1, CHUNK_ELEMENTS // vocab)
    ):
        rows = [sections[i].rows[part] for i, part in chunk]
        x, layers = torch.cat([r.x for r in rows]), torch.cat([r.layers for r in rows])
        sizes = [len(r.pos) for r in rows]
        decoded = {name: torch.split(decode(x, layers), sizes) for name, decode in lenses.items()}
        for j, (i, part) in enumerate(chunk):
            z = {name: pieces[j] for name, pieces in decoded.items()}
            for name, numbers in read(sections[i], rows[j], z, k, rank_logits):
                shelves[i].put(name, numbers)
            if part.stop == len(sections[i].rows.pos):
                last[i] = {name: logits[-1].clone() for name, logits in z.items()}
    return [LensMetrics(shelf.numbers, logits) for shelf, logits in zip(shelves, last)]


class MetricBuffer:
    """The numbers of a section, with room for all its rows from the first chunk on.

    Were they kept chunk by chunk, each would lie between the large tensors of two chunks, and the heap would grow.
    """

    def __init__(self, section: RowBlock) -> None:
        self.rows, self.ends = (
            len(section.rows.pos),
            section.rows.pos.count(max(section.rows.pos, default=0)),
        )
        self.numbers: dict[str, dict[str, Tensor]] = {}
        self.filled: Counter[str] = Counter()

    def put(self, name: str, numbers: Mapping[str, Tensor]) -> None:
        start, room = self.filled[name], self.ends if "~" in name else self.rows
        for key, value in numbers.items():
            shelf = self.numbers.setdefault(name, {})
            if key not in shelf:
                shelf[key] = value.new_empty(room, *value.shape[1:])
            shelf[key][start : start + len(value)].copy_(value)
        self.filled[name] += len(value)


def read(
    section: RowBlock, rows: Rows, z: Mapping[str, Tensor], k: int, rank_logits: bool
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The numbers of some rows of a section, given their logits under every lens."""
    against = z[section.against] if isinstance(section.against, str) else section.against
    for name, logits in z.items():
        yield name, vars(measure(logits, against, section.answers, k, rank_logits))
    ends = [i for i, pos in enumerate(rows.pos) if pos == section.rows.pos[-1]]
    if section.pairs and ends:
        at = upload(ends, against.device)
        model = softmax(against.reshape(-1, against.shape[-1]))
        for part in row_blocks(len(ends), len(z) * against.shape[-1], against.device):
            p = {name: softmax(logits[at[part]]) for name, logits in z.items()} | {"model": model}
            for a, b in section.pairs:
                yield f"{a}~{b}", vars(diverge(p[a], p[b]))
