"""MODEL → a loaded model: its configuration, tokenizer and weights by transformers, then TransformerBridge around it.

Everything is read from where `source_of` says. No code of a checkpoint is ever run (R11), nothing is installed, and
TransformerLens gets neither a name nor a tokenizer, so its aliases, look-ups and added tokens have no effect.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..core.bridge import Bridge
from ..core.norms import FormulaNorms
from ..core.tokens import Tokens
from ..core.types import Bos, ModelInfo, Norms
from ..core.unembedding import Unembedding
from ..errors import LensError, library_errors
from ..options import RunOptions
from ..prompts.suite import built_in
from . import gguf_cache
from .architecture import unused_code
from .bos import choose_bos, read_declared
from .bridge import boot
from .families import NORM_EPS
from .gguf_file import parsed_once
from .last_token import LastToken, check_finite, of_transformers, vocabulary
from .placement import Placement, place
from .pretrained import is_file, read_config, read_model, read_tokenizer
from .readout import alone_above, check_width, own_norms, transform_of
from .source import check_weight_files, source_of
from .weights import SOUND, fingerprint

ANOTHER = "it is built as no lens reads it; use a model of another architecture"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for the lens: the bridge runs it, the rest is read from it once."""

    bridge: Bridge
    tokens: Tokens
    norms: Norms
    head: Unembedding
    facts: ModelInfo
    placement: Placement
    own: LastToken  # of transformers' own model, before it was wrapped
    warnings: tuple[str, ...] = ()  # of what the checkpoint holds and the run does not use


def load(options: RunOptions, prompt: str = "") -> LoadedModel:
    """Configuration, tokenizer, weights, in that order, each refused with its reason.

    The model reads `prompt`, or the first one of the built-in suite, before TransformerLens wraps it. Raises LensError
    where a model cannot be read completely and as its makers meant it.
    """
    name, location = source_of(options.model)
    with parsed_once() if is_file(location) else nullcontext():
        return load_from(name, location, options, prompt)


def load_from(name: str, location: dict[str, Any], options: RunOptions, prompt: str) -> LoadedModel:
    """`load` of a model that lies at a place."""
    model = options.model
    cached = is_file(location) and options.cache
    entry = gguf_cache.entry(Path(name, location["gguf_file"])) if cached else None
    if entry and entry.is_dir():
        name, location = source_of(str(entry))
    config = read_config(name, location, model)
    placement = place_weights(name, location, config, options)
    tokenizer = read_tokenizer(name, location, model)
    if entry and is_file(location):
        plain, _ = read_model(name, location, config, Placement("cpu", torch.float32), model)
        if gguf_cache.keep(entry, plain, tokenizer):
            name, location = source_of(str(entry))
            config = read_config(name, location, model)
    bos, other = read_bos(name, location, config, tokenizer, options)
    hf_model, unread = read_model(name, location, config, placement, model)
    if entry and placement.device == "cpu":
        copy_mapped_weights(hf_model)
    vocab = vocabulary(hf_model)
    tokens = Tokens(tokenizer, bos, vocab=vocab, other=other, rules=options.rules)
    own = first_reading(hf_model, tokens, prompt or built_in().passes[0].text, model)
    bridge = boot(hf_model, placement, model)
    facts, head, norms = read_parts(bridge, own, options, str(config.model_type), placement)
    warnings = (*unused_code(config), *unread)
    return LoadedModel(bridge, tokens, norms, head, facts, placement, own, warnings)


def first_reading(hf_model: Any, tokens: Tokens, prompt: str, model: str) -> LastToken:
    """The last token of a prompt in transformers' own model, or of as much of the prompt as the model can read.

    Raises LensError where the unembedding is of another width than the residual stream.
    """
    longest = getattr(hf_model.config.get_text_config(), "max_position_embeddings", None)
    ids = tokens.model_input(prompt)[:longest] or [0]
    own = of_transformers(hf_model, ids, model)
    check_width(own, model)
    return own


def place_weights(
    name: str, location: dict[str, Any], config: Any, options: RunOptions
) -> Placement:
    """The placement of the model. Raises LensError where files of its weights are missing."""
    if "local_files_only" in location and not is_file(location):
        check_weight_files(Path(name), options.model)
    with library_errors(f"read the weights of {options.model}", SOUND):
        return place(options, config)


