"""An external run.py for the tests: run.py's interface over TransformerLens 2, with a copy of our stages as helpers.

It replaces the reference's own worker: it imports HookedTransformer, reads its options from CLI_ARGS, and writes the
files of the contract. The tests copy `lenses_min` next to it and change either.
"""

import os
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from transformer_lens import HookedTransformer

loading: Any = ModuleType("lenses_min.model.load")  # the real module needs TransformerLens 4
loading.LoadedModel, loading.load = SimpleNamespace, None
verify: Any = ModuleType("lenses_min.model.verify")  # so does this one
verify.prove = lambda model, passes, options: {}
last_token: Any = ModuleType("lenses_min.model.last_token")
last_token.LastToken = SimpleNamespace
sys.modules |= {module.__name__: module for module in (loading, verify, last_token)}

from lenses_min import pipeline  # noqa: E402
from lenses_min.core import forward  # noqa: E402
from lenses_min.core.norms import FormulaNorms  # noqa: E402
from lenses_min.core.tokens import Tokens  # noqa: E402
from lenses_min.core.types import ModelInfo  # noqa: E402
from lenses_min.core.unembedding import Unembedding  # noqa: E402
from lenses_min.model.bos import Declared, reference_bos  # noqa: E402
from lenses_min.model.placement import place  # noqa: E402
from lenses_min.options import RunOptions  # noqa: E402

CLI_ARGS = Namespace(
    device="auto",
    fp32_unembed=False,
    keep_residuals=False,
    copy_threshold=0.95,
    copy_margin=0.1,
    out_dir=None,
    self_test=False,
    prism="auto",
    prism_dir="prisms",
)
FAMILIES = {"GPTNeoX": "gpt_neox"}


def hook_name(layer: int) -> str:
    return "blocks.0.hook_resid_pre" if layer == 0 else f"blocks.{layer - 1}.hook_resid_post"


def read_norms(model: Any) -> FormulaNorms:
    modules = [*(block.ln1 for block in model.blocks), model.ln_final]
    scale = torch.stack([module.w.detach().float() for module in modules])
    eps = torch.full((len(modules), 1), float(model.cfg.eps))
    return FormulaNorms(scale, eps, torch.zeros(len(modules), 1, dtype=torch.bool))


def load(options: RunOptions, prompt: str) -> SimpleNamespace:
    placement = place(options, SimpleNamespace(model_type="llama"))
    model = HookedTransformer.from_pretrained_no_processing(
        options.model_id, device=placement.device, torch_dtype=placement.dtype
    )
    object.__setattr__(
        model, "original_model", model
    )  # bypasses nn.Module, which would register the model as its own submodule
    cfg = model.cfg
    architecture = cfg.original_architecture
    family = next(
        (name for key, name in FAMILIES.items() if key in architecture), architecture.lower()
    )
    family = family.removesuffix("forcausallm")
    norm = "RMSNorm" if cfg.normalization_type == "RMS" else "LayerNorm"
    facts = ModelInfo(
        family=family,
        **{
            key: getattr(cfg, key) for key in ("n_layers", "d_model", "n_heads", "n_ctx", "d_vocab")
        },
        alone_above=None,
        device=placement.device,
        dtype=str(placement.dtype).removeprefix("torch."),
        first_norm=norm,
        final_norm=norm,
        learned_positions=cfg.positional_embedding_type == "standard",
        output_transform=cfg.output_logits_soft_cap > 0,
        logit_scale=None,
        soft_cap=None,
        fingerprint="",
    )
    bias = model.unembed.b_U.detach().float()
    head = Unembedding(model.unembed.W_U.detach().float().T.contiguous(), bias)
    return SimpleNamespace(
        bridge=model,
        tokens=Tokens(model.tokenizer, reference_bos(model.tokenizer, family, Declared())),
        norms=read_norms(model),
        head=head,
        facts=facts,
        placement=placement,
        own=SimpleNamespace(ids=()),
        warnings=(),
    )


def run_single_model(model_id: str) -> bool:
    forward.hook_name = hook_name
    pipeline.load = load  # type: ignore[attr-defined, assignment]  # replaces the stage that reads the model
    job = {name: value for name, value in vars(CLI_ARGS).items() if name != "self_test"}
    folder = Path(CLI_ARGS.out_dir)
    options = RunOptions.from_job(
        {
            **job,
            "model": model_id,
            "model_id": model_id,
            "raw_lens": os.environ.get("LOGOS_RAW_LENS", "sample"),
        }
    )
    pipeline.run(options).save()
    next(folder.glob("run-*.manifest.json")).unlink()
    return True
