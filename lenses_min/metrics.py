"""lens logits → numbers: pure functions of logits, vectorised over rows, and one packed transfer to the host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .errors import LensError
from .types import upload

TINY = 1e-30  # inside the logarithms of KL, as the contract has it
LEAST = -1e4  # of a log-probability, nats, so that 0 · log 0 is 0
COS_TINY = 1e-12
MEND = "get a sound checkpoint, or let it compute in a wider dtype"


def entropy_bits(
    log_p: Float[Tensor, "*N V"], p: Float[Tensor, "*N V"] | None = None
) -> Float[Tensor, "*N"]:
    """−Σ p log2 p, 0 · log 0 = 0; bits, 0 … log2 V. `p` spares the exponentials where it is known."""
    log_p = log_p.clamp(min=LEAST)
    return -((log_p.exp() if p is None else p) * log_p).sum(-1) / log(2)


def kl_nats(p: Float[Tensor, "*N V"], q: Float[Tensor, "*M V"]) -> Float[Tensor, "*N"]:
    """KL(p‖q) = Σ p (ln(p + 1e-30) − ln(q + 1e-30)); nats, ≥ 0 up to rounding."""
    return (p * (torch.log(p + TINY) - torch.log(q + TINY))).sum(-1)


def kl_of_logs(
    p: Float[Tensor, "*N V"], log_p: Float[Tensor, "*N V"], log_q: Float[Tensor, "*M V"]
) -> Float[Tensor, "*N"]:
    """KL(p‖q) as above where the logarithms are at hand: p · ln(p + 1e-30) is p · ln p but for rounding."""
    return (p * (log_p - torch.logaddexp(log_q, torch.full_like(log_q, log(TINY))))).sum(-1)


def cosine(z: Float[Tensor, "N V"], final: Float[Tensor, "*M V"]) -> Float[Tensor, " N"]:
    """Cosine of two logit vectors, norms + 1e-12; −1 … 1."""
    norms = (z.norm(dim=-1) + COS_TINY) * (final.norm(dim=-1) + COS_TINY)
    return torch.linalg.vecdot(z, final.expand_as(z)) / norms


def rank_of(by: Float[Tensor, "N V"], id_: int, room: Float[Tensor, "N V"]) -> Int[Tensor, " N"]:
    """1 + how many stand above an id; counted in `room` as floats, many times quicker than as flags."""
    return 1 + torch.gt(by, by[:, id_ : id_ + 1], out=room).sum(-1).long()


@dataclass(frozen=True)
class Measures:
    """Numbers of N rows; A answers asked for. KL in nats, entropy in bits, ranks from 1."""

    top_p: Float[Tensor, "N K"]
    top_id: Int[Tensor, "N K"]
    p_top5: Float[Tensor, " N"]
    entropy: Float[Tensor, " N"]
    kl: Float[Tensor, " N"]
    cos: Float[Tensor, " N"]
    p_answer: Float[Tensor, "N A"]
    log_p_answer: Float[Tensor, "N A"]
    rank: Int[Tensor, "N A"]


def measure(
    z: Float[Tensor, "N V"],
    final: Float[Tensor, "*M V"],
    answers: Sequence[int],
    k: int,
    rank_logits: bool = False,
) -> Measures:
    """Everything the rows say of lens logits z against final logits; k is clamped to the vocabulary.

    Ranks count larger probabilities, as the reference does, or larger logits, which never tie by underflow.
    """
    p, log_p = torch.softmax(z, -1), torch.log_softmax(z, -1).clamp(min=LEAST)
    top_p, top_id = p.topk(min(k, p.shape[-1]), dim=-1)
    kl, entropy = kl_of_logs(p, log_p, torch.log_softmax(final, -1)), entropy_bits(log_p, p)
    at = upload(answers, z.device)
    p_answer, log_answer = p[:, at], log_p[:, at]
    by, room = z if rank_logits else p, torch.empty_like(z)
    ranks = [rank_of(by, a, room) for a in answers]
    rank = torch.stack(ranks, -1) if ranks else p_answer.long()
    return Measures(
        top_p,
        top_id,
        top_p[:, :5].sum(-1),
        entropy,
        kl,
        cosine(z, final),
        p_answer,
        log_answer,
        rank,
    )


@dataclass(frozen=True)
class Divergence:
    """How far two distributions are apart, a number a row: KL and Jensen–Shannon in nats, total variation 0 … 1."""

    kl: Float[Tensor, " N"]
    js: Float[Tensor, " N"]
    tv: Float[Tensor, " N"]
    agree: Bool[Tensor, " N"]


def diverge(p: Float[Tensor, "N V"], q: Float[Tensor, "*M V"]) -> Divergence:
    """KL(p‖q), (KL(p‖m) + KL(q‖m)) / 2 with m = (p + q) / 2, Σ |p − q| / 2, and whether their top-1 is the same.

    Jensen–Shannon divergence: Lin, "Divergence measures based on the Shannon entropy" (1991).
    """
    q = q.expand_as(p)
    m = (p + q) / 2
    js, tv = (kl_nats(p, m) + kl_nats(q, m)) / 2, (p - q).abs().sum(-1) / 2
    return Divergence(kl_nats(p, q), js, tv, p.argmax(-1) == q.argmax(-1))


Host = dict[str, np.ndarray]


def to_host(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Host]:
    """All numbers of a pass in one transfer: float32 and integers travel together as 32-bit words.

    Floats arrive as float64 (exact), integers as int32. Raises LensError where one is not finite.
    """
    flat = [(name, key, tensor) for name, group in groups.items() for key, tensor in group.items()]
    words = [
        (t if t.is_floating_point() else t.int()).contiguous().view(torch.int32) for _, _, t in flat
    ]
    packed = torch.cat([w.flatten() for w in words]).cpu().numpy()
    host: dict[str, Host] = {name: {} for name in groups}
    start = 0
    for name, key, tensor in flat:
        part = packed[start : start + tensor.numel()].reshape(tensor.shape)
        start += tensor.numel()
        host[name][key] = (
            part.view(np.float32).astype(np.float64) if tensor.is_floating_point() else part
        )
        if not np.isfinite(host[name][key]).all():
            raise LensError(f"{key} of {name} is not finite: the model overflows; {MEND}")
    return host
