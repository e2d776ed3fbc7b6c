"""The raw lens: the unembedding alone, without any norm. The raw-lens check holds the norm lens against it."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ..core.types import Lens, Norms, Unembedding
from ..options import RunOptions
from .norm import unembed


@dataclass(frozen=True)
class RawLens(Lens):
    """x @ W_U + b_U, float32."""

    name = "raw"
    head: Unembedding

    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        return unembed(x, self.head)


def build(norms: Norms, head: Unembedding, options: RunOptions) -> tuple[RawLens, dict[str, Any]]:
    return RawLens(head), {}
