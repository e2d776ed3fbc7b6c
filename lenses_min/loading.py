"""MODEL → a loaded model: a hub id, a checkpoint folder or a .gguf file, through TransformerBridge.

A local model is read without a network call, and no code of a checkpoint is ever run (R11).
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from . import conversion
from .anatomy import own_norms, transform_of
from .bos import choose_bos, read_declared
from .errors import LensError
from .norms import FormulaNorms
from .options import RunOptions
from .placement import Placement, place
from .sound import Whole, fingerprint
from .tokens import Tokens
from .types import Facts, Norms, Unembedding

CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for the lens: the bridge runs it, the rest is read from it once."""

    bridge: Any
    tokens: Tokens
    norms: Norms
    head: Unembedding
    facts: Facts
    placement: Placement


def source_of(model: str) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained(name, **where)` takes for a .gguf file, a folder or a hub id; a path must exist."""
    path = Path(model)
    if path.suffix == ".gguf" and path.is_file():
        return str(path.parent), {"gguf_file": path.name, "local_files_only": True}
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise LensError(
                f"{model} holds no config.json; give a Hugging Face checkpoint folder or a .gguf file"
            )
        return str(path), {"local_files_only": True}
    if (
        path.is_absolute()
        or path.suffix == ".gguf"
        or model.startswith((".", "~"))
        or model.count("/") > 1
    ):
        raise LensError(f"there is no checkpoint folder or .gguf file at {model}")
    return model, {}


def attempt(what: str, model: str, read: Callable[[], Any]) -> Any:
    """Call a reader of transformers or TransformerLens; whatever it raises becomes one clear error."""
    try:
        return read()
    except LensError:
        raise
    except Exception as error:  # third-party readers raise anything
        detail = str(error).strip().split("\n")[0][:300] or type(error).__name__
        raise LensError(f"cannot read the {what} of {model}: {detail}") from error


def load(options: RunOptions) -> LoadedModel:
    """Config, tokenizer, weights, in that order, each refused with its reason."""
    name, where = source_of(options.model)
    kept = conversion.entry(Path(options.model)) if "gguf_file" in where and options.cache else None
    if kept and kept.is_dir():
        name, where = source_of(str(kept))
    config = attempt("config", options.model, lambda: AutoConfig.from_pretrained(name, **where))
    check_causal(config, options.model)
    family = str(config.model_type)
    placement = attempt("weights", options.model, lambda: place(options, config))
    tokenizer = attempt("tokenizer", options.model, lambda: read_tokenizer(name, where))
    if kept and "gguf_file" in where:
        plain = attempt("weights", options.model, lambda: read_gguf(name, where, torch.float32))
        if conversion.keep(kept, plain, tokenizer):
            name, where = source_of(str(kept))
    declared = attempt("tokenizer", options.model, lambda: read_declared(name, where, tokenizer))
    bos, other = choose_bos(tokenizer, family, declared, options.bos, options.corrected)
    copy = deepcopy(tokenizer)  # TransformerLens adds tokens to the one it gets
    bridge = attempt("weights", options.model, lambda: boot(name, where, copy, placement))
    if kept and placement.device == "cpu":
        take_in(bridge)
    vocab = bridge.unembed.original_component.weight.shape[0]
    tokens = Tokens(tokenizer, bos, vocab=vocab, other=other, corrected=options.corrected)
    norms: Norms = own_norms(bridge, options.model) if options.corrected else read_norms(bridge)
    head = read_head(bridge, options.corrected)
    return LoadedModel(
        bridge, tokens, norms, head, read_facts(bridge, options, family, placement), placement
    )


def check_causal(config: Any, model: str) -> None:
    names = config.architectures or []
    causal = any(name.endswith(CAUSAL) for name in names) and not getattr(
        config, "is_encoder_decoder", False
    )
    if names and not causal:
        raise LensError(
            f"{model} is {', '.join(names)}, not a causal language model; the lens reads decoders only"
        )


def read_tokenizer(name: str, where: dict[str, Any]) -> Any:
    """tokenizer.json as it stands where there is one: transformers 5 rebuilds some by model type."""
    if "gguf_file" not in where and (Path(name) / "tokenizer.json").is_file():
        return PreTrainedTokenizerFast.from_pretrained(name, **where)
    return AutoTokenizer.from_pretrained(name, **where)


def boot(name: str, where: dict[str, Any], tokenizer: Any, placement: Placement) -> Any:
    """The bridge; weights stay as stored, no processing and no compatibility mode."""
    wanted: dict[str, Any] = {
        "device": placement.device,
        "dtype": placement.dtype,
        "tokenizer": tokenizer,
    }
    spread: dict[str, Any] = {
        "device_map": placement.device_map,
        "max_memory": placement.max_memory,
    }
    if "gguf_file" in where:
        hf_model = read_gguf(
            name, where | spread if placement.device_map else where, placement.dtype
        )
        wanted["hf_model"] = (
            hf_model if placement.device_map else hf_model.to(placement.device)
        ).eval()
    else:
        wanted |= {"model_class": Whole} | (
            spread | {"device": None} if placement.device_map else {}
        )
    return TransformerBridge.boot_transformers(name, **wanted)


def take_in(bridge: Any) -> None:
    """Weights that a file lends to memory are aligned as in the file, and sums over them round otherwise: copy them."""
    for parameter in bridge.original_model.parameters():
        parameter.data = parameter.data.clone()


def read_gguf(name: str, where: dict[str, Any], dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(name, dtype=dtype, **where)


def read_norms(bridge: Any) -> FormulaNorms:
    """The norm that reads each layer: first block's ln1, the next block's ln1, ln_final; Gemma's scale is 1 + w."""
    width, device = bridge.cfg.d_model, bridge.cfg.device
    scales, eps, identity = [], [], []
    modules: list[Any] = [getattr(block, "ln1", None) for block in bridge.blocks]
    for module in [*modules, getattr(bridge, "ln_final", None)]:
        weight = getattr(getattr(module, "original_component", None), "weight", None)
        scale = (
            torch.ones(width, device=device)
            if weight is None
            else weight.detach().to(device).float()
        )
        scales.append(1 + scale if weight is not None and module.uses_weight_offset else scale)
        eps.append([0.0 if module is None else norm_eps(module)])
        identity.append([module is None])
    return FormulaNorms(
        torch.stack(scales), torch.tensor(eps, device=device), torch.tensor(identity, device=device)
    )


def norm_eps(module: Any) -> float:
    """The wrapped module's eps, else the configuration's: some wrappers lack it."""
    wrapped = module.original_component
    return float(
        getattr(wrapped, "eps", None)
        or getattr(wrapped, "variance_epsilon", None)
        or module.config.eps
    )


def norm_name(module: Any) -> str:
    if module is None:
        return "Identity"
    return "RMSNorm" if module.uses_rms_norm else "LayerNorm"


def read_head(bridge: Any, corrected: bool) -> Unembedding:
    """W_U and b_U in float32, copies where the model computes in half precision, and the output transform (R3).

    They are where the tokens are read, also where a model is sharded.
    """
    linear, home = bridge.unembed.original_component, bridge.cfg.device
    bias = None if linear.bias is None else linear.bias.detach().to(home).float()
    transform = bridge.adapter.apply_output_logits_transform if corrected else None
    return Unembedding(linear.weight.detach().to(home).float(), bias, transform)


def read_facts(bridge: Any, options: RunOptions, family: str, placement: Placement) -> Facts:
    cfg, weight = bridge.cfg, bridge.unembed.original_component.weight
    scale, cap = transform_of(bridge)
    return Facts(
        family=family,
        **{key: getattr(cfg, key) for key in ("n_layers", "d_model", "n_heads", "n_ctx")},
        d_vocab=weight.shape[0],
        device=torch.device(placement.device).type,
        dtype=str(placement.dtype).removeprefix("torch."),
        first_norm=norm_name(getattr(bridge.blocks[0], "ln1", None)),
        final_norm=norm_name(getattr(bridge, "ln_final", None)),
        learned_positions="pos_embed.hook_out" in bridge.hook_dict,
        output_transform=(scale, cap) != (None, None),
        logit_scale=scale,
        soft_cap=cap,
        fingerprint=fingerprint(bridge, options.model),
    )
