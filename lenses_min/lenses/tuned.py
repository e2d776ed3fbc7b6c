"""The tuned lens: an affine translator a layer, then the model's last norm and unembedding (Belrose et al. 2023).

Artifacts in `<tuned dir>/<name>/`: translators.safetensors as `lenses-min fit tuned` writes it, or params.pt and
config.json as AlignmentResearch/tuned-lens does: `<layer>.weight` [D, D] and `<layer>.bias` [D], layers 0 … n − 1. The
layout of the reference is in low_rank.py.
"""

import json
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..core.types import Lens, Norms
from ..core.unembedding import Unembedding
from ..errors import LensError
from ..options import RunOptions
from . import low_rank
from .low_rank import LowRankLens

TRANSLATORS = "translators.safetensors"


@dataclass(frozen=True)
class TunedLens(Lens):
    """ln_final(x + W_l x + b_l) @ W_U + b_U; the last layer is read as it is."""

    name = "tuned"
    norms: Norms
    head: Unembedding
    weight: Float[Tensor, "n D D"]
    bias: Float[Tensor, "n D"]

    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        values, counts = torch.unique_consecutive(layers, return_counts=True)
        parts = [
            self.translate(part, layer)
            for layer, part in zip(values.tolist(), torch.split(x, counts.tolist()), strict=True)
        ]
        return self.head.logits(
            self.norms.apply(torch.cat(parts), torch.full_like(layers, self.norms.last))
        )

    def translate(self, x: Float[Tensor, "N D"], layer: int) -> Float[Tensor, "N D"]:
        """In float32, back in the dtype of x."""
        if layer == self.norms.last:
            return x
        wide = x.float()
        return (wide + wide @ self.weight[layer].T + self.bias[layer]).to(x.dtype)


def build(norms: Norms, head: Unembedding, options: RunOptions) -> tuple[Lens, dict[str, Any]]:
    """The lens from its artifacts; raises LensError where they are missing or another model's."""
    folder = Path(options.tuned_dir) / options.file_stem
    n, width, device = norms.last, head.weight.shape[1], head.weight.device
    if (folder / low_rank.WEIGHTS).is_file() and not (folder / TRANSLATORS).is_file():
        with corrupt_is_refused(folder):
            return LowRankLens(norms, head, low_rank.read(folder, n, width, device)), {}
    weight, bias = read_translators(folder, n, width)
    return TunedLens(norms, head, weight.to(device), bias.to(device)), {}


def read_translators(folder: Path, n: int, width: int) -> tuple[Tensor, Tensor]:
    """Weights [n, D, D] and biases [n, D] of a translator a layer, read as data and never as code."""
    ours, theirs = folder / TRANSLATORS, folder / "params.pt"
    if not ours.is_file() and not theirs.is_file():
        raise LensError(
            f"no tuned lens in {folder}; fit one with lenses-min fit tuned, or name its --tuned-dir"
        )
    with corrupt_is_refused(folder):
        if ours.is_file():
            state: Mapping[str, Tensor] = load_file(ours)
        else:
            state = torch.load(theirs, map_location="cpu", weights_only=True)
            check_config(folder / "config.json", n, width)
        return stacked(state, n, width, folder)


@contextmanager
def corrupt_is_refused(folder: Path) -> Iterator[None]:
    """The errors of reading files as LensError."""
    try:
        yield
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        OSError,
    ) as error:
        reason = str(error).split("\n")[0]
        raise LensError(
            f"the tuned lens in {folder} is corrupt ({type(error).__name__}: {reason})"
        ) from error


def check_config(path: Path, n: int, width: int) -> None:
    """config.json of the published layout names the model's sizes."""
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for key, size in (("d_model", width), ("num_hidden_layers", n)):
        if config.get(key, size) != size:
            raise LensError(
                f"the tuned lens in {path.parent} is of another model: {key} {config[key]}, not {size}"
            )


def stacked(state: Mapping[str, Tensor], n: int, width: int, folder: Path) -> tuple[Tensor, Tensor]:
    """The tensors by layer; older checkpoints put a prefix before the number, and a bias may be missing."""
    tensors = {
        m.groups(): t
        for key, t in state.items()
        if (m := re.fullmatch(r"(?:.*\.)?(\d+)\.(weight|bias)", key))
    }
    weights = [tensors.get((str(layer), "weight")) for layer in range(n)]
    biases = [tensors.get((str(layer), "bias"), torch.zeros(width)) for layer in range(n)]
    shapes = {tuple(w.shape) if w is not None else None for w in weights} | {
        tuple(b.shape) * 2 for b in biases
    }
    if shapes != {(width, width)} or (str(n), "weight") in tensors:
        raise LensError(f"the tuned lens in {folder} is not for {n} layers of width {width}")
    stack = (
        torch.stack([w.float() for w in weights if w is not None]),
        torch.stack([b.float() for b in biases]),
    )
    if not all(bool(t.isfinite().all()) for t in stack):
        raise LensError(f"the tuned lens in {folder} is corrupt (not finite)")
    return stack
