"""A tiny model through plain transformers, and its captured files: what the oracle is tried on.

L = blocks, S = positions, D = width, V = vocabulary. Weights and activations are float64.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from spec import oracle
from spec.runs import csv_dialect

Array = NDArray[np.float64]
Decode = Callable[[Array, int], Array]
BODIES = ("model", "transformer", "gpt_neox")
NO_BOS = {"bloom", "qwen", "qwen2", "qwen3"}  # model types whose input gets no BOS
GOLDEN = Path(__file__).parents[2] / "golden"
CASES = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))["cases"]
FP32 = [name for name, case in CASES.items() if case.get("tolerance", "fp32") == "fp32"]
PRISM = ["fact-prism", "layernorm-prism", "unresolved-prism"]
GERMANY = "Give the city name only, plain text. The capital of Germany is called simply"
PROMPTS = {
    ("pos", "orig"): (GERMANY, "Berlin"),
    ("pos", "no_filler"): (GERMANY.removesuffix(" simply"), "Berlin"),
    ("ctl", "orig"): (GERMANY.replace("Germany", "France"), "Paris"),
}


@dataclass(frozen=True)
class Norm:
    """scale [D], bias [D] (None for RMS norms) and eps of one norm module."""

    scale: Array
    bias: Array | None
    eps: float


@dataclass(frozen=True)
class Pass:
    """input_ids [S], ctx_ids without BOS, residuals [L + 1, S, D], the model's own last logits [V]."""

    input_ids: list[int]
    ctx_ids: list[int]
    residuals: Array
    final_logits: Array


@dataclass(frozen=True)
class TinyModel:
    """A loaded model with its L + 1 norms by name and its unembedding W_U [D, V], b_U [V]."""

    model: Any
    tokenizer: Any
    n_layers: int
    norms: dict[str, Norm]
    W_U: Array
    b_U: Array
    soft_cap: float | None

    def tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, token_id: int) -> str:
        return str(self.tokenizer.decode([token_id]))

    def first_id(self, prompt: str, answer: str) -> int | None:
        """First id the answer adds to the prompt, after a space or else without; None if there is none."""
        context = len(self.tokens(prompt))
        for text in (f"{prompt} {answer}", f"{prompt}{answer}"):
            ids = self.tokens(text)
            if len(ids) > context:
                return ids[context]
        return None

    def run(self, prompt: str) -> Pass:
        """Residuals come from hooks on the blocks: the last of HF's hidden_states is already normalised."""
        context = self.tokens(prompt)
        bos = self.tokenizer.bos_token_id
        bos = self.tokenizer.eos_token_id if bos is None else bos
        ids = context if self.model.config.model_type in NO_BOS else [bos, *context]
        caught: list[torch.Tensor] = []
        blocks = named(named(self.model, *BODIES), "h", "layers")
        handles = [blocks[0].register_forward_pre_hook(catch(caught, into=True), with_kwargs=True)]
        handles += [block.register_forward_hook(catch(caught)) for block in blocks]
        try:
            with torch.no_grad():
                logits = self.model(torch.tensor([ids])).logits
        finally:
            for handle in handles:
                handle.remove()
        residuals = torch.stack(caught)[:, 0].double().numpy()
        return Pass(ids, context, residuals, logits[0, -1].double().numpy())


def catch(caught: list[torch.Tensor], into: bool = False) -> Callable[..., None]:
    """A hook that keeps what goes into a block, or what comes out of it."""

    def hook(module: nn.Module, args: tuple[Any, ...], other: Any) -> None:
        value = (args[0] if args else other["hidden_states"]) if into else other
        caught.append((value[0] if isinstance(value, tuple) else value).detach().clone())

    return hook


def named(module: Any, *names: str) -> Any:
    """The first of these attributes that the module has; families name the same part differently."""
    return next(getattr(module, name) for name in names if hasattr(module, name))


def read_norm(module: Any, gemma: bool) -> Norm:
    """Gemma stores scale - 1; eps has a name of its own in every family."""
    weight = module.weight.detach().double().numpy()
    bias = getattr(module, "bias", None)
    return Norm(
        weight + 1.0 if gemma else weight,
        None if bias is None else bias.detach().double().numpy(),
        float(named(module, "variance_epsilon", "eps")),
    )


def build(folder: Path) -> TinyModel:
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    )
    model.eval()
    body = named(model, *BODIES)
    blocks = named(body, "h", "layers")
    gemma = model.config.model_type.startswith("gemma")
    modules = {
        f"blocks.{i}.ln1": named(block, "input_layernorm", "ln_1") for i, block in enumerate(blocks)
    }
    modules["ln_final"] = named(body, "norm", "ln_f", "final_layer_norm", "final_layernorm")
    head = model.get_output_embeddings()
    W_U = head.weight.detach().double().numpy().T
    return TinyModel(
        model=model,
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder),
        n_layers=len(blocks),
        norms={name: read_norm(module, gemma) for name, module in modules.items()},
        W_U=W_U,
        b_U=np.zeros(W_U.shape[1]) if head.bias is None else head.bias.detach().double().numpy(),
        soft_cap=getattr(model.config, "final_logit_softcapping", None),
    )


@cache
def load(model: str) -> TinyModel:
    return build(GOLDEN / "models" / model)


@cache
def run(model: str, prompt: str) -> Pass:
    return load(model).run(prompt)


def model_of(case: str) -> TinyModel:
    return load(CASES[case]["model"])


def output(case: str, ending: str) -> Path:
    return (
        GOLDEN / "outputs" / case / f"output-{CASES[case]['model_id'].rpartition('/')[2]}{ending}"
    )


def rows_of(case: str, ending: str) -> list[dict[str, str]]:
    table = csv_dialect.parse(output(case, ending).read_bytes().decode("utf-8"))
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def document(case: str) -> dict[str, Any]:
    return dict(json.loads(output(case, ".json").read_text(encoding="utf-8")))


def decoder(case: str, lens: str) -> Decode:
    """residual [D], layer -> logits [V] of the lens: norm, raw or prism."""
    tiny = model_of(case)
    if lens == "raw":
        return lambda x, layer: oracle.raw_lens(x, tiny.W_U, tiny.b_U)
    norms = [
        tiny.norms[oracle.norm_name(layer, tiny.n_layers)] for layer in range(tiny.n_layers + 1)
    ]
    if lens == "norm":
        return lambda x, layer: oracle.norm_lens(
            x, norms[layer].scale, norms[layer].eps, tiny.W_U, tiny.b_U
        )
    folder = GOLDEN / "prisms" / CASES[case]["model_id"].rpartition("/")[2]
    whiten = torch.load(folder / "whiten.pt", weights_only=True)
    Q = torch.load(folder / "Q_prism.pt", weights_only=True).double().numpy()
    mean, var = whiten["mean"].double().numpy(), whiten["var"].double().numpy()

    def prism(x: Array, layer: int) -> Array:
        normed = oracle.reference_norm(x, norms[layer].scale, norms[layer].eps)
        whitening = mean, var, float(whiten["eps"])
        return oracle.prism_lens(normed, whitening, Q, tiny.W_U, tiny.b_U)

    return prism
