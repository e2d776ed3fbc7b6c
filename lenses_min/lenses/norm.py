"""The norm lens: each layer through the norm that reads it next, then the unembedding.

Logit lens: nostalgebraist, "interpreting GPT: the logit lens" (2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..options import RunOptions
from ..suite import MAIN
from ..types import Lens, Norms, Unembedding


def normalise(x: Float[Tensor, "N D"], layers: Int[Tensor, " N"], norms: Norms) -> Float[Tensor, "N D"]:
    """x / sqrt(mean(x²) + eps) · scale in float32, cast back to the dtype of x.

    The reference's formula for every norm module, LayerNorm too: no centring, no bias (R1).
    """
    wide = x.float()
    root = torch.sqrt(wide.square().mean(-1, keepdim=True) + norms.eps[layers])
    normed = torch.where(norms.identity[layers], wide, wide / root * norms.scale[layers])
    return normed.to(x.dtype)


def normalise_all(residuals: Mapping[int, Float[Tensor, "S D"]], norms: Norms) -> dict[int, Float[Tensor, "1 S D"]]:
    """What --keep-residuals saves: layer 0 in float32, the others in the model's dtype, on the host."""
    kept = {}
    for layer, x in residuals.items():
        normed = normalise(x, torch.full((x.shape[0],), layer, device=x.device), norms)
        kept[layer] = (normed.float() if layer == 0 else normed)[None].cpu()
    return kept


def unembed(x: Float[Tensor, "N D"], head: Unembedding) -> Float[Tensor, "N V"]:
    """x @ W_U + b_U in float32; the model's own soft cap or logit scale is not applied (R3)."""
    return F.linear(x.float(), head.weight, head.bias)


@dataclass(frozen=True)
class NormLens(Lens):
    """norm(x) @ W_U + b_U, the norm of layer l being the one that reads layer l next."""

    name = "norm"
    fallback_answer = MAIN.answer  # also in the control pass (R6)
    norms: Norms
    head: Unembedding

    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        return unembed(normalise(x, layers, self.norms), self.head)


def build(norms: Norms, head: Unembedding, options: RunOptions) -> tuple[NormLens, dict[str, Any]]:
    return NormLens(norms, head), {}
