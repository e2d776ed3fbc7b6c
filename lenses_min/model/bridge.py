"""TransformerBridge around a model of transformers, mended where it would compute another model."""

from copy import copy
from typing import Any

from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformer_lens.model_bridge.generalized_components.normalization import (
    NormalizationBridge,
)
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformer_lens.utilities.multi_gpu import count_unique_devices, find_misplaced_modules

from ..core.bridge import Bridge
from ..errors import LensError
from .architecture import adapter_name, wrapping_errors
from .placement import Placement


def boot(hf_model: Any, placement: Placement, model: str) -> Bridge:
    """The bridge around a model of transformers; weights stay as they are, no processing and no compatibility mode."""
    with wrapping_errors(hf_model, model):
        if misplaced := find_misplaced_modules(hf_model):
            raise LensError(
                f"{model} cannot be sharded: {misplaced[0][0]} is not where its part of the model is, "
                "as weights are shared; use one device"
            )
        home = (
            hf_model.get_input_embeddings().weight.device
            if placement.device_map
            else placement.device
        )
        bridge: Any = build_bridge_from_module(
            hf_model.eval(),
            adapter_name(type(hf_model), model),
            hf_config=hf_model.config,
            dtype=placement.dtype,
            device=home,
            model_name=model,
        )
        bridge.cfg.n_devices = count_unique_devices(hf_model)
        leave_out_absent(bridge)
        set_own_eps(bridge)
    return bridge


def leave_out_absent(bridge: Any) -> None:
    """Parts that TransformerLens has a place for and the model lacks are None again, as transformers asks for them.

    A last norm (OPT's do_layer_norm_before=False) and RoPE (Granite 4's position_embedding_type) are such options.
    """
    for module in [*bridge.modules(), *bridge.original_model.modules()]:
        for name, part in module.named_children():
            if isinstance(part, GeneralizedComponent) and part.original_component is None:
                setattr(module, name, None)


def set_own_eps(bridge: Any) -> None:
    """Each norm computes with the eps of its module; the configuration's name for it may be unknown (norm_epsilon)."""
    for part in bridge.modules():
        eps = getattr(getattr(part, "original_component", None), "eps", None)
        if isinstance(part, NormalizationBridge) and isinstance(eps, float):
            config: Any = copy(part.config)
            config.eps = eps
            part.config = config
