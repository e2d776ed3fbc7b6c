"""What may be wrong with a lens: named faults, each a change of the right lens, alone or two together.

L = blocks, D = width, V = vocabulary. Nothing here knows the tool: its distributions are compared with those that the
fault would give.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from .. import oracle
from ..oracle import Array
from ..runners.plain import TOLERANCE, Head, Norm, Readout, lens_logits

EPSILONS = (0.0, 1e-12, 1e-8, 1e-6, 1e-5, 1e-3)  # those that libraries have


@dataclass(frozen=True)
class Lens:
    """A residual [D], the norm that reads it and how often, for each of the L + 1 layers; one head for all."""

    residuals: Array
    norms: tuple[Norm, ...]
    times: tuple[int, ...]
    head: Head

    def logits(self) -> Array:
        """[L + 1, V]."""
        rows = zip(self.residuals, self.norms, self.times, strict=True)
        return np.stack([lens_logits(x, [norm] * times, self.head) for x, norm, times in rows])


def right_lens(readout: Readout) -> Lens:
    """The final lens: the last norm at every layer."""
    layers = readout.n_layers + 1
    return Lens(readout.residuals, (readout.final_norm,) * layers, (1,) * layers, readout.head)


Change = Callable[[Lens, Readout], Lens]


@dataclass(frozen=True)
class Hypothesis:
    """A fault by name; `change` puts it into a lens, and leaves one as it is whose model hides the fault."""

    name: str
    change: Change


def norm_times(before_last: int, last: int) -> Change:
    """Apply the norm so often to the layers before the last, and to the last."""
    return lambda lens, readout: replace(lens, times=(before_last,) * readout.n_layers + (last,))


def every_norm(change: Callable[[Norm], Norm]) -> Change:
    return lambda lens, readout: replace(lens, norms=tuple(map(change, lens.norms)))


def with_eps(eps: float) -> Change:
    return every_norm(lambda norm: replace(norm, eps=eps))


def with_head(change: Callable[[Head], Head]) -> Change:
    return lambda lens, readout: replace(lens, head=change(lens.head))


def without_bias(norm: Norm) -> Norm:
    return replace(norm, bias=np.zeros_like(norm.bias))


def layer_before(lens: Lens, readout: Readout) -> Lens:
    return replace(lens, residuals=np.concatenate([lens.residuals[:1], lens.residuals[:-1]]))


def layer_after(lens: Lens, readout: Readout) -> Lens:
    return replace(lens, residuals=np.concatenate([lens.residuals[1:], lens.residuals[-1:]]))


def bare_embedding(lens: Lens, readout: Readout) -> Lens:
    return replace(lens, residuals=np.stack([readout.embedding, *lens.residuals[1:]]))


def next_norm(lens: Lens, readout: Readout) -> Lens:
    """A block without a first norm leaves its layer to the final norm."""
    norms = zip(readout.block_norms, lens.norms[:-1], strict=True)
    return replace(lens, norms=(*(first or final for first, final in norms), lens.norms[-1]))


def reference_norm_lens(lens: Lens, readout: Readout) -> Lens:
    """Norms of the next block by the RMS formula without bias (R1), and no output transform (R3)."""
    lens = next_norm(lens, readout)
    norms = tuple(replace(without_bias(norm), centred=False) for norm in lens.norms)
    return replace(lens, norms=norms, head=replace(lens.head, logit_scale=1.0, soft_cap=None))


# In the order in which two together are applied: the choice of a norm before its change.
HYPOTHESES = (
    Hypothesis("norm of the next block", next_norm),
    Hypothesis("residual of the layer before", layer_before),
    Hypothesis("residual of the layer after", layer_after),
    Hypothesis("bare token embedding at layer 0", bare_embedding),
    Hypothesis("norm applied twice", norm_times(2, 2)),
    Hypothesis("norm applied twice at the last layer", norm_times(1, 2)),
    Hypothesis("norm missing", norm_times(0, 0)),
    Hypothesis("norm missing before the last layer", norm_times(0, 1)),
    *(Hypothesis("wrong eps", with_eps(eps)) for eps in EPSILONS),
    Hypothesis("scale without + 1", every_norm(lambda norm: replace(norm, offset=0.0))),
    Hypothesis("norm bias left out", every_norm(without_bias)),
    Hypothesis("no centring", every_norm(lambda norm: replace(norm, centred=False))),
    Hypothesis("head bias left out", with_head(lambda h: replace(h, b_U=np.zeros_like(h.b_U)))),
    Hypothesis("soft cap left out", with_head(lambda h: replace(h, soft_cap=None))),
    Hypothesis("logit scale left out", with_head(lambda h: replace(h, logit_scale=1.0))),
)
REFERENCE = Hypothesis("norm lens of run.py", reference_norm_lens)


def layer_kls(p: Array, q: Array) -> Array:
    """KL(p || q) in bits of each row, logits [N, V] -> [N]."""
    rows = zip(p, q, strict=True)
    return np.array([oracle.kl_bits(oracle.softmax(a), oracle.softmax(b)) for a, b in rows])


def explanations(
    logits: Array, layers: Sequence[int], readout: Readout
) -> tuple[tuple[str, ...], ...]:
    """The faults that give the logits [N, V] of the named layers, each within the tolerance.

    Every single fault that does, else every two together that do; more than one where the model hides what tells
    them apart, none where the logits are unexplained.
    """
    singles = [(fault,) for fault in (*HYPOTHESES, REFERENCE)]
    for candidates in (singles, combinations(HYPOTHESES, 2)):
        names = [
            tuple(fault.name for fault in faults)
            for faults in candidates
            if explains(faults, logits, layers, readout)
        ]
        if names:
            return tuple(dict.fromkeys(names))
    return ()


def explains(
    faults: Sequence[Hypothesis], logits: Array, layers: Sequence[int], readout: Readout
) -> bool:
    lens = right_lens(readout)
    for fault in faults:
        lens = fault.change(lens, readout)
    return bool(np.all(layer_kls(logits, lens.logits()[list(layers)]) <= TOLERANCE))
