"""A few captures met by `pipeline.run` in this process: quick, and with the shapes in annotations checked."""

from pathlib import Path

import pytest

from lenses_min import RunOptions, pipeline
from spec.compare import compare
from spec.golden import GOLDEN, load_cases
from spec.reading import read_run
from spec.runner import job
from spec.tolerance import by_name

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
]


@pytest.mark.parametrize("name", CASES)
def test_a_capture_is_met_in_process(name: str, tmp_path: Path) -> None:
    case = load_cases()[name]
    options = RunOptions.from_job(job(case, GOLDEN, tmp_path))
    pipeline.run(options).save()
    found = compare(read_run(case.expected_dir(), options.clean), read_run(tmp_path, options.clean), by_name(case.tolerance))
    assert found.mismatches == ()
    assert sum(found.values.values()) > 1000
