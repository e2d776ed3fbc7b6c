"""A logit lens on plain transformers, right or with one planted fault, in float32 by the model's own modules.

It shares no formula with spec: a fault changes a module, a number of the configuration, or what a module reads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm
from transformers import AutoModelForCausalLM

FINAL_NORMS = ("norm", "ln_f", "final_layernorm")
FIRST_NORMS = ("input_layernorm", "ln_1")


def named(module: Any, *names: str) -> Any:
    return next(getattr(module, name) for name in names if hasattr(module, name))


@dataclass
class Parts:
    """Residuals x [L + 1, D] and the modules that a lens reads them by; faults may change the modules."""

    x: Tensor
    embedding: Tensor
    norm: Any
    firsts: Sequence[Any]
    head: Any
    scale: float
    cap: float | None

    def read(self, normed: Tensor) -> Tensor:
        z = self.head(normed) * self.scale
        return z if self.cap is None else self.cap * torch.tanh(z / self.cap)

    @property
    def eps(self) -> str:
        return "variance_epsilon" if hasattr(self.norm, "variance_epsilon") else "eps"

    def rms(self, norm: Any, x: Tensor) -> Tensor:
        """A LayerNorm by the RMS formula, without its bias; an RMSNorm as it is."""
        if "LayerNorm" not in type(norm).__name__:
            return norm(x)
        return rms_norm(x, (x.shape[-1],), norm.weight, getattr(self.norm, self.eps))


def parts(folder: Path, ids: Sequence[int]) -> Parts:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.requires_grad_(False)
    body, config = model.base_model, model.config
    norm, caught = named(body, *FINAL_NORMS), []
    hook = norm.register_forward_pre_hook(lambda module, args: caught.append(args[0]))
    states = model(torch.tensor([list(ids)]), output_hidden_states=True).hidden_states
    hook.remove()
    return Parts(
        x=torch.stack([state[0, -1] for state in (*states[:-1], caught[0])]),
        embedding=model.get_input_embeddings().weight[ids[-1]],
        norm=norm,
        firsts=[named(block, *FIRST_NORMS) for block in named(body, "layers", "h")],
        head=model.get_output_embeddings(),
        scale=getattr(config, "logit_scale", 1.0),
        cap=getattr(config, "final_logit_softcapping", None),
    )


def right(p: Parts) -> Tensor:
    return p.read(p.norm(p.x))


def twice_at_last(p: Parts) -> Tensor:
    return p.read(torch.cat([p.norm(p.x[:-1]), p.norm(p.norm(p.x[-1:]))]))


def wrong_eps(p: Parts) -> Tensor:
    setattr(p.norm, p.eps, 1e-6)
    return right(p)


def without_one(p: Parts) -> Tensor:
    if type(p.norm).__name__.startswith("Gemma"):
        p.norm.weight -= 1
    return right(p)


def without_bias(p: Parts) -> Tensor:
    if getattr(p.norm, "bias", None) is not None:
        p.norm.bias.zero_()
    return right(p)


def no_centring(p: Parts) -> Tensor:
    bias = getattr(p.norm, "bias", None)
    return p.read(p.rms(p.norm, p.x) + (0 if bias is None else bias))


def without_head_bias(p: Parts) -> Tensor:
    if p.head.bias is not None:
        p.head.bias.zero_()
    return right(p)


def without_cap(p: Parts) -> Tensor:
    p.cap = None
    return right(p)


def without_scale(p: Parts) -> Tensor:
    p.scale = 1.0
    return right(p)


def next_norm(p: Parts) -> Tensor:
    norms = zip((*p.firsts, p.norm), p.x, strict=True)
    return p.read(torch.stack([norm(x) for norm, x in norms]))


def of_run_py(p: Parts) -> Tensor:
    norms = zip((*p.firsts, p.norm), p.x, strict=True)
    p.scale, p.cap = 1.0, None
    return p.read(torch.stack([p.rms(norm, x) for norm, x in norms]))


def bare_embedding(p: Parts) -> Tensor:
    p.x = torch.stack([p.embedding, *p.x[1:]])
    return right(p)


FAULTS: dict[str, Callable[[Parts], Tensor]] = {
    "norm of the next block": next_norm,
    "norm lens of run.py": of_run_py,
    "residual of the layer before": lambda p: p.read(p.norm(torch.cat([p.x[:1], p.x[:-1]]))),
    "residual of the layer after": lambda p: p.read(p.norm(torch.cat([p.x[1:], p.x[-1:]]))),
    "bare token embedding at layer 0": bare_embedding,
    "norm applied twice": lambda p: p.read(p.norm(p.norm(p.x))),
    "norm applied twice at the last layer": twice_at_last,
    "norm missing": lambda p: p.read(p.x),
    "norm missing before the last layer": lambda p: p.read(torch.cat([p.x[:-1], p.norm(p.x[-1:])])),
    "wrong eps": wrong_eps,
    "scale without + 1": without_one,
    "norm bias left out": without_bias,
    "no centring": no_centring,
    "head bias left out": without_head_bias,
    "soft cap left out": without_cap,
    "logit scale left out": without_scale,
}
