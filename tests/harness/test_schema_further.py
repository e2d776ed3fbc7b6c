"""The schema holds runs of prompts of one's own, and the tables that run.py does not write."""

import re
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from corruptions_further import FURTHER

from lenses_min import RunOptions, pipeline
from spec.__main__ import main
from spec.golden import GOLDEN
from spec.runs.run import read_run
from spec.schema.validate import validate

PROMPTS = """
passes:
  - {id: be, context: The capital of Germany is called simply, answer: Berlin, records: true,
     tags: {language: en, relation: capital}}
  - {id: pa, context: The capital of France is called simply, answer: Paris, control: be/orig,
     tags: {language: en, relation: capital}}
  - {id: long, variant: tail, context: The capital of France is, answer: called simply Paris}
keywords: [capital]
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "prompts.yaml").write_text(PROMPTS, encoding="utf-8")
    options: dict[str, Any] = {
        "prompts": str(folder / "prompts.yaml"),
        "lenses": ("final",),
        "keep_residuals": True,
    }
    pipeline.run(RunOptions(str(GOLDEN / "models" / "fact"), device="cpu", **options)).save(
        folder / "run"
    )
    return folder / "run"


def test_such_a_run_is_accepted(own: Path) -> None:
    assert validate(read_run(own)) == []


@pytest.mark.parametrize("name", FURTHER)
def test_every_corruption_is_refused_and_located(name: str, own: Path, tmp_path: Path) -> None:
    _, change, rule, file, row, column = FURTHER[name]
    folder = copytree(own, tmp_path / "run")
    change(folder)
    violations = [
        v
        for v in validate(read_run(folder))
        if v.rule == rule and re.search(rf"-{file}\.csv$|{file}$", v.file)
    ]
    assert (row, column) in {(v.place.row_text, v.place.column_text) for v in violations}, (
        violations
    )


def test_two_such_runs_differ(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copytree(own, tmp_path / "run")
    FURTHER["a KL to the model that is another lens's"][1](folder)
    assert main(["diff", str(own), str(folder)]) == 1
    output = capsys.readouterr().out
    assert re.search(r"output-fact-agreement.csv +changed", output)
    assert main(["diff", str(own), str(own)]) == 0
