"""Fit the Prism lens: whiten normed residuals, and turn their principal directions into those of the unembedding.

Q is the orthogonal Procrustes solution (Schönemann 1966): of all rotations, the one that takes E_k, the first k
principal directions of the whitened residuals, to U_k, the first k left singular vectors of W_U.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.forward import ForwardRequest, capture_batch
from ..core.raw_lens import sampled_layers
from ..errors import LensError
from ..model.determinism import SEED
from ..model.load import LoadedModel
from ..output.store import write_text
from ..prompts.suite import suite_of
from .corpus import cut
from .options import PrismOptions
from .progress import tracked

log = logging.getLogger("lenses_min")
EPS = 1e-8  # added to the variance, as the reference's artifacts have it
CHUNK = 8192  # rows of W_U multiplied at once


class Moments:
    """Running mean and variance of rows, float64, merged a batch at a time (Chan, Golub and LeVeque 1979)."""

    def __init__(self, width: int) -> None:
        self.count, self.mean, self.squares = (
            0,
            torch.zeros(width).double(),
            torch.zeros(width).double(),
        )

    def add(self, x: Float[Tensor, "N D"]) -> None:
        new, mean = len(x), x.mean(0)
        delta, total = mean - self.mean, self.count + len(x)
        self.squares += (x - mean).square().sum(0) + delta.square() * self.count * new / total
        self.mean += delta * new / total
        self.count = total

    @property
    def variance(self) -> Float[Tensor, " D"]:
        return self.squares / self.count


class Reservoir:
    """A uniform sample of at most `size` rows of a stream of unknown length (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, width: int) -> None:
        self.rows, self.seen = torch.empty(size, width), 0
        self.draw = torch.Generator().manual_seed(SEED)

    def add(self, x: Float[Tensor, "N D"]) -> None:
        for row in x:
            at = self.seen if self.seen < len(self.rows) else self.pick()
            if at < len(self.rows):
                self.rows[at] = row
            self.seen += 1

    def pick(self) -> int:
        return int(torch.randint(self.seen + 1, (), generator=self.draw))

    @property
    def sample(self) -> Float[Tensor, "R D"]:
        return self.rows[: self.seen]


def leading(gram: Float[Tensor, "D D"], k: int) -> Float[Tensor, "D k"]:
    """The k eigenvectors of largest eigenvalue; the largest component of each is positive, which fixes its sign."""
    vectors = torch.linalg.eigh(gram).eigenvectors.flip(1)[:, :k]
    peak = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return vectors * peak.sign()


def gram_of(weight: Float[Tensor, "V D"]) -> Float[Tensor, "D D"]:
    """W_U W_Uᵀ in float64, a part of the vocabulary at a time; its eigenvectors are W_U's left singular vectors."""
    total = torch.zeros(weight.shape[1], weight.shape[1]).double()
    for part in torch.split(weight, CHUNK):
        total += (part.double().T @ part.double()).cpu()
    return total


def procrustes(e: Float[Tensor, "D k"], u: Float[Tensor, "D k"]) -> Float[Tensor, "D D"]:
    """The orthogonal Q with least |EᵀQ − Uᵀ|: A Bᵀ of the singular value decomposition E Uᵀ = A S Bᵀ."""
    a, _, b = torch.linalg.svd(e @ u.T)
    return a @ b


def material(model: LoadedModel, options: PrismOptions) -> list[list[int]]:
    """The sequences that the model reads: the texts, cut, and the prompts of a file."""
    sequences = cut(model.tokens, options.text, options.length, options.tokens)
    if options.prompts:
        suite = suite_of(options.prompts)
        texts = [*(prompt.text for prompt in suite.passes), *suite.test_prompts]
        sequences += [
            ids
            for text in texts
            if 0 < len(ids := model.tokens.model_input(text)) <= model.facts.n_ctx
        ]
    if not sequences:
        raise LensError(
            f"the texts hold no sequence of {options.length} tokens; give more, or a smaller --length"
        )
    return sequences


def normed_rows(
    model: LoadedModel, sequences: Sequence[Sequence[int]], layers: Sequence[int]
) -> Iterator[Tensor]:
    """Normed residuals [S, D] of a layer and sequence at a time, float32 on the host."""
    for ids in tracked(sequences, "residuals"):
        (captured,) = capture_batch(
            model.bridge, [ForwardRequest(ids, layers)], model.facts.n_layers
        )
        for layer in layers:
            x = captured.residuals.at(layer)
            yield model.norms.apply(x, torch.full((len(x),), layer)).float().cpu()


def fit(model: LoadedModel, options: PrismOptions) -> dict[str, Any]:
    """Fit and save whiten.pt, Q_prism.pt and provenance.json; returns the provenance."""
    width, layers = model.facts.d_model, sampled_layers("sample", model.facts.n_layers)
    sequences, k = material(model, options), min(options.k, width)
    moments, reservoir = Moments(width), Reservoir(options.samples, width)
    for rows in normed_rows(model, sequences, layers):
        moments.add(rows.double())
        reservoir.add(rows)
    sample = ((reservoir.sample - moments.mean) / (moments.variance + EPS).sqrt()).double()
    if len(sample) < k:
        raise LensError(
            f"{len(sample)} residuals do not span {k} directions; give more text or a smaller --k"
        )
    q = procrustes(leading(sample.T @ sample, k), leading(gram_of(model.head.weight), k)).float()
    error = float((q.T @ q - torch.eye(width)).abs().max())
    provenance = {
        "method": "procrustes",
        "k": k,
        "layers": ["embed" if layer == 0 else layer - 1 for layer in layers],
        "seed": SEED,
        "d_model": width,
        "orthogonality_error": error,
        "residuals": moments.count,
        "sampled": len(sample),
        "sequences": len(sequences),
        "norms": "reference formula"
        if type(model.norms).__name__ == "FormulaNorms"
        else "the model's own modules",
        "fingerprint": model.facts.fingerprint,
        "options": asdict(options),
    }
    whiten = {"mean": moments.mean.float(), "var": moments.variance.float(), "eps": EPS}
    save(Path(options.out), whiten, q, provenance)
    return provenance


def save(folder: Path, whiten: dict[str, Any], q: Tensor, provenance: dict[str, Any]) -> None:
    """The contract's layout, readable by the reference. Q comes last: without it a lens finds nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "provenance.json", json.dumps(provenance, indent=2) + "\n")
    for name, content in (("whiten.pt", whiten), ("Q_prism.pt", q)):
        torch.save(content, folder / f".{name}")
        os.replace(folder / f".{name}", folder / name)


def sentence(provenance: dict[str, Any]) -> str:
    """The result of a fit in one sentence."""
    aligned = f"{provenance['k']} of {provenance['d_model']} directions aligned"
    source = f"from {provenance['residuals']} residuals"
    return f"{aligned}, {source}; max |QᵀQ − I| is {provenance['orthogonality_error']:.1e}"
