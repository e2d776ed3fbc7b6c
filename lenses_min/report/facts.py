"""Facts of a run besides its rows: names, warnings, milestones, and which rows exist."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from math import isfinite
from typing import Any

from ..core.milestones import milestones
from ..core.rows import RecordRow, pass_name
from ..output.firmness import Firmness
from ..output.ledger import DEFECTS
from ..output.run import Run, block, blocks

HEADS = {
    "L_copy": "copy",
    "L_semantic": "semantic",
    "first_kl_below_1.0": "KL ≤ 1",
    "first_rank_le_10": "rank ≤ 10",
}


def labels(runs: Sequence[Run]) -> list[str]:
    """A name for each run; where several have the same name, with the part in which their directories differ."""
    folders: dict[str, list[str]] = {}
    for run in runs:
        folders.setdefault(run.name, []).append(os.path.abspath(run.folder))
    return [
        run.name
        if len(folders[run.name]) == 1
        else f"{run.name} · {os.path.relpath(run.folder, os.path.commonpath(folders[run.name]))}"
        for run in runs
    ]


def heading(run: Run) -> str:
    stats = block(run.document, "model_stats")
    blocks_, width, size = (stats.get(key, "?") for key in ("num_layers", "d_model", "d_vocab"))
    shape = f"{blocks_} blocks, width {width}, vocabulary {size}"
    return f"{run.model_id}: {shape}, {computed_on(run)}"


def computed_on(run: Run) -> str:
    """Device and dtype, as far as manifest and document have them."""
    device = run.manifest.get("device") or block(run.document, "diagnostics").get("device", "")
    return " ".join(str(part) for part in (device, run.manifest.get("dtype")) if part)


def for_machines(run: Run) -> dict[str, Any]:
    """What `show` tells of a run, as JSON has it: milestones by lens and pass, and the warnings."""
    return {
        "name": run.name,
        "model_id": run.model_id,
        "folder": run.folder,
        "milestones": {
            lens: {name: milestones(rows) for name, rows in run.passes(lens).items()}
            for lens in run.lenses
        },
        "warnings": list(warnings(run)),
    }


def all_milestones(run: Run) -> dict[str, Any]:
    """The milestones under the norm lens, how firm each is, and those of the control."""
    return run.firmness | block(run.document, "control_summary")


def warnings(run: Run) -> Iterator[str]:
    """The warnings of the manifest; of a run without one, what its document shows of the reference's defects."""
    if run.manifest:
        yield from run.manifest.get("warnings", [])
        return
    consistency = block(run.document, "diagnostics", "last_layer_consistency")
    kl = bits(consistency.get("kl_to_final_bits"))
    shown = (defect.shown.format(kl=kl) for defect in DEFECTS if defect.in_document(run.document))
    yield from islice(shown, 1)  # a high KL is then accounted for


def is_number(value: Any) -> bool:
    """Whether a value of a document can be drawn and rounded: a finite number, no flag."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def finite(value: Any) -> Any:
    """A value that can be drawn, and None in place of any other."""
    return value if is_number(value) else None


def bits(value: Any, form: str = ".2f") -> str:
    return f"{value:{form}} bits" if is_number(value) else "some bits"


def top_one(row: RecordRow) -> tuple[str, float | None]:
    """The first token of a row and its probability; nothing where the row lists none."""
    return row.top[0] if row.top else ("", None)


def milestone_cells(run: Run, lens: str = "norm", brief: bool = False) -> dict[str, str]:
    """The milestones of the first pass by their heads: layer, its share of the depth, and how firm it is.

    `brief`: that a milestone is firm is left out.
    """
    rows = next(iter(run.passes(lens).values()), [])
    firm, n = run.firmness_of(lens), (rows[-1].layer if rows else 0) or 1
    return {name: milestone_cell(firm[key], n, brief) for key, name in HEADS.items()}


def milestone_cell(firm: Firmness, n: int, brief: bool) -> str:
    """One milestone of n layers: `25 (83%, 24–27, firm)`, or briefly `25 (83%, 24–27)`."""
    share = [] if firm.layer is None else [f"{firm.layer / n:.0%}"]
    layer = "-" if firm.layer is None else str(firm.layer)
    notes = ", ".join(share + [note for note in firm.notes if not (brief and note == "firm")])
    return f"{layer} ({notes})" if notes else layer


def raw_checks(run: Run) -> dict[str, dict[str, Any]]:
    """The raw-lens check of every pass that has one: `samples`, objects with a layer, and `summary`.

    A reference run has one, of `pos/orig`; a run of several facts has the samples of all of them in it.
    """
    checks = {
        pass_name(b.get("prompt_id"), b.get("prompt_variant")): block(b, "raw_lens_check")
        for b in blocks(run.document, "passes")
    }
    checks = checks or {pass_name(None, None): block(run.document, "raw_lens_check")}
    return {
        name: {
            "samples": [s for s in blocks(check, "samples") if type(s.get("layer")) is int],
            "summary": block(check, "summary"),
        }
        for name, check in checks.items()
        if check
    }


def last_only(rows: Sequence[RecordRow]) -> str:
    """A sentence that names the layers with records of the last position only (R4); empty where there are none."""
    last = max(row.pos for row in rows)
    first_positions: dict[int, int] = {}
    for row in rows:
        first_positions[row.layer] = min(row.pos, first_positions.get(row.layer, last))
    layers = sorted(layer for layer, first in first_positions.items() if first == last > 0)
    return (
        f"layers {layers[0]} to {layers[-1]}: the run has rows of the last position only"
        if layers
        else ""
    )
