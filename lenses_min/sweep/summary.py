"""The outputs in a sweep's folder → a row a model: `summary.csv`, and a table for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ..options import RunOptions
from ..output.csv_text import table_text
from ..output.store import write_text
from .folder import read_json, run_manifest

NAME = "summary.csv"
Row = Mapping[str, Any]
MILESTONES = (
    *(
        "L_copy",
        "L_copy_H",
        "L_semantic",
        "delta_layers",
        "first_kl_below_0.5",
        "first_kl_below_1.0",
    ),
    *("first_rank_le_1", "first_rank_le_5", "first_rank_le_10"),
)
CONTROL = ("first_control_margin_pos", "max_control_margin")
FINAL = ("kl_to_final_bits", "top1_agree", "p_top1_lens", "p_answer_lens", "answer_rank_lens")
COLUMNS = (
    *(
        "model_id",
        "status",
        "device",
        "dtype",
        "n_layers",
        *MILESTONES,
        *CONTROL,
        *FINAL,
        "final_entropy",
    ),
    *("warnings", "elapsed_s", "peak_host_bytes", "peak_cuda_bytes", "error"),
)
SHOWN = {
    "L_copy": "L_copy",
    "L_semantic": "L_semantic",
    "answer_rank_lens": "rank",
    "p_answer_lens": "p(answer)",
    "kl_to_final_bits": "KL",
}


def rows(folder: Path, runs: Sequence[RunOptions]) -> Iterator[Row]:
    """A row for every model that has run: the milestones of its first pass with records, and its last layer."""
    for run in runs:
        if manifest := run_manifest(folder, run):
            yield done(manifest, read_json(folder / f"output-{run.file_stem}.json"))
        elif failed := read_json(folder / f"output-{run.file_stem}.error.json"):
            yield {"model_id": run.model_id, "status": "failed", "error": failed["message"]}


def done(manifest: Mapping[str, Any], document: Mapping[str, Any]) -> Row:
    passes = document.get("passes", [{**document, **document["diagnostics"]}])
    main = next((block for block in passes if block["final_prediction"]), passes[0])
    values = {
        **main,
        **(main["control_summary"] or {}),
        **main["last_layer_consistency"],
        **manifest,
        "status": "done",
    }
    values |= {f"peak_{kind}_bytes": most for kind, most in manifest["peak_memory"].items()}
    values |= {"final_entropy": (main["final_prediction"] or {}).get("entropy"), "error": None}
    return {column: values.get(column) for column in COLUMNS} | {
        "warnings": "; ".join(manifest["warnings"]) or None
    }


def update(folder: Path, runs: Sequence[RunOptions]) -> list[Row]:
    """Write `summary.csv` as the folder stands, and return its rows."""
    table_rows = list(rows(folder, runs))
    text = table_text([COLUMNS, *([row.get(column) for column in COLUMNS] for row in table_rows)])
    write_text(folder / f".{NAME}", text)
    (folder / f".{NAME}").replace(folder / NAME)
    return table_rows


def table(table_rows: Sequence[Row]) -> Table:
    """KL in bits at the last layer; warnings by the id of their defect, or their first words."""
    shown = Table(box=None, pad_edge=False)
    for name in (
        "model",
        "status",
        "layers",
        *SHOWN.values(),
        "seconds",
        "GiB",
        "GPU GiB",
        "warnings",
    ):
        shown.add_column(
            name, justify="left" if name in ("model", "status", "warnings") else "right"
        )
    for row in table_rows:
        numbers = [number(row.get(column)) for column in ("n_layers", *SHOWN)]
        cost = [
            number(row.get("elapsed_s")),
            *(gib(row.get(f"peak_{kind}_bytes")) for kind in ("host", "cuda")),
        ]
        remark = row.get("error") or row.get("warnings") or ""
        shown.add_row(Text(str(row["model_id"])), str(row["status"]), *numbers, *cost, Text(remark))
    return shown


def gib(size: int | None) -> str:
    return number(size / 2**30 if size else None)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
