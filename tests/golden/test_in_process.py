"""A few captures met by `pipeline.run` in this process: quick, and with the shapes in annotations checked."""

from dataclasses import replace
from pathlib import Path

import pytest

from lenses_min import RunOptions, pipeline
from spec.compare.runs import compare
from spec.compare.tolerance import by_name
from spec.golden import GOLDEN, load_cases
from spec.runners.command import job
from spec.runs.run import read_run

# One case for each branch of the runner that changes an output.
CASES = [
    "fact",
    "fact-prism",
    "layernorm-prism",
    "prism-mismatch",
    "dropped-answer",
    "keep-residuals",
    "bf16",
    "softcap-postnorm",
    "layernorm-parallel",
    "raw-full",
    "raw-off",
    "loose-copy",
    "byte-bpe",
    "biased-head",
    "big-eps",
    "rank-tie",
    "copies-punctuation",
    "odd-tokens",
    "unresolved-prism",
    "gemma-bf16",
    "layernorm-bf16",
]


@pytest.mark.parametrize("name", CASES)
def test_a_capture_is_met_in_process(name: str, tmp_path: Path) -> None:
    case = load_cases()[name]
    options = RunOptions.from_job(job(case, GOLDEN, tmp_path))
    pipeline.run(options).save()
    result = compare(
        read_run(case.expected_dir(), options.file_stem),
        read_run(tmp_path, options.file_stem),
        by_name(case.tolerance),
    )
    assert result.mismatches == ()
    assert sum(result.values.values()) > 1000


@pytest.mark.parametrize(
    "name", [name for name, case in load_cases().items() if case.tolerance.startswith("bf16")]
)
def test_exact_arithmetic_meets_what_was_captured_in_half_precision(
    name: str, tmp_path: Path
) -> None:
    """The same weights in float32, nearer to the exact values than any bfloat16: the class must let them pass."""
    case = load_cases()[name]
    options = replace(RunOptions.from_job(job(case, GOLDEN, tmp_path)), dtype="float32")
    pipeline.run(options).save()
    result = compare(
        read_run(case.expected_dir(), options.file_stem),
        read_run(tmp_path, options.file_stem),
        by_name(case.tolerance),
    )
    assert {m.place.column_text for m in result.mismatches} <= {
        "diagnostics.use_fp32_unembed",
        "dtype",
    }
    assert (
        max(
            s.worst_fraction
            for s in result.statistics
            if s.column != "diagnostics.use_fp32_unembed"
        )
        < 0.8
    )