def read_bos(
    name: str, location: dict[str, Any], config: Any, tokenizer: Any, options: RunOptions
) -> tuple[Bos, Bos]:
    """The BOS of the run, and that of the other contract; see `choose_bos`."""
    with library_errors(
        f"read the tokenizer of {options.model}", "get a sound tokenizer_config.json"
    ):
        declared = read_declared(name, location, tokenizer)
    family = str(config.model_type)
    return choose_bos(tokenizer, family, declared, options.bos, options.rules.declared_bos)


def read_parts(
    bridge: Bridge, own: LastToken, options: RunOptions, family: str, placement: Placement
) -> tuple[ModelInfo, Unembedding, Norms]:
    """What a lens needs of a bridge, read once; the norms are the model's own modules or the reference's formula."""
    check_parts(bridge, options.model)
    with library_errors(f"read {options.model} through TransformerLens", ANOTHER):
        facts = read_facts(bridge, options, family, placement)
        check_finite(own, options.model, facts.dtype)
        head = read_head(bridge, options.rules.output_transform)
        if options.rules.model_norms:
            return facts, head, own_norms(bridge, own, head, options.model)
        return facts, head, read_norms(bridge)


def check_parts(bridge: Bridge, model: str) -> None:
    """Raises LensError where TransformerLens wraps an architecture without what a lens must know of it."""
    kind = type(bridge.original_model).__name__
    blocks = getattr(bridge, "blocks", None)
    if not blocks or getattr(bridge, "unembed", None) is None:
        raise LensError(
            f"{model} is {kind}, which has no single stack of blocks before an unembedding; "
            "use a model of another architecture"
        )


def copy_mapped_weights(hf_model: Any) -> None:
    """Weights that a file lends to memory are aligned as in the file, and sums over them round otherwise: copy them."""
    for parameter in hf_model.parameters():
        parameter.data = parameter.data.clone()


def read_norms(bridge: Bridge) -> FormulaNorms:
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
        adds_one = getattr(module, "uses_weight_offset", bridge.cfg.rmsnorm_uses_offset)
        scales.append(1 + scale if weight is not None and adds_one else scale)
        eps.append([0.0 if module is None else norm_eps(module)])
        identity.append([module is None])
    return FormulaNorms(
        torch.stack(scales), torch.tensor(eps, device=device), torch.tensor(identity, device=device)
    )


def norm_eps(module: Any) -> float:
    """The wrapped module's eps, else the configuration's: some wrappers lack it."""
    values = (getattr(module.original_component, name, None) for name in NORM_EPS)
    return float(next(filter(None, values), None) or module.config.eps)


def norm_name(module: Any, cfg: Any) -> str:
    """The kind of a norm, as its wrapper or else the model's adapter tells it."""
    if module is None:
        return "Identity"
    return "RMSNorm" if getattr(module, "uses_rms_norm", cfg.uses_rms_norm) else "LayerNorm"


def read_head(bridge: Bridge, output_transform: bool) -> Unembedding:
    """W_U as the model stores it, b_U in float32, and the output transform (R3).

    They are where the tokens are read; of a sharded model, whose last device holds W_U, that takes a copy.
    """
    linear, home = bridge.unembed.original_component, bridge.cfg.device
    bias = None if linear.bias is None else linear.bias.detach().to(home).float()
    transform = bridge.adapter.apply_output_logits_transform if output_transform else None
    return Unembedding(linear.weight.detach().to(home), bias, transform)


def read_facts(bridge: Bridge, options: RunOptions, family: str, placement: Placement) -> ModelInfo:
    cfg, weight = bridge.cfg, bridge.unembed.original_component.weight
    scale, cap = transform_of(bridge)
    return ModelInfo(
        family=family,
        **{key: getattr(cfg, key) for key in ("n_layers", "d_model", "n_heads", "n_ctx")},
        alone_above=alone_above(bridge.original_model),
        d_vocab=weight.shape[0],
        device=torch.device(placement.device).type,
        dtype=str(placement.dtype).removeprefix("torch."),
        first_norm=norm_name(getattr(bridge.blocks[0], "ln1", None), cfg),
        final_norm=norm_name(getattr(bridge, "ln_final", None), cfg),
        learned_positions="pos_embed.hook_out" in bridge.hook_dict,
        output_transform=(scale, cap) != (None, None),
        logit_scale=scale,
        soft_cap=cap,
        fingerprint=fingerprint(bridge, options.model),
    )
