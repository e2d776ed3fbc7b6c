"""What two runs say of themselves: whether they can be compared at all, what they differ in, which milestones moved."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..runs.run import PURE, Run
from ..runs.values import kind, written
from ..schema.document import DOCUMENT, MILESTONES
from ..schema.validate import lookup
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
    """Blocks, width and vocabulary, as far as the document tells; without one, the blocks of the table."""
    told = {name: lookup(run.document, "model_stats", key) for name, key in SHAPE.items()}
    if told["blocks"] is None and PURE in run.tables:
        table = run.tables[PURE]
        layers = [
            text
            for row in range(len(table.rows))
            if (text := table.column("layer", row)).isdecimal()
        ]
        told["blocks"] = max(map(int, layers), default=None)
    return {name: value for name, value in told.items() if type(value) is int}


def must_fit(a: Run, b: Run) -> None:
    """Raise SpecError where runs of two names are of models of different shapes; of one name, that is a change."""
    if a.file_stem == b.file_stem:
        return
    ours, theirs = shape(a), shape(b)
    told = [
        f"{name} {ours[name]} and {theirs[name]}"
        for name in ours
        if theirs.get(name, ours[name]) != ours[name]
    ]
    if told:
        raise SpecError(
            f"cannot compare {a.file_stem} and {b.file_stem}: {', '.join(told)}; give two runs of one model"
        )


def manifest(folder: Path, file_stem: str) -> Mapping[str, Any]:
    """The run's manifest, empty where there is none to read."""
    try:
        found = json.loads((folder / f"run-{file_stem}.manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def facts(run: Run, folder: Path) -> dict[str, str]:
    """How a run was made, from its document and manifest, by name; what is not told is left out."""
    made = manifest(folder, run.file_stem)
    versions = made.get("versions")
    told = {
        **{name: lookup(run.document, "diagnostics", name) for name in SETTINGS},
        "dtype": made.get("dtype"),
        **shape(run),
        "last position": last_position(run),
        **{name: lookup(run.document, *path) for name, path in OPTIONS.items()},
        "weights": made.get("fingerprint"),
        **(versions if isinstance(versions, dict) else {}),
    }
    return {name: written(value) for name, value in told.items() if value is not None}


def last_position(run: Run) -> int | None:
    """The position that the first pass reads, None where no row tells."""
    text = run.tables[PURE].column("pos", 0) if PURE in run.tables and run.tables[PURE].rows else ""
    return int(text) if text.isdecimal() else None


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> list[Change]:
    """The facts that both runs tell and that are not the same."""
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
    moved = kind(a) != kind(b) or bool(
        judge(written(a), written(b), quantity(path[-1], a), tolerance)[0]
    )
    return Change(".".join(path).removeprefix("diagnostics."), written(a), written(b), moved)
