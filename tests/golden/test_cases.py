"""The lean runner, as a command, meets every capture."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spec.golden import load_cases

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """One `python -m spec check --json` over all cases."""
    done = subprocess.run(
        [sys.executable, "-m", "spec", "check", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", load_cases())
def test_case_matches_its_capture(report: dict[str, Any], case: str) -> None:
    entry = next(candidate for candidate in report["cases"] if candidate["case"] == case)
    assert entry["mismatches"] == []
    assert entry["violations"] == []
    assert sum(entry["values"].values()) > 1000


def test_all_cases_were_compared(report: dict[str, Any]) -> None:
    assert len(report["cases"]) == 28
    assert report["matches"] is True
