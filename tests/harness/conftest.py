"""Fixtures: copies of captured runs to corrupt and compare, and a runner that copies them."""

import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from spec.golden import GOLDEN

FAKE = """
import json, os, shutil, sys
from pathlib import Path

jobs = [json.loads(line) for line in Path(sys.argv[-1]).read_text().splitlines()]
Path(sys.argv[1]).joinpath("calls").open("a").write("x")
names = {{}}
for case in Path({golden!r}, "outputs").iterdir():
    names[next(case.glob("output-*.json")).name[7:-5]] = case
for job in jobs:
    file_stem, out = job["model_id"].split("/")[-1], Path(job["out_dir"])
    shutil.copytree(names[file_stem], out)
    (out / f"run-{{file_stem}}.manifest.json").write_text(json.dumps({{"elapsed_s": 1.25}}))
{accident}
"""
Runner = Callable[..., str]


@pytest.fixture
def capture(tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies a case's captured folder, which the test may change."""

    def copy(case: str, name: str = "run") -> Path:
        return Path(copytree(GOLDEN / "outputs" / case, tmp_path / name))

    return copy


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A function that writes a runner which copies the captures and then runs `accident`; returns its command."""

    def write(accident: str = "") -> str:
        script = tmp_path / "runner.py"
        script.write_text(FAKE.format(golden=str(GOLDEN), accident=accident))
        return f"{sys.executable} {script} {tmp_path}"

    return write
