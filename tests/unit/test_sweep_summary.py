"""The rows of a sweep's summary, and its table in a terminal, whole."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from lenses_min import RunOptions
from lenses_min.sweep import summary

SHOWN = [
    "model    status  layers  L_copy  L_semantic  rank  p(answer)     KL  seconds  GiB  GPU GiB  warnings",
    "tiny/A   done         2       -           1     1       0.75  0.125     12.5  1.5        4  R1: one; R3: two",
    "tiny/Bb  failed       -       -           -     -          -      -        -    -        -  no tokenizer",
]


def test_the_table_has_a_line_for_every_model() -> None:
    rows: list[dict[str, Any]] = [
        {
            "model_id": "tiny/A",
            "status": "done",
            "n_layers": 2,
            "L_copy": None,
            "L_semantic": 1,
            "answer_rank_lens": 1,
            "p_answer_lens": 0.75,
            "kl_to_final_bits": 0.125,
            "elapsed_s": 12.5,
            "peak_host_bytes": 3 * 2**29,
            "peak_cuda_bytes": 2**32,
            "warnings": "R1: one; R3: two",
            "error": None,
        },
        {"model_id": "tiny/Bb", "status": "failed", "error": "no tokenizer"},
    ]
    stream = io.StringIO()
    Console(file=stream, width=200).print(summary.table(rows))
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == SHOWN


def document(**more: Any) -> dict[str, Any]:
    """The blocks of a document that a summary reads."""
    return {
        "diagnostics": {"L_copy": 3, "last_layer_consistency": {"kl_to_final_bits": 0.5}},
        "control_summary": {"first_control_margin_pos": 2, "max_control_margin": 0.25},
        "final_prediction": {"entropy": 1.5},
        **more,
    }


MANIFEST = {
    "model_id": "tiny/A",
    "device": "cpu",
    "dtype": "float32",
    "n_layers": 4,
    "warnings": ["R1: one", "R3: two"],
    "elapsed_s": 2.5,
    "peak_memory": {"host": 10, "cuda": None},
}


def known(row: summary.Row) -> dict[str, Any]:
    """The values of a row that are there."""
    return {name: value for name, value in row.items() if value is not None}


def test_a_row_has_the_milestones_and_the_last_layer_of_the_first_pass() -> None:
    row = summary.done(MANIFEST, document())
    assert tuple(row) == summary.COLUMNS
    assert known(row) == {
        "model_id": "tiny/A",
        "status": "done",
        "device": "cpu",
        "dtype": "float32",
        "n_layers": 4,
        "L_copy": 3,
        "first_control_margin_pos": 2,
        "max_control_margin": 0.25,
        "kl_to_final_bits": 0.5,
        "final_entropy": 1.5,
        "warnings": "R1: one; R3: two",
        "elapsed_s": 2.5,
        "peak_host_bytes": 10,
    }
    assert summary.done({**MANIFEST, "warnings": []}, document())["warnings"] is None


def test_of_prompts_of_ones_own_the_first_with_records_counts() -> None:
    def block(layer: int, entropy: float | None) -> dict[str, Any]:
        return {
            "L_copy": layer,
            "control_summary": None,
            "last_layer_consistency": {},
            "final_prediction": entropy and {"entropy": entropy},
        }

    passes = [block(1, None), block(2, 0.5), block(3, 0.25)]
    row = summary.done(MANIFEST, {"diagnostics": {}, "passes": passes})
    assert (row["L_copy"], row["final_entropy"]) == (2, 0.5)
    row = summary.done(MANIFEST, {"diagnostics": {}, "passes": [block(1, None)]})
    assert (row["L_copy"], row["final_entropy"]) == (1, None)


def test_a_failed_run_has_its_message_and_one_that_did_not_start_no_row(tmp_path: Path) -> None:
    runs = [RunOptions(f"tiny/{name}", device="cpu") for name in ("A", "B")]
    report = {"error_type": "LensError", "message": "no tokenizer"}
    (tmp_path / "output-A.error.json").write_text(json.dumps(report), encoding="utf-8")
    (row,) = summary.rows(tmp_path, runs)
    assert row == {"model_id": "tiny/A", "status": "failed", "error": "no tokenizer"}
