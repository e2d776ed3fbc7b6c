"""The Prism lens: whiten the normed residual and turn it into the unembedding's frame, z = w(norm(x)) @ Q @ W_U.

Artifacts in `<prism dir>/<name>/`: whiten.pt {mean, var, eps}, Q_prism.pt [D, D], provenance.json.
"""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.types import Lens, Norms
from ..core.unembedding import Unembedding
from ..errors import LensError
from ..options import RunOptions

ORTHOGONALITY_BOUND = 1e-3  # max |QᵀQ − I|; float32 Procrustes solutions reach about 1e-6


@dataclass(frozen=True)
class Whitening:
    """Mean and inverse deviation of normed residuals, and the rotation Q that follows."""

    mean: Float[Tensor, " D"]
    inverse_std: Float[Tensor, " D"]
    q: Float[Tensor, "D D"]


@dataclass(frozen=True)
class PrismLens(Lens):
    """((norm(x) − mean) / sqrt(var + eps)) @ Q @ W_U + b_U, float32."""

    name = "prism"
    first_record_layer = 1  # R7
    norms: Norms
    head: Unembedding
    frame: Whitening

    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        normed = self.norms.apply(x, layers).float()
        return self.head.logits((normed - self.frame.mean) * self.frame.inverse_std @ self.frame.q)


def build(
    norms: Norms, head: Unembedding, options: RunOptions
) -> tuple[PrismLens | None, dict[str, Any]]:
    """The lens and the `prism_summary` of the outputs.

    Raises LensError when mode `on` cannot be served; mode `auto` records the reason in the summary instead.
    """
    folder = Path(options.prism_dir) / options.file_stem
    summary = {
        "mode": options.prism,
        "artifact_path": str(folder),
        "present": False,
        "compatible": False,
    }
    summary |= {"k": None, "layers": None, "error": None}
    if options.prism == "off":
        return None, summary
    try:
        frame, provenance = read_artifacts(folder, head.weight.shape[1], head.weight.device)
    except LensError as error:
        if options.prism == "on":
            raise LensError(
                f"{error}; fit the artifacts for this model or use --prism auto or off"
            ) from error
        return None, summary | {"error": str(error)}
    artifacts = {
        "present": True,
        "compatible": True,
        "k": provenance.get("k"),
        "layers": provenance.get("layers"),
    }
    return PrismLens(norms, head, frame), summary | artifacts


def read_artifacts(
    folder: Path, width: int, device: torch.device
) -> tuple[Whitening, dict[str, Any]]:
    """Load whiten.pt and Q_prism.pt as data, never as code; refuse what is missing, corrupt or another's.

    provenance.json informs and decides nothing: it may be missing.
    """
    files = [folder / "whiten.pt", folder / "Q_prism.pt"]
    if not all(file.is_file() for file in files):
        raise LensError(f"Missing prism artifacts in {folder}")
    try:
        whiten, q = (torch.load(file, map_location=device, weights_only=True) for file in files)
        mean, var, eps = whiten["mean"].float(), whiten["var"].float(), float(whiten["eps"])
        q, note = q.float(), folder / "provenance.json"
        provenance = dict(json.loads(note.read_text(encoding="utf-8"))) if note.is_file() else {}
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as e:
        raise LensError(f"prism artifacts corrupt in {folder} ({type(e).__name__}: {e})") from e
    if mean.shape != (width,) or var.shape != (width,) or q.shape != (width, width):
        raise LensError(f"prism artifacts incompatible with model dims (d_model={width})")
    if not all(bool(t.isfinite().all()) for t in (mean, var, q)) or not bool((var + eps > 0).all()):
        raise LensError(
            f"prism artifacts corrupt in {folder} (not finite, or a variance below zero)"
        )
    error = float((q.T @ q - torch.eye(width, device=device)).abs().max())
    if error > ORTHOGONALITY_BOUND:
        raise LensError(
            f"prism artifacts not orthogonal in {folder}: max |QᵀQ − I| is {error:.3g}, "
            f"at most {ORTHOGONALITY_BOUND:g} is allowed"
        )
    return Whitening(mean, torch.rsqrt(var + eps), q), provenance
