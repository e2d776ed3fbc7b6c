"""Compare a loaded model with transformers' own, and its last layer under the norm lens with the model."""

import logging
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..core.bridge import Bridge
from ..core.forward import ForwardRequest, Residuals, capture_batch
from ..core.host import to_host
from ..core.last_layer import LastLogits
from ..errors import LensError
from ..lenses.norm import NormLens
from ..options import RunOptions
from . import proof
from .last_token import LastToken, of_bridge, of_lens
from .load import LoadedModel
from .readout import check_bridge

log = logging.getLogger("lenses_min")


def bridge_error(
    model: LoadedModel, residuals: Float[np.ndarray, "L D"], logits: Float[np.ndarray, " V"]
) -> dict[str, Any]:
    """The bridge's last position of the prompt that transformers read, against transformers: `proof.bridge_error`.

    Raises LensError that names the first place where the two part.
    """
    of_run = LastToken(model.own.ids, residuals, None, None, logits)
    return check_bridge(model.own, of_run, model.facts.dtype, model.bridge)


def prove(
    model: LoadedModel, parts: Sequence[proof.Measured], options: RunOptions
) -> dict[str, Any]:
    """The proof of a run, from what the parts of its suite measured; see `proof.proof`.

    Raises LensError where it fails under the corrected contract; under the reference's, which has known defects, the
    failure is logged.
    """
    bridge = next((part.bridge_error for part in parts if part.bridge_error), None)
    if bridge is None:  # the model was loaded with another prompt than any pass has
        bridge = first_prompt(model)["transformers"]
    errors = [part.error for part in parts]
    ids = parts[proof.worst_of(errors)].token_ids
    block = with_place(model, proof.proof(errors, model.facts.dtype, bridge), ids)
    if not block["holds"] and options.rules.needs_proof:
        raise LensError(proof.sentence(block))
    if not block["holds"]:
        log.error("%s: %s", options.model_id, proof.sentence(block))
    return block


def capture(
    bridge: Bridge, ids: Sequence[int], n_layers: int, full_layers: Collection[int]
) -> tuple[Residuals, Float[Tensor, " V"]]:
    """Residuals and last logits of one prompt in a forward of its own."""
    (captured,) = capture_batch(bridge, [ForwardRequest(ids, full_layers)], n_layers)
    return captured.residuals, captured.final


def first_prompt(model: LoadedModel) -> dict[str, Any]:
    """The proof on the one prompt that transformers read at loading, in one forward."""
    n, dtype, ids = model.facts.n_layers, model.facts.dtype, model.own.ids
    residuals, final = capture(model.bridge, ids, n, [])
    rows = residuals.rows(())
    ends = rows.last_of([n])
    logits = NormLens(model.norms, model.head).decode(ends.x, ends.layers)[0]
    last, stream = to_host({"logits": LastLogits(logits, final), "stream": rows.x.float()}).values()
    bridge = bridge_error(model, stream, last.model)
    error = proof.last_layer_error(last, dtype)
    return with_place(model, proof.proof([error], dtype, bridge), ids)


def with_place(model: LoadedModel, block: dict[str, Any], ids: Sequence[int]) -> dict[str, Any]:
    """A proof that fails names the step of its worst prompt at which the lens leaves the model."""
    if block["holds"]:
        return block
    of_model = of_bridge(model.bridge, ids)
    lens = of_lens(model.norms, model.head, of_model, model.facts.dtype)
    return block | {"parts_at": proof.place(of_model, lens, model.facts.dtype)}
