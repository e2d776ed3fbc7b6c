"""What is said of a run beside its rows: names, warnings, milestones, which rows there are."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ..milestones import milestones
from ..result import Run
from ..rows import PureRow, RecordRow

HEADS = {
    "L_copy": "copy",
    "L_semantic": "semantic",
    "first_kl_below_1.0": "KL ≤ 1",
    "first_rank_le_10": "rank ≤ 10",
}


def labels(runs: Sequence[Run]) -> list[str]:
    """A name for each run; where two are of one name, with their directories."""
    count = Counter(run.name for run in runs)
    return [run.name if count[run.name] == 1 else f"{run.name} · {run.folder}" for run in runs]


def heading(run: Run) -> str:
    stats, told = run.document.get("model_stats", {}), run.manifest
    size = f"{stats.get('num_layers')} blocks, width {stats.get('d_model')}, vocabulary {stats.get('d_vocab')}"
    device = told.get("device") or run.document.get("diagnostics", {}).get("device", "")
    return f"{run.model_id}: {size}, {' '.join(filter(None, (device, told.get('dtype'))))}"


def found(run: Run) -> dict[str, Any]:
    """The milestones under the norm lens, and those of the control."""
    return run.milestones | run.document.get("control_summary", {})


def warnings(run: Run) -> Iterator[str]:
    """The warnings of the manifest; of a run without one, what its document shows of the reference's defects."""
    if run.manifest:
        yield from run.manifest.get("warnings", [])
        return
    told = run.document.get("diagnostics", {})
    layernorm = (
        "LayerNorm" in (told.get("first_block_ln1_type"), told.get("final_ln_type"))
        and not run.corrected
    )
    last = told.get("last_layer_consistency", {})
    if layernorm:
        yield "R1: LayerNorm is read through the RMS formula: every lens column is off"
    elif last.get("warn_high_last_layer_kl"):
        bits = f"the last layer is {last['kl_to_final_bits']:.2f} bits from the model's own output"
        yield f"R3: {bits}, probably for a soft cap or logit scale that was left out"


def milestone_cells(rows: Sequence[PureRow]) -> dict[str, str]:
    """The milestones of a pass by their heads: layer, and its share of the depth."""
    told, n = milestones(rows), rows[-1].layer or 1
    return {
        name: "-" if (y := told[key]) is None else f"{y} ({y / n:.0%})"
        for key, name in HEADS.items()
    }


def raw_checks(run: Run) -> dict[str, dict[str, Any]]:
    """The raw-lens check of every pass that has one."""
    blocks = {f"{b['prompt_id']}/{b['prompt_variant']}": b for b in run.document.get("passes", [])}
    blocks = blocks or {next(iter(run.prompts)): run.document}
    return {name: b["raw_lens_check"] for name, b in blocks.items() if b.get("raw_lens_check")}


def last_only(rows: Sequence[RecordRow]) -> str:
    """Says of which layers of a pass there are records at the last position alone (R4); empty where of none."""
    last = max(row.pos for row in rows)
    held: dict[int, int] = {}
    for row in rows:
        held[row.layer] = min(row.pos, held.get(row.layer, last))
    layers = sorted(layer for layer, first in held.items() if first == last > 0)
    return (
        f"layers {layers[0]} to {layers[-1]}: the run has rows of the last position only"
        if layers
        else ""
    )
