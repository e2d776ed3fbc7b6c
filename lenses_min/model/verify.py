"""A loaded model held against transformers' own, and its last layer under the norm lens against the model."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.forward import capture
from ..core.metrics import HostMetrics, to_host
from ..core.types import PassResult
from ..errors import LensError
from ..lenses.norm import NormLens
from ..options import RunOptions
from . import proof
from .last_token import LastToken, of_bridge, of_lens
from .load import LoadedModel
from .readout import check_bridge

log = logging.getLogger("lenses_min")


def hold_bridge(model: LoadedModel, host: Mapping[str, HostMetrics]) -> dict[str, Any]:
    """The bridge's first prompt against transformers: see `proof.bridge_error`.

    `host` holds the residuals of every layer [L, D] as bridge.stream, and the logits as proof.model. Raises LensError
    that names the first place where the two part.
    """
    found = LastToken(model.own.ids, host["bridge"]["stream"], None, None, host["proof"]["model"])
    return check_bridge(model.own, found, model.facts.dtype, model.bridge)


def prove(model: LoadedModel, passes: Sequence[PassResult], options: RunOptions) -> dict[str, Any]:
    """The proof of a run, from what its passes measured; see `proof.proof`.

    Raises LensError where it fails under the corrected contract; under the reference's, which has known defects, the
    failure is logged.
    """
    bridge = next((p.bridge_error for p in passes if p.bridge_error), None)
    if bridge is None:  # the model was loaded with another prompt than any pass has
        bridge = first_prompt(model)["transformers"]
    errors = [result.error for result in passes]
    ids = passes[proof.worst_of(errors)].encoded.token_ids
    held = name_parting(model, proof.proof(errors, model.facts.dtype, bridge), ids)
    if not held["holds"] and options.corrected:
        raise LensError(proof.sentence(held))
    if not held["holds"]:
        log.error("%s: %s", options.model_id, proof.sentence(held))
    return held


def first_prompt(model: LoadedModel) -> dict[str, Any]:
    """The proof on the one prompt that transformers read at loading, in one forward."""
    n, dtype, ids = model.facts.n_layers, model.facts.dtype, model.own.ids
    residuals, final = capture(model.bridge, ids, n, [])
    rows = residuals.rows(())
    ends = rows.last_of([n])
    logits = NormLens(model.norms, model.head).decode(ends.x, ends.layers)[0]
    groups = {"proof": {"lens": logits, "model": final}, "bridge": {"stream": rows.x.float()}}
    host = to_host(groups)
    bridge = hold_bridge(model, host)
    error = proof.last_layer_error(host["proof"], dtype)
    return name_parting(model, proof.proof([error], dtype, bridge), ids)


def name_parting(model: LoadedModel, held: dict[str, Any], ids: Sequence[int]) -> dict[str, Any]:
    """A proof that fails tells at which step of its worst prompt the lens leaves the model."""
    if held["holds"]:
        return held
    found = of_bridge(model.bridge, ids)
    lens = of_lens(model.norms, model.head, found, model.facts.dtype)
    return held | {"parts_at": proof.place(found, lens, model.facts.dtype)}
