"""x @ W_U + b_U in float32, whatever the model computes in, without a float32 copy of W_U."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WIDENED = 2**22  # elements of a half-precision W_U in float32 at a time: 16 MiB


@dataclass(frozen=True)
class Unembedding:
    """W_U (transposed, as Linear stores it) in the model's dtype, b_U in float32, and the model's soft cap or scale.

    Without `transform` logits stay as they come, as in the reference (R3).
    """

    weight: Float[Tensor, "V D"]
    bias: Float[Tensor, " V"] | None
    transform: Callable[[Tensor], Tensor] | None = None

    def product(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N V"]:
        """x @ W_U + b_U, float32. A product of two halves is exact there, so only the additions round."""
        if self.weight.dtype == torch.float32:
            return F.linear(x.float(), self.weight, self.bias)
        z = half_product(x, self.weight)
        return z if self.bias is None else z.add_(self.bias)

    def logits(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N V"]:
        """x @ W_U + b_U, float32, through the model's own output transform where the contract has it (R3)."""
        z = self.product(x)
        return z if self.transform is None else self.transform(z)


def half_product(x: Float[Tensor, "N D"], weight: Float[Tensor, "V D"]) -> Float[Tensor, "N V"]:
    """x @ Wᵀ in float32 of a half-precision W: by the device, or W widened part by part.

    CUDA adds the exact products of two halves in float32. Rows in float32, such as Prism's, would have to be cut into
    two or three halves for that; W is widened for them instead, which rounds as the whole W in float32 would.
    """
    if x.is_cuda and x.dtype == weight.dtype:
        return torch.mm(x, weight.T, out_dtype=torch.float32)
    wide = x.float()
    z = wide.new_empty(len(x), len(weight))
    for part in parts(weight):
        torch.mm(wide, weight[part].float().T, out=z[:, part])
    return z


def parts(weight: Float[Tensor, "V D"]) -> list[slice]:
    """Slices of the vocabulary with `WIDENED` elements of W, the last one with fewer."""
    step = max(1, WIDENED // weight.shape[1])
    return [slice(start, start + step) for start in range(0, len(weight), step)]
