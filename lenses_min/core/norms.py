"""The norm that reads each layer next: by the reference's formula, or by calling the model's own module."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .types import Norms, upload


@dataclass(frozen=True)
class FormulaNorms(Norms):
    """x / sqrt(mean(x²) + eps) · scale in float32, cast back to the dtype of x; `identity` marks layers without a norm.

    The reference's formula for every norm module, LayerNorm too: no centring, no bias (R1).
    """

    scale: Float[Tensor, "L D"]
    eps: Float[Tensor, "L 1"]
    identity: Bool[Tensor, "L 1"]

    @property
    def last(self) -> int:
        return len(self.scale) - 1

    def apply(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N D"]:
        layers = upload(layers, x.device)
        wide = x.float()
        root = torch.sqrt(wide.square().mean(-1, keepdim=True) + self.eps[layers])
        normed = torch.where(self.identity[layers], wide, wide / root * self.scale[layers])
        return normed.to(x.dtype)


@dataclass(frozen=True)
class ModuleNorms(Norms):
    """The model's own norm modules, one per layer, None where a layer has none; each is called on its rows unchanged.

    A module of a sharded model is called on its own device.
    """

    modules: tuple[Any, ...]

    @property
    def last(self) -> int:
        return len(self.modules) - 1

    def apply(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N D"]:
        values, counts = torch.unique_consecutive(layers, return_counts=True)
        with torch.no_grad():
            parts = torch.split(x, counts.tolist())
            return torch.cat(
                [self.read(part, layer) for layer, part in zip(values.tolist(), parts, strict=True)]
            )

    def read(self, x: Float[Tensor, "N D"], layer: int) -> Float[Tensor, "N D"]:
        module = self.modules[layer]
        if module is None:
            return x
        device = next(module.parameters(), x).device
        return module(x.to(device)[None])[0].to(x)


def normalise_all(
    residuals: Mapping[int, Float[Tensor, "S D"]], norms: Norms
) -> dict[int, Float[Tensor, "1 S D"]]:
    """The normed residual of every layer in the residual's own dtype, on the host by one transfer."""
    normed = [norms.apply(x, torch.full((x.shape[0],), layer)) for layer, x in residuals.items()]
    host = torch.stack(normed).cpu()[:, None]
    return {layer: x.clone() for layer, x in zip(residuals, host, strict=True)}
