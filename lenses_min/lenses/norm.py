"""The norm lens: each layer through the norm that reads it next, then the unembedding.

Logit lens: nostalgebraist, "interpreting GPT: the logit lens" (2020).
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..core.types import Lens, Norms, Unembedding
from ..options import RunOptions


def unembed(x: Float[Tensor, "N D"], head: Unembedding) -> Float[Tensor, "N V"]:
    """x @ W_U + b_U in float32, then the model's own output transform where the contract has it (R3)."""
    z = F.linear(x.float(), head.weight, head.bias)
    return z if head.transform is None else head.transform(z)


@dataclass(frozen=True)
class NormLens(Lens):
    """norm(x) @ W_U + b_U, with the norm that reads layer l next."""

    name = "norm"
    fallback_answer = "Berlin"  # what the reference looks for, also in the control pass (R6)
    norms: Norms
    head: Unembedding

    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        return unembed(self.norms.apply(x, layers), self.head)


def build(norms: Norms, head: Unembedding, options: RunOptions) -> tuple[NormLens, dict[str, Any]]:
    return NormLens(norms, head), {}
