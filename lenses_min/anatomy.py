"""The way from the residual stream to the logits, read from one small forward: which module reads what.

The corrected contract calls the model's own modules. Whether they are the ones that the model calls, in this order and
with nothing between them, is seen by hooks and not believed by name. A model that cannot be read so is refused.
"""

from typing import Any

import torch
from torch import Tensor

from .errors import LensError
from .norms import ModuleNorms

PROBE = (5, 4, 3)  # token ids, below any vocabulary but a toy's
# Largest difference over the largest size of two tensors that are the same but for rounding.
ROUNDING = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def own_norms(bridge: Any, model: str) -> ModuleNorms:
    """The module that reads each layer: ln1 of the next block where it reads the block's input, else the final norm.

    Blocks that norm their outputs (OLMo-2) read the stream bare; only the final norm ever reads it there. Raises
    LensError where the last layer, the final norm, the unembedding and the output transform do not make the logits.
    """
    n = bridge.cfg.n_layers
    seen, logits = watch(bridge, n)
    final = getattr(getattr(bridge, "ln_final", None), "original_component", None)
    modules = []
    for y in range(n):
        inside = seen.get(f"blocks.{y}.ln1.hook_in")
        reads = inside is not None and same(inside, seen[f"blocks.{y}.hook_in"])
        modules.append(bridge.blocks[y].ln1.original_component if reads else final)
    norms = ModuleNorms((*modules, final))
    check_path(
        bridge, norms.read(seen[f"blocks.{n - 1}.hook_out"][0], n)[None], seen, logits, model
    )
    return norms


def watch(bridge: Any, n: int) -> tuple[dict[str, Tensor], Tensor]:
    """One forward of three tokens: what stood at each hook of the way, and the logits [1, S, V]."""
    names = ["unembed.hook_in", f"blocks.{n - 1}.hook_out"]
    names += [f"blocks.{y}.{hook}" for y in range(n) for hook in ("hook_in", "ln1.hook_in")]
    seen: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> None:
        seen[hook.name] = value.detach().clone()

    ids = (
        torch.tensor([PROBE], device=bridge.cfg.device)
        % bridge.unembed.original_component.weight.shape[0]
    )
    hooks = [(name, keep) for name in names if name in bridge.hook_dict]
    with torch.no_grad(), bridge.hooks(fwd_hooks=hooks):
        return seen, bridge(ids, return_type="logits")


def check_path(
    bridge: Any, normed: Tensor, seen: dict[str, Tensor], logits: Tensor, model: str
) -> None:
    """Each step must be the model's own; the first one that is not names the reason of the refusal."""
    read = seen.get("unembed.hook_in", normed)
    if not same(normed, read):
        between = (
            f"from width {normed.shape[-1]} to {read.shape[-1]}"
            if normed.shape != read.shape
            else "in between"
        )
        raise LensError(
            refusal(
                model, f"something works {between} after the final norm and before the unembedding"
            )
        )
    with torch.no_grad():
        head = bridge.unembed.original_component
        made = bridge.adapter.apply_output_logits_transform(head(read.to(head.weight.device)))
    if not same(made, logits):
        raise LensError(
            refusal(model, "something is done to the logits that TransformerLens does not tell of")
        )


def refusal(model: str, reason: str) -> str:
    return f"the corrected contract cannot read {model}: {reason}; --contract reference reads it as run.py would"


def same(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding in the dtype of the first; a sharded model hands a tensor from device to device."""
    if a.shape != b.shape:
        return False
    b = b.to(a.device)
    return bool((a - b).abs().max() <= ROUNDING.get(a.dtype, 1e-4) * b.abs().max())


def transform_of(bridge: Any) -> tuple[float | None, float | None]:
    """(logit scale, soft cap) of the model's output transform; None where it has none.

    Measured, not looked up: families name them differently. Small logits show the scale, large ones the cap.
    """
    small, large = 1e-3, 1e9
    probe = torch.tensor([[small, large]], device=bridge.unembed.original_component.weight.device)
    low, high = bridge.adapter.apply_output_logits_transform(probe)[0].tolist()
    scale = float(f"{low / small:.6g}")  # float32 knows no more digits
    return None if scale == 1 else scale, high if high < large * scale / 2 else None
