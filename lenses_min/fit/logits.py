"""What fitting needs of logits beyond the runner: gradients through a half-precision W_U, and KL of many rows."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.distribution import Distribution, normalise, wide_blocks
from ..core.metrics import kl_nats
from ..core.unembedding import Unembedding, parts


def logits(normed: Float[Tensor, "N D"], head: Unembedding) -> Float[Tensor, "N V"]:
    """`head.logits` with gradients to the normed rows."""
    half = head.weight.dtype != torch.float32
    z = HalfProduct.apply(normed, head) if half else head.product(normed)  # type: ignore[no-untyped-call]
    return z if head.transform is None else head.transform(z)


class HalfProduct(torch.autograd.Function):
    """`head.product` of a half-precision W_U, of which the gradient too widens only a part at a time."""

    @staticmethod
    def forward(ctx: Any, normed: Float[Tensor, "N D"], head: Unembedding) -> Tensor:
        ctx.weight, ctx.dtype = head.weight, normed.dtype
        return head.product(normed)

    @staticmethod
    def backward(ctx: Any, *grads: Float[Tensor, "N V"]) -> tuple[Tensor, None]:
        (grad,) = grads
        total = grad.new_zeros(len(grad), ctx.weight.shape[1])
        for part in parts(ctx.weight):
            total.addmm_(grad[:, part], ctx.weight[part].float())
        return total.to(ctx.dtype), None


def kls_of_logits(
    z: Float[Tensor, "N V"], model: Distribution
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """KL(softmax(z)‖model) and KL(model‖softmax(z)) of every row; nats, ≥ 0. `model` has the rows of z."""
    forward, back = [], []
    for part, wide, room in wide_blocks(z):
        lens = normalise(wide, room)
        target = Distribution(model.p[part], model.log_p[part], lens.terms)
        forward.append(kl_nats(lens, target.log_p))
        back.append(kl_nats(target, lens.log_p))
    return torch.cat(forward), torch.cat(back)
