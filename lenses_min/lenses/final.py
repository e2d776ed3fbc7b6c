"""The final lens: the model's last norm reads every layer, as in nostalgebraist, "interpreting GPT: the logit lens"."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.types import Lens, Norms
from ..core.unembedding import Unembedding
from ..options import RunOptions


@dataclass(frozen=True)
class FinalLens(Lens):
    """ln_final(x) @ W_U + b_U at every layer, by the norms of the norm lens; the two agree at the last layer."""

    name = "final"
    norms: Norms
    head: Unembedding

    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        return self.head.logits(self.norms.apply(x, torch.full_like(layers, self.norms.last)))


def build(norms: Norms, head: Unembedding, options: RunOptions) -> tuple[FinalLens, dict[str, Any]]:
    return FinalLens(norms, head), {}
