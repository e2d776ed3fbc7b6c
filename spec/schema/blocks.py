"""Blocks of the document whose fields must agree: gold answers, raw lens, Prism, residuals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..runs.places import Path, Place, at_path
from ..runs.run import PURE_PRISM, RECORDS_PRISM, Run
from .cells import Row
from .rules import Rule, Violation
from .summaries import POS, agree, inside

Json = Mapping[str, Any]


def check_gold(file: str, document: Json) -> Iterator[Violation]:
    """Both gold answers: string, first id, number of pieces, variant, alignment."""
    control = document["control_prompt"]
    diagnostics = document["diagnostics"]
    blocks = (
        (("gold_answer",), document["gold_answer"], "Berlin"),
        (("control_prompt", "gold_answer"), control["gold_answer"], "Paris"),
    )
    alignments = (
        (("diagnostics", "gold_alignment"), diagnostics["gold_alignment"]),
        (("control_prompt", "gold_alignment"), control["gold_alignment"]),
    )
    for (path, gold, string), (place, alignment) in zip(blocks, alignments, strict=True):
        yield from check_gold_of(file, path, gold, string)
        if alignment != ("ok" if gold["answer_ids"] else "unresolved"):
            yield Violation(Place(file, key=place), Rule.GOLD, alignment)


def check_gold_of(file: str, path: Path, gold: Json, string: str | None) -> Iterator[Violation]:
    """One gold answer, at a path of the document; its text is `string` where that is known."""
    ids, spelling = gold["answer_ids"], gold["variant"]
    known_spelling = spelling if spelling != "unknown" else "a spelling"
    derived = {
        "string": gold["string"] if string is None else string,
        "first_id": ids[0] if ids else None,
        "variant": known_spelling if ids else "unknown",
        "pieces": min(4, len(ids)),
    }
    values = {**gold, "pieces": len(gold["pieces"])}
    for name, value in derived.items():
        if values[name] != value:
            text = f"{values[name]} where {value} follows"
            yield Violation(Place(file, key=(*path, name)), Rule.GOLD, text)


def sampled_layers(mode: str, n: int) -> list[int]:
    """The layers that raw_lens_check looks at."""
    if mode == "sample":
        return sorted({0, *(min(n, 1 + part) for part in (n // 4, n // 2, 3 * n // 4))})
    return list(range(n + 1)) if mode == "full" else []


def check_raw_lens(file: str, document: Json, rows: Sequence[Row]) -> Iterator[Violation]:
    """raw_lens_check: its layers, its norm side against the rows, its summary."""
    block = document["raw_lens_check"]
    samples = block["samples"]
    layers = [sample["layer"] for sample in samples]
    if layers != sampled_layers(block["mode"], document["model_stats"]["num_layers"]):
        place = Place(file, key=("raw_lens_check", "samples"))
        text = f"layers {layers} in mode {block['mode']}"
        yield Violation(place, Rule.RAW_LENS_LAYERS, text)
    by_layer = {row["layer"]: row for row in rows if row.where == POS}
    for i, sample in enumerate(samples):
        row = by_layer.get(sample["layer"])
        if row is not None:
            yield from check_raw_sample(file, i, sample, row)
    for name, value in raw_summary(samples, block["mode"]).items():
        if not agree(block["summary"][name], value):
            place = Place(file, key=("raw_lens_check", "summary", name))
            text = f"{block['summary'][name]} where the samples say {value}"
            yield Violation(place, Rule.RAW_LENS_SUMMARY, text)


def check_raw_sample(file: str, index: int, sample: Json, row: Row) -> Iterator[Violation]:
    """The norm side of one sample against the row of its layer."""
    derived = {
        "p_top1_norm": row["p_top1"],
        "p_answer_norm": row["p_answer"],
        "answer_rank_norm": row["answer_rank"],
        # without an id the answer is not looked for by its text here
        "is_answer_norm": row["answer_rank"] == 1,
    }
    for name, value in derived.items():
        if not agree(sample[name], value):
            place = at_path(file, ("raw_lens_check", "samples", index, name))
            text = f"{sample[name]} where the row has {value}"
            yield Violation(place, Rule.RAW_LENS_ROWS, text)


def raw_summary(samples: Sequence[Json], mode: str) -> dict[str, Any]:
    """The summary that follows from the samples; high risk where only the norm lens ranks the answer first."""
    alone = [s["layer"] for s in samples if s["is_answer_norm"] and not s["is_answer_raw"]]
    worst = max((s["kl_norm_vs_raw_bits"] for s in samples), default=None)
    high = bool(alone) or (worst or 0.0) >= 1.0
    risk = "high" if high else "medium" if (worst or 0.0) >= 0.5 else "low"
    return {
        "first_norm_only_semantic_layer": min(alone, default=None),
        "max_kl_norm_vs_raw_bits": worst,
        "lens_artifact_risk": None if mode == "off" else risk,
    }


def check_prism(run: Run, document: Json) -> Iterator[Violation]:
    """Prism sidecars exist exactly where prism_summary calls the artifacts usable."""
    summary = document["diagnostics"]["prism_summary"]
    usable = summary["compatible"]
    for kind in (RECORDS_PRISM, PURE_PRISM):
        name = run.table_name(kind)
        if (name in run.files) != usable:
            text = "no such file" if usable else "a file, though the artifacts were not usable"
            yield Violation(Place(name), Rule.PRISM_FILES, text)
    width = document["model_stats"]["d_model"]
    place = Place(run.document_name, key=("diagnostics", "prism_summary"))
    for name, value in prism_fields(summary, width).items():
        if summary[name] != value:
            text = f"{summary[name]} where {value} follows"
            yield Violation(inside(place, name), Rule.PRISM_SUMMARY, text)
    if usable and summary["mode"] == "off":
        yield Violation(inside(place, "mode"), Rule.PRISM_SUMMARY, "off")


def prism_fields(summary: Json, width: int) -> dict[str, Any]:
    """The fields of prism_summary that follow from `compatible` and `mode`."""
    if summary["compatible"]:
        return {
            "present": True,
            "k": rank_of(summary["k"], width),
            "layers": summary["layers"] or ["…"],
            "error": None,
        }
    return {
        "present": summary["present"],
        "k": None,
        "layers": None,
        "error": None if summary["mode"] == "off" else summary["error"] or "a reason",
    }


def rank_of(k: Any, width: int) -> int:
    """How many directions a Prism may align: any number from 1 to the width."""
    return k if type(k) is int and 1 <= k <= width else width


def check_residuals(run: Run, document: Json, positions: int) -> Iterator[Violation]:
    """Saved residuals: one per layer or none, [1, S, d], floating point and finite."""
    saved = sorted(file for file in run.files if file.endswith("_resid.pt"))
    stats = document["model_stats"]
    names = [f"{run.file_stem}_{layer:02d}_resid.pt" for layer in range(stats["num_layers"] + 1)]
    if saved:
        for file in (name for name in names if name not in saved):
            yield Violation(Place(file), Rule.RESIDUAL_FILES, "no such file")
        for file in (name for name in saved if name not in names):
            yield Violation(Place(file), Rule.RESIDUAL_FILES, "a file too many")
    for file, tensor in run.residuals.items():
        shape = tuple(tensor.shape)
        if shape != (1, positions, stats["d_model"]) or not tensor.is_floating_point():
            text = f"{tensor.dtype} {list(shape)}"
            yield Violation(Place(file, column="shape"), Rule.RESIDUAL_SHAPE, text)
        elif not bool(tensor.isfinite().all()):
            text = "a value that is not finite"
            yield Violation(Place(file, column="value"), Rule.RESIDUAL_SHAPE, text)
