"""The raw lens: the unembedding alone, without any norm. The raw-lens check holds the norm lens against it."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ..core.types import Lens, Norms
from ..core.unembedding import Unembedding
from ..options import RunOptions


@dataclass(frozen=True)
class RawLens(Lens):
    """x @ W_U + b_U, float32."""

    name = "raw"
    head: Unembedding

    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        return self.head.logits(x)


def build(norms: Norms, head: Unembedding, options: RunOptions) -> tuple[RawLens, dict[str, Any]]:
    return RawLens(head), {}
