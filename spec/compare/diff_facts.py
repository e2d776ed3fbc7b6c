"""The facts that two runs record: whether they can be compared at all, what they differ in, which milestones moved."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..runs.run import PURE, Run
from ..runs.values import is_integer, kind, lookup, written
from ..schema.document import DOCUMENT, MILESTONES
from .documents import quantity
from .recorder import judge
from .tolerance import Tolerance

SHAPE = {"blocks": "num_layers", "width": "d_model", "vocabulary": "d_vocab"}
SETTINGS = (
    "model",
    "device",
    "use_fp32_unembed",
    "unembed_dtype",
)  # of diagnostics: how a run was made
OPTIONS = {"copy_thresh": ("diagnostics", "copy_thresh"), "raw lens": ("raw_lens_check", "mode")}
JUDGED = ("last position", *OPTIONS, *SHAPE)  # facts that show in the files' values too
NO_MILESTONES = ("copy_thresh", "copy_window_k", "copy_match_level")
PLACES = (
    *(("diagnostics", name) for name in MILESTONES if name not in NO_MILESTONES),
    *(("ablation_summary", name) for name in DOCUMENT["ablation_summary"]),
    *(("control_summary", name) for name in DOCUMENT["control_summary"]),
    *(
        ("raw_lens_check", "summary", name)
        for name in ("first_norm_only_semantic_layer", "lens_artifact_risk")
    ),
    *(
        ("diagnostics", "last_layer_consistency", name)
        for name in ("top1_agree", "answer_rank_lens", "temp_est", "warn_high_last_layer_kl")
    ),
)


@dataclass(frozen=True)
class Change:
    """A named value in A and in B, as written; `moved` where the difference exceeds the tolerance."""

    name: str
    a: str
    b: str
    moved: bool = True


def shape(run: Run) -> dict[str, int]:
    """Blocks, width and vocabulary, as far as the document has them; without one, the blocks of the table."""
    sizes = {name: lookup(run.document, "model_stats", key) for name, key in SHAPE.items()}
    if sizes["blocks"] is None and PURE in run.tables:
        table = run.tables[PURE]
        texts = [table.column("layer", row) for row in range(len(table.rows))]
        sizes["blocks"] = max((int(text) for text in texts if is_integer(text)), default=None)
    return {name: value for name, value in sizes.items() if type(value) is int}


def must_fit(a: Run, b: Run) -> None:
    """Raise SpecError where runs of two names are of models of different shapes; of one name, that is a change."""
    if a.file_stem == b.file_stem:
        return
    shape_a, shape_b = shape(a), shape(b)
    differences = [
        f"{name} {size} and {shape_b[name]}"
        for name, size in shape_a.items()
        if shape_b.get(name, size) != size
    ]
    if differences:
        raise SpecError(
            f"cannot compare {a.file_stem} and {b.file_stem}: {', '.join(differences)}; "
            "give two runs of one model"
        )


def manifest(folder: Path, file_stem: str) -> Mapping[str, Any]:
    """The run's manifest, empty where it is missing or cannot be read."""
    path = folder / f"run-{file_stem}.manifest.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def facts(run: Run, folder: Path) -> dict[str, str]:
    """How a run was made, from its document and manifest, by name; what neither has is left out."""
    made = manifest(folder, run.file_stem)
    versions = made.get("versions")
    values = {
        **{name: lookup(run.document, "diagnostics", name) for name in SETTINGS},
        "dtype": made.get("dtype"),
        **shape(run),
        "last position": last_position(run),
        **{name: lookup(run.document, *path) for name, path in OPTIONS.items()},
        "weights": made.get("fingerprint"),
        **(versions if isinstance(versions, dict) else {}),
    }
    return {name: written(value) for name, value in values.items() if value is not None}


def last_position(run: Run) -> int | None:
    """The position that the first pass reads, None where no row has it."""
    text = run.tables[PURE].column("pos", 0) if PURE in run.tables and run.tables[PURE].rows else ""
    return int(text) if is_integer(text) else None


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> list[Change]:
    """The facts that both runs have and that are not the same."""
    return [Change(name, a[name], b[name]) for name in a if b.get(name, a[name]) != a[name]]


def milestones(a: Run, b: Run, tolerance: Tolerance) -> list[Change]:
    """Every milestone and summary of both documents; none where one document is missing or cannot be read."""
    if a.document is None or b.document is None:
        return []
    return [
        milestone(path, lookup(a.document, *path), lookup(b.document, *path), tolerance)
        for path in PLACES
    ]


def milestone(path: tuple[str, ...], a: Any, b: Any, tolerance: Tolerance) -> Change:
    mismatch, _, _ = judge(written(a), written(b), quantity(path[-1], a), tolerance)
    moved = kind(a) != kind(b) or mismatch is not None
    return Change(".".join(path).removeprefix("diagnostics."), written(a), written(b), moved)
