"""The way from the residual stream to the logits, read from one forward of the first prompt: which module reads what.

The corrected contract calls the model's own modules. Hooks show whether they are the ones that the model calls, in
this order and with nothing between them; names alone do not. A model of any other kind is refused.
"""

from typing import Any

import torch

from ..core.bridge import Bridge
from ..core.norms import ModuleNorms
from ..core.unembedding import Unembedding
from ..errors import LensError
from .architecture import unusual_options
from .last_token import (
    LastToken,
    decoder_blocks,
    hooked_rows,
    of_bridge,
    of_hooks,
    of_lens,
    wrapped_modules,
)
from .proof import bridge_error, bridge_refusal, deviations, first_deviation


def own_norms(bridge: Bridge, own: LastToken, head: Unembedding, model: str) -> ModuleNorms:
    """The module that reads each layer: the first norm of the next block that does, else the final norm.

    Blocks that norm their outputs (OLMo-2) read the stream bare; only the final norm ever reads it there. Which norm
    reads the stream was seen in transformers' own forward, see `LastToken`. Raises
    LensError that names the place where the bridge leaves the model that transformers runs, or where the last layer,
    the final norm, the unembedding and the output transform do not make the logits.
    """
    n, dtype = bridge.cfg.n_layers, str(bridge.cfg.dtype).removeprefix("torch.")
    rows = hooked_rows(bridge, own.ids)
    reading = of_hooks(rows, own.ids, n)
    check_bridge(own, reading, dtype, bridge)
    if reading.stream is None:
        raise LensError(
            f"TransformerLens does not show the residual stream of {model} at every layer"
        )
    final = getattr(getattr(bridge, "ln_final", None), "original_component", None)
    named = wrapped_modules(bridge.original_model)
    modules = [named[name] if name else final for name in own.readers or [""] * n]
    norms = ModuleNorms((*modules, final))
    part = first_deviation(deviations(reading, of_lens(norms, head, reading, dtype)), dtype, False)
    if part is not None:
        raise LensError(refusal(model, part[0]))
    return norms


def check_bridge(own: LastToken, reading: LastToken, dtype: str, bridge: Bridge) -> dict[str, Any]:
    """The bridge's reading of the first prompt against transformers' own: see `bridge_error`.

    Raises LensError that names the first place where the two part.
    """
    error = bridge_error(own, reading, dtype)
    if error["parts_at"] is None:
        return error
    options = unusual_options(bridge.original_model.config)
    raise LensError(bridge_refusal(own, of_bridge(bridge, own.ids), error, dtype, options))


def refusal(model: str, place: str) -> str:
    return (
        f"the corrected contract cannot read {model}: what TransformerLens tells of {place} does not make the model's "
        "own logits; --contract reference would write numbers that are not the model's either"
    )


def check_width(own: LastToken, model: str) -> None:
    """Raises LensError where a projection stands between the residual stream and the unembedding (OPT-350m)."""
    if own.stream is None or own.normed is None or own.stream.shape[1] == own.normed.shape[0]:
        return
    raise LensError(
        f"cannot read {model}: its residual stream is {own.stream.shape[1]} wide and its unembedding "
        f"{own.normed.shape[0]}, with a projection in between (word_embed_proj_dim); a lens, under either contract, "
        "reads the residual stream by the unembedding alone; give a checkpoint without that projection"
    )


def transform_of(bridge: Bridge) -> tuple[float | None, float | None]:
    """(logit scale, soft cap) of the model's output transform; None where it has none.

    Measured, not looked up: families name them differently. Small logits show the scale, large ones the cap.
    """
    small, large = 1e-3, 1e9
    probe = torch.tensor([[small, large]], device=bridge.unembed.original_component.weight.device)
    low, high = bridge.adapter.apply_output_logits_transform(probe)[0].tolist()
    scale = float(f"{low / small:.6g}")  # float32 knows no more digits
    return None if scale == 1 else scale, high if high < large * scale / 2 else None


def alone_above(model: Any) -> int | None:
    """The longest prompt whose numbers do not depend on what is read behind it; None: they never do.

    LongRoPE has two sets of frequencies, dynamic NTK scaling one for each length: both follow the length of all that is
    read, beyond this one. Attention to the k best tokens (index_topk) chooses among equal ones by that length, where
    more than k are read. A block whose attention is not causal (Gemma's use_bidirectional_attention) sees what follows
    at any length: 0. All are seen in the modules of transformers that do so.
    """
    blocks = [module for block in decoder_blocks(model) for module in block.modules()]
    limits = [0] if any(getattr(module, "is_causal", True) is False for module in blocks) else []
    best = [getattr(module, "index_topk", None) for module in blocks]
    limits += [k for k in best if isinstance(k, int)]
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        by_layer_type = kinds if isinstance(kinds, dict) else {None: kinds}
        for layer_type, kind in by_layer_type.items():
            if kind == "longrope":
                scaling = module.config.rope_parameters
                scaling = scaling if layer_type is None else scaling[layer_type]
                limits.append(int(scaling["original_max_position_embeddings"]))
            elif "dynamic" in str(kind):
                limits.append(int(module.original_max_seq_len))
    return min(limits, default=None)
