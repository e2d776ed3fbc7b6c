"""Blocks of the document that must tell one story: gold answers, raw lens, Prism, residuals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..runs.run import PURE_PRISM, RECORDS_PRISM, Run
from .cells import Row
from .rules import Violation
from .summaries import POS, agree

Json = Mapping[str, Any]


def check_gold(file: str, document: Json) -> Iterator[Violation]:
    """Both gold answers: string, first id, number of pieces, variant, alignment."""
    control = document["control_prompt"]
    places = (
        (
            "gold_answer",
            document["gold_answer"],
            "Berlin",
            document["diagnostics"]["gold_alignment"],
        ),
        ("control_prompt.gold_answer", control["gold_answer"], "Paris", control["gold_alignment"]),
    )
    for prefix, gold, string, alignment in places:
        ids = gold["answer_ids"]
        yield from check_gold_of(file, prefix, gold, string)
        if alignment != ("ok" if ids else "unresolved"):
            column = prefix.replace("gold_answer", "gold_alignment")
            column = column if "." in column else f"diagnostics.{column}"
            yield Violation(file, "", column, "gold", alignment)


def check_gold_of(file: str, prefix: str, gold: Json, string: str | None) -> Iterator[Violation]:
    """One gold answer; its text is `string` where that is known."""
    ids = gold["answer_ids"]
    said = {
        **{k: gold[k] for k in ("string", "first_id", "variant")},
        "pieces": len(gold["pieces"]),
    }
    told = {
        "string": said["string"] if string is None else string,
        "first_id": ids[0] if ids else None,
        "variant": (gold["variant"] if gold["variant"] != "unknown" else "a spelling")
        if ids
        else "unknown",
        "pieces": min(4, len(ids)),
    }
    for name, value in told.items():
        if said[name] != value:
            yield Violation(
                file, "", f"{prefix}.{name}", "gold", f"{said[name]} where {value} follows"
            )


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
        yield Violation(
            file,
            "",
            "raw_lens_check.samples",
            "raw-lens.layers",
            f"layers {layers} in mode {block['mode']}",
        )
    by_layer = {row["layer"]: row for row in rows if row.where == POS}
    names = {
        "p_top1": "p_top1_norm",
        "p_answer": "p_answer_norm",
        "answer_rank": "answer_rank_norm",
    }
    for i, sample in enumerate(samples):
        row = by_layer.get(sample["layer"])
        wanted = {name: row[column] for column, name in names.items()} if row else {}
        if row:  # without an id the answer is not looked for by its text here
            wanted["is_answer_norm"] = row["answer_rank"] == 1
        for name, value in wanted.items():
            if not agree(sample[name], value):
                told = f"{sample[name]} where the row has {value}"
                yield Violation(file, f"raw_lens_check.samples[{i}]", name, "raw-lens.rows", told)
    for name, value in raw_summary(samples, block["mode"]).items():
        if not agree(block["summary"][name], value):
            told = f"{block['summary'][name]} where the samples say {value}"
            yield Violation(file, "", f"raw_lens_check.summary.{name}", "raw-lens.summary", told)


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
    said = document["diagnostics"]["prism_summary"]
    usable = said["compatible"]
    for kind in (RECORDS_PRISM, PURE_PRISM):
        name = run.table_name(kind)
        if (name in run.files) != usable:
            told = "no such file" if usable else "a file, though the artifacts were not usable"
            yield Violation(name, "", "", "prism.files", told)
    told_by = {
        "present": usable or said["present"],
        "k": rank_of(said["k"], document["model_stats"]["d_model"]) if usable else None,
        "layers": said["layers"] or ["…"] if usable else None,
        "error": None if usable or said["mode"] == "off" else said["error"] or "a reason",
    }
    for name, value in told_by.items():
        if said[name] != value:
            column = f"diagnostics.prism_summary.{name}"
            yield Violation(
                run.document_name,
                "",
                column,
                "prism.summary",
                f"{said[name]} where {value} follows",
            )
    if usable and said["mode"] == "off":
        yield Violation(
            run.document_name, "", "diagnostics.prism_summary.mode", "prism.summary", "off"
        )


def rank_of(k: Any, width: int) -> int:
    """How many directions a Prism may align: any number from 1 to the width."""
    return k if type(k) is int and 1 <= k <= width else width


def check_residuals(run: Run, document: Json, positions: int) -> Iterator[Violation]:
    """Saved residuals: one per layer or none, [1, S, d], floating point and finite."""
    saved = sorted(file for file in run.files if file.endswith("_resid.pt"))
    stats = document["model_stats"]
    names = [f"{run.file_stem}_{layer:02d}_resid.pt" for layer in range(stats["num_layers"] + 1)]
    if saved:
        yield from (
            Violation(f, "", "", "residual.files", "no such file") for f in names if f not in saved
        )
        yield from (
            Violation(f, "", "", "residual.files", "a file too many")
            for f in saved
            if f not in names
        )
    for file, tensor in run.residuals.items():
        shape = tuple(tensor.shape)
        if shape != (1, positions, stats["d_model"]) or not tensor.is_floating_point():
            yield Violation(file, "", "shape", "residual.shape", f"{tensor.dtype} {list(shape)}")
        elif not bool(tensor.isfinite().all()):
            yield Violation(file, "", "value", "residual.shape", "a value that is not finite")
