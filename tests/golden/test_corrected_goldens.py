"""The corrected contract is met: goldens from plain transformers and the float64 oracle, never from the runner."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lenses_min import RunOptions, pipeline
from spec.compare.runs import compare
from spec.compare.tolerance import by_name
from spec.errors import SpecError
from spec.golden import CORRECTED_CASES, GOLDEN, corrected, load_cases
from spec.runners.command import job
from spec.runs.run import read_run
from spec.schema.validate import validate


@pytest.mark.parametrize("name", CORRECTED_CASES)
def test_a_corrected_golden_is_met(name: str, tmp_path: Path) -> None:
    (case,) = corrected([load_cases()[name]])
    options = RunOptions.from_job(job(case, GOLDEN, tmp_path))
    pipeline.run(options).save()
    expected, obtained = (
        read_run(case.expected_dir(), options.file_stem),
        read_run(tmp_path, options.file_stem),
    )
    result = compare(expected, obtained, by_name(case.tolerance))
    assert result.mismatches == ()
    assert sum(result.values.values()) > 5000
    assert validate(obtained) == validate(expected) == []


def test_every_file_is_as_its_script_wrote_it() -> None:
    folder = GOLDEN / "corrected"
    listed = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))["files"]
    files = {
        p.relative_to(folder).as_posix(): p
        for p in folder.rglob("*")
        if p.is_file() and p.name != "MANIFEST.json"
    }
    assert {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
    } == listed
    assert {name.split("/")[0] for name in listed} == set(CORRECTED_CASES)


def test_the_reference_does_not_meet_them(tmp_path: Path) -> None:
    (case,) = corrected([load_cases()["layernorm-parallel"]])
    options = replace(RunOptions.from_job(job(case, GOLDEN, tmp_path)), contract="reference")
    pipeline.run(options).save()
    result = compare(read_run(case.expected_dir()), read_run(tmp_path), by_name("fp32"))
    assert len(result.mismatches) > 500


def test_a_case_without_a_corrected_golden_is_reported() -> None:
    with pytest.raises(
        SpecError, match="no such case has a corrected golden; there are rms-rope, "
    ):
        corrected([load_cases()["bf16"]])
