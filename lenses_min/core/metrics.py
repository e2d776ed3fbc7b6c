"""lens logits → numbers: pure functions of logits, vectorised over rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from math import inf, log, log2
from typing import Generic

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .distribution import (
    TINY,
    Distribution,
    bounded,
    dot,
    float32_blocks,
    new_blocks,
    norm,
    normalise,
    row_blocks,
    softmax,
    sum_dtype,
    total,
)
from .host import A
from .types import upload

COS_TINY = 1e-12
GROUP = 64  # logits of which `top_ids` sees the largest first


def entropy_bits(p: Distribution) -> Float[Tensor, " N"]:
    """−Σ p log2 p, 0 · log 0 = 0; bits, clamped to 0 … log2 V."""
    nats = -total(torch.mul(p.p, p.log_p, out=p.terms))
    return bounded(nats / log(2), 0.0, log2(p.p.shape[-1]))


def kl_nats(p: Distribution, log_q: Float[Tensor, "*M V"]) -> Float[Tensor, " N"]:
    """KL(p‖q) = Σ p (ln(p + 1e-30) − ln(q + 1e-30)); nats, clamped to ≥ 0. `log_q` is `log_raised` of q, or,
    where no q is 0, its `log_p`.

    p · ln(p + 1e-30) is taken as p · ln p, which is at most 1e-30 less. The differences are taken before they are
    summed, so that rounding leaves about 1e-15 of two equal distributions, and nothing where they are equal bit by bit.
    """
    return bounded(total(torch.sub(p.log_p, log_q, out=p.terms).mul_(p.p)), 0.0, inf)


def cosine(z: Float[Tensor, "N V"], final: Float[Tensor, "*M V"]) -> Float[Tensor, " N"]:
    """Cosine of two logit vectors, norms + 1e-12; clamped to −1 … 1."""
    a = z.to(sum_dtype(z.device))
    b = final.to(a)
    norms = (norm(a) + COS_TINY) * (norm(b) + COS_TINY)
    return bounded(dot(a, b) / norms, -1.0, 1.0)


def rank_of(by: Float[Tensor, "N V"], id_: int, flags: Float[Tensor, "N V"]) -> Int[Tensor, " N"]:
    """1 + how many stand above an id; counted as float32, exact to 2^24, many times quicker than as booleans."""
    return 1 + torch.gt(by, by[:, id_, None], out=flags).sum(-1).long()


def top_ids(z: Float[Tensor, "N V"], k: int) -> Int[Tensor, "N K"]:
    """The ids of the k largest, as `topk` orders them.

    On a CPU it reads the k + 1 groups with the largest maxima alone, several times quicker; where two of the k + 1
    largest are equal it reads all, as the order of equal ones is its own.
    """
    vocab = z.shape[-1]
    if z.is_cpu and vocab % GROUP == 0 and vocab > 4 * GROUP * k:
        groups = z.unflatten(-1, (-1, GROUP))
        highest = groups.amax(-1).topk(k + 1).indices[..., None]
        top = groups.gather(1, highest.expand(-1, -1, GROUP)).flatten(1).topk(k + 1)
        if top.values.diff().all():
            ids = (highest * GROUP + torch.arange(GROUP)).flatten(1)
            return ids.gather(-1, top.indices[:, :k])
    return z.topk(k).indices


@dataclass(frozen=True)
class Measures(Generic[A]):
    """Numbers of N rows in float32, for each of M answers where they are about answers; tensors or host arrays.

    Probabilities and their sum 0 … 1, entropy in bits 0 … log2 V, KL in nats ≥ 0, cosine −1 … 1, ranks 1 … V.
    """

    top_p: A  # [N, K]
    top_id: A  # [N, K]
    p_top5: A  # [N]
    entropy: A  # [N]
    kl: A  # [N]
    cos: A  # [N]
    p_answer: A  # [N, M]
    log_p_answer: A  # [N, M], nats
    rank: A  # [N, M]


class Reference:
    """Logits that rows are compared with: one vector for all of them, in the dtype of sums, or a row for each."""

    def __init__(self, logits: Float[Tensor, "*M V"]) -> None:
        rows = logits.reshape(-1, logits.shape[-1])
        self.logits = rows if len(rows) > 1 else rows.to(sum_dtype(rows.device))

    def __getitem__(self, part: slice) -> "Reference":
        return self if len(self.logits) == 1 else Reference(self.logits[part])

    @cached_property
    def p(self) -> Distribution:
        return softmax(self.logits)


Measured = tuple[Distribution, Measures[Tensor]]  # of one block of rows under one lens


def measure(
    z: Float[Tensor, "N V"],
    final: Float[Tensor, "*M V"],
    answers: Sequence[int],
    k: int,
    rank_logits: bool = False,
) -> Measures[Tensor]:
    """Every number of rows of lens logits z against final logits; k is clamped to the vocabulary.

    Ranks count larger probabilities, as the reference does, or larger logits, which never tie by underflow.
    """
    parts = [
        numbers
        for block in measure_blocks({"z": z}, Reference(final), answers, k, rank_logits)
        for _, numbers in block.values()
    ]
    return Measures(
        **{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Measures)}
    )


def measure_blocks(
    z: Mapping[str, Float[Tensor, "N V"]],
    against: Reference,
    answers: Sequence[int],
    k: int,
    rank_logits: bool,
) -> Iterator[dict[str, Measured]]:
    """The same rows under several lenses, a block of rows at a time; see `measure`.

    The next block takes the memory of the distributions, which share that of their terms. The cache of a processor
    holds the blocks of all lenses.
    """
    first = next(iter(z.values()))
    rows, vocab = first.shape
    parts = row_blocks(rows, vocab * len(z) if first.is_cpu else vocab, first.device)
    blocks = new_blocks(1 + 2 * len(z), parts[0].stop, first)
    for part in parts:
        reference = against[part]
        terms, *free = blocks[:, : part.stop - part.start]
        yield {
            name: measure_block(logits[part], [*room, terms], reference, answers, k, rank_logits)
            for (name, logits), *room in zip(z.items(), free[::2], free[1::2], strict=True)
        }


def measure_block(
    z: Float[Tensor, "n V"],
    room: Sequence[Float[Tensor, "n V"]],
    against: Reference,
    answers: Sequence[int],
    k: int,
    rank_logits: bool,
) -> Measured:
    """The distributions of one block of rows, in a room of three blocks, and their numbers; see `measure`."""
    wide, of_p, terms = room
    cos = cosine(wide.copy_(z), against.logits)
    p = normalise(wide, (of_p, terms))
    narrow, flags = float32_blocks(terms)
    by = z if rank_logits else narrow.copy_(p.p)
    ranks = [rank_of(by, id_, flags) for id_ in answers]
    at = upload(answers, z.device)
    top_id = top_ids(z, min(k, z.shape[-1]))
    top_p = p.p.gather(-1, top_id)
    return p, Measures(
        top_p=top_p.float(),
        top_id=top_id,
        p_top5=bounded(top_p[:, :5].sum(-1), 0.0, 1.0),
        entropy=entropy_bits(p),
        kl=kl_nats(p, against.p.log_raised),
        cos=cos,
        p_answer=p.p[:, at].float(),
        log_p_answer=p.log_p[:, at].float(),
        rank=torch.stack(ranks, -1) if ranks else top_id[:, :0],
    )


@dataclass(frozen=True)
class Divergence(Generic[A]):
    """How far two distributions are apart, a float32 a row: KL ≥ 0 and 0 ≤ JS ≤ TV ≤ 1, in bits but TV; all [N]."""

    kl_bits: A
    js_bits: A
    tv: A
    top1_agree: A


def diverge(
    p: Distribution, q: Distribution, room: Float[Tensor, "N V"] | None = None
) -> Divergence[Tensor]:
    """KL(p‖q), (KL(p‖m) + KL(q‖m)) / 2 with m = (p + q) / 2, Σ |p − q| / 2, and whether their top-1 is the same.

    ln m overwrites the room, where there is one. Jensen–Shannon divergence: Lin, "Divergence measures based on the
    Shannon entropy" (1991), who shows that it is no more than the total variation; both are clamped to that.
    """
    tv = bounded(total(torch.sub(p.p, q.p, out=p.terms).abs_()) / 2, 0.0, 1.0)
    log_m = torch.add(p.p, q.p, out=room).mul_(0.5).add_(TINY).log_()
    js = total(torch.sub(p.log_p, log_m, out=p.terms).mul_(p.p))
    js += total(torch.sub(q.log_p, log_m, out=p.terms).mul_(q.p))
    return Divergence(
        kl_bits=kl_nats(p, q.log_raised) / log(2),
        js_bits=bounded(js / (2 * log(2)), 0.0, 1.0).minimum(tv),
        tv=tv,
        top1_agree=p.top1 == q.top1,
    )
