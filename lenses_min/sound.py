"""Whether the weights of a checkpoint are all there and finite, and which they are."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from .errors import LensError


class Whole:
    """The family's own class, but for a checkpoint without all of its weights: transformers draws them at random."""

    @staticmethod
    def from_pretrained(name: str, **wanted: Any) -> Any:
        from transformer_lens.model_bridge.sources.transformers import helpers

        kind = helpers.get_hf_model_class_for_architecture(
            (wanted["config"].architectures or [""])[0]
        )
        model, told = kind.from_pretrained(
            name, output_loading_info=True, ignore_mismatched_sizes=True, **wanted
        )
        if wrong := sorted({*told["missing_keys"], *(key for key, *_ in told["mismatched_keys"])}):
            lacks = "lacks weights, or holds them in another shape"
            raise LensError(f"{name} {lacks}: {some(wrong)}; get a sound checkpoint")
        return model


def some(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def fingerprint(bridge: Any, model: str) -> str:
    """SHA-256 over name, shape, dtype and the bit sum of every parameter; refuses weights that are not finite."""
    parameters = bridge.original_model.named_parameters()
    named = sorted((name.replace("._original_component", ""), p) for name, p in parameters)
    words = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    sums, finite, home = [], [], named[0][1].device
    for _, p in named:
        sums.append(p.detach().view(words[p.element_size()]).sum(dtype=torch.int64).to(home))
        finite.append(p.detach().isfinite().all().long().to(home))
    host = torch.stack([torch.stack(sums), torch.stack(finite)]).cpu().tolist()
    if bad := [name for (name, _), ok in zip(named, host[1]) if not ok]:
        raise LensError(
            f"{model} has weights that are not finite: {some(bad)}; get a sound checkpoint"
        )
    digest = hashlib.sha256()
    for (name, p), total in zip(named, host[0]):
        digest.update(f"{name} {tuple(p.shape)} {p.dtype} {total}\n".encode())
    return digest.hexdigest()
