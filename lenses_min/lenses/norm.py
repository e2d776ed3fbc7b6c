"""The norm lens: each layer through the norm that reads it next, then the unembedding.

Logit lens: nostalgebraist, "interpreting GPT: the logit lens" (2020).
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ..core.types import Lens, Norms
from ..core.unembedding import Unembedding
from ..options import RunOptions


@dataclass(frozen=True)
class NormLens(Lens):
    """norm(x) @ W_U + b_U, with the norm that reads layer l next."""

    name = "norm"
    fallback_answer = "Berlin"  # what the reference looks for, also in the control pass (R6)
    norms: Norms
    head: Unembedding

    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        return self.head.logits(self.norms.apply(x, layers))


def build(norms: Norms, head: Unembedding, options: RunOptions) -> tuple[NormLens, dict[str, Any]]:
    return NormLens(norms, head), {}
