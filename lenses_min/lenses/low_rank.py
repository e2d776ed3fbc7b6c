"""The tuned lens as the reference fits it since September 2025: translators of low rank behind the norm.

Artifacts in `<tuned dir>/<name>/`: weights.pt, perhaps precond.pt, and provenance.json, whose `translator` has the
sizes. Axes: n translators, D width, r rank.
"""

import json
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from ..core.types import Lens, Norms
from ..core.unembedding import Unembedding
from ..errors import LensError

WEIGHTS, BASIS, PROVENANCE = "weights.pt", "precond.pt", "provenance.json"
BASIS_KEYS = ("mean", "inv_scale", "rotation")


class About(BaseModel):
    """What provenance.json says of the translators; further keys decide nothing."""

    model_config = ConfigDict(strict=True)
    num_layers: int
    d_model: int
    rank: int
    final_identity: bool
    has_preconditioner: bool
    use_temperature: bool
    temperature_eps: float


@dataclass(frozen=True)
class Basis:
    """The frame in which translators work: p = ((h − mean) · inverse_scale) Rᵀ, and back; R None is the identity."""

    mean: Float[Tensor, " D"]
    inverse_scale: Float[Tensor, " D"]
    rotation: Float[Tensor, "D D"] | None

    def enter(self, h: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        p = (h - self.mean) * self.inverse_scale
        return p if self.rotation is None else p @ self.rotation.T

    def leave(self, p: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """A direction whose inverse scale is 0 comes back as its mean."""
        wide = p if self.rotation is None else p @ self.rotation
        kept = self.inverse_scale != 0
        scaled = wide / torch.where(kept, self.inverse_scale, torch.ones_like(self.inverse_scale))
        return torch.where(kept, scaled, torch.zeros_like(scaled)) + self.mean


@dataclass(frozen=True)
class Translators:
    """t(p) = p + (p U) Vᵀ + c and a temperature τ for the output of each block; the basis around them, if any.

    Translator i serves layer i + 1; the embeddings have none. With `final_identity` the last layer has none either.
    """

    u: Float[Tensor, "n D r"]
    v: Float[Tensor, "n D r"]
    c: Float[Tensor, "n D"]
    tau: Float[Tensor, " n"]
    basis: Basis | None
    final_identity: bool

    def serves(self, layer: int) -> bool:
        return layer > 0 and not (self.final_identity and layer == len(self.c))

    def translate(self, h: Float[Tensor, "N D"], layer: int) -> Float[Tensor, "N D"]:
        """Normed rows of one layer, float32; unchanged where the layer has no translator."""
        if not self.serves(layer):
            return h
        i = layer - 1
        p = h if self.basis is None else self.basis.enter(h)
        t = p + (p @ self.u[i]) @ self.v[i].T + self.c[i]
        return t if self.basis is None else self.basis.leave(t)

    def temperature(self, layer: int) -> Float[Tensor, ""]:
        return self.tau[layer - 1] if self.serves(layer) else torch.ones_like(self.tau[0])


@dataclass(frozen=True)
class LowRankLens(Lens):
    """(translate(norm(x)) @ W_U + b_U) / τ, float32; where the contract has a soft cap or scale, τ comes after it."""

    name = "tuned"
    first_record_layer = 1
    norms: Norms
    head: Unembedding
    translators: Translators

    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        values, counts = torch.unique_consecutive(layers, return_counts=True)
        numbers = values.tolist()
        rows = torch.split(self.norms.apply(x, layers).float(), counts.tolist())
        translated = [
            self.translators.translate(part, layer)
            for layer, part in zip(numbers, rows, strict=True)
        ]
        tau = torch.stack([self.translators.temperature(layer) for layer in numbers])
        each = tau.repeat_interleave(counts.to(tau.device), output_size=len(x))
        return self.head.logits(torch.cat(translated)) / each[:, None]


def read(folder: Path, n: int, width: int, device: torch.device) -> Translators:
    """The translators in a folder, as data and never as code, float32; raises LensError where the layout is another."""
    about, state = described(folder, n, width), State(folder / WEIGHTS, device)
    shapes = {"U": (width, about.rank), "V": (width, about.rank), "c": (width,)}
    state.check_names(
        {f"layers.{i}.{part}" for part in shapes for i in range(n)},
        {"log_tau", *(f"_precond_{key}" for key in BASIS_KEYS)},
    )
    u, v, c = (
        torch.stack([state.tensor(f"layers.{i}.{part}", *shape) for i in range(n)])
        for part, shape in shapes.items()
    )
    tau = torch.ones(n, device=device)
    if about.use_temperature:
        tau = F.softplus(state.tensor("log_tau", n)) + about.temperature_eps
    if not bool((tau > 0).all()):
        raise LensError(f"the tuned lens in {folder} is corrupt (a temperature is not above 0)")
    basis = read_basis(state, width) if about.has_preconditioner else None
    return Translators(u, v, c, tau, basis, about.final_identity)


class State:
    """The tensors of a .pt file by name."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path, self.device = path, device
        self.values = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(self.values, dict):
            raise unknown_layout(path.parent, f"{path.name} is a {type(self.values).__name__}")

    def check_names(self, needed: Set[str], known: Set[str]) -> None:
        if unknown := self.values.keys() - needed - known:
            names = ", ".join(sorted(map(str, unknown)))
            raise unknown_layout(self.path.parent, f"{self.path.name} has {names}")

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def tensor(self, name: str, *shape: int) -> Tensor:
        """A finite tensor in float32."""
        tensor = self.values.get(name)
        given = tuple(tensor.shape) if isinstance(tensor, Tensor) else None
        if given != shape:
            what = f"{name} of {self.path.name} is {given or 'missing'}, not {shape}"
            raise unknown_layout(self.path.parent, what)
        if not bool(tensor.isfinite().all()):
            raise LensError(f"the tuned lens in {self.path.parent} is corrupt ({name}: not finite)")
        return tensor.float()


def described(folder: Path, n: int, width: int) -> About:
    """The `translator` of provenance.json, of this model's sizes."""
    path = folder / PROVENANCE
    if not path.is_file():
        raise LensError(
            f"the tuned lens in {folder} has no {PROVENANCE}, which says how its translators are used; "
            f"copy it from where {WEIGHTS} came from"
        )
    try:
        about = About(**json.loads(path.read_text(encoding="utf-8"))["translator"])
    except (KeyError, TypeError, ValidationError) as error:
        problems = error.errors() if isinstance(error, ValidationError) else []
        names = ", ".join(str(problem["loc"][0]) for problem in problems) or "not there"
        raise unknown_layout(folder, f"`translator` of {PROVENANCE}: {names}") from error
    for key, given, size in (
        ("num_layers", about.num_layers, n),
        ("d_model", about.d_model, width),
    ):
        if given != size:
            raise LensError(
                f"the tuned lens in {folder} is of another model: {key} {given}, not {size}"
            )
    return about


def read_basis(state: State, width: int) -> Basis:
    """From weights.pt, or else from precond.pt beside it."""
    prefix = "_precond_"
    if not state.has(f"{prefix}mean"):
        path, prefix = state.path.with_name(BASIS), ""
        if not path.is_file():
            raise unknown_layout(path.parent, f"it has a preconditioner, but no {BASIS}")
        state = State(path, state.device)
    rotation = f"{prefix}rotation"
    return Basis(
        state.tensor(f"{prefix}mean", width),
        state.tensor(f"{prefix}inv_scale", width),
        state.tensor(rotation, width, width) if state.has(rotation) else None,
    )


def unknown_layout(folder: Path, what: str) -> LensError:
    return LensError(
        f"the tuned lens in {folder} has an unknown layout: {what}; lenses_min/README.md has those that are read"
    )
