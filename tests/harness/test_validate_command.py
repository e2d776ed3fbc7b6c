"""The command line of validate: runs and folders of runs are judged, violations located, wrong places refused."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from corrupting import PURE, cell, remove

from spec.__main__ import main
from spec.golden import GOLDEN, load_cases
from spec.schema.validate import RULES

Capture = Callable[[str], Path]


def test_every_capture_is_valid_in_one_go(capsys: Any) -> None:
    assert main(["validate", str(GOLDEN / "outputs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[-1]
        == f"{len(load_cases())} of {len(load_cases())} runs keep the contract, 0 violations"
    )
    assert any(
        line.split() == [str(GOLDEN / "outputs" / "fact"), "Fact", "3", "0"] for line in lines
    )


def test_a_violation_is_located(capture: Capture, capsys: Any) -> None:
    folder = capture("fact")
    cell(PURE, 0, "entropy_collapse", "True")(folder)
    assert main(["validate", str(folder)]) == 1
    output = capsys.readouterr().out
    assert f"entropy-collapse: {RULES['entropy-collapse']}\n" in output
    assert (
        "    output-Fact-pure-next-token.csv, pos/orig layer 0 pos 16, entropy_collapse: True\n"
        in output
    )
    assert "milestones: " in output  # the document says another L_copy_H
    assert output.splitlines()[-1] == "0 of 1 run keeps the contract, 2 violations"


def test_machines_get_every_violation(capture: Capture, capsys: Any) -> None:
    folder = capture("fact")
    for row in range(7):
        cell(PURE, row, "cos_to_final", "1.5")(folder)
    assert main(["validate", "--json", str(folder)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["valid"] is False
    assert report["verdict"] == "0 of 1 run keeps the contract, 7 violations"
    (run,) = report["runs"]
    assert (run["directory"], run["run"], run["files"]) == (str(folder), "Fact", 3)
    assert run["violations"][2] == {
        "file": "output-Fact-pure-next-token.csv",
        "row": "pos/orig layer 2 pos 16",
        "column": "cos_to_final",
        "rule": "cos.range",
        "value": "1.5",
        "sentence": RULES["cos.range"],
    }
    assert main(["validate", str(folder)]) == 1
    assert "cos.range (7 times): " in (output := capsys.readouterr().out)
    assert "and 2 more; --json lists all" in output


def test_a_directory_of_several_runs_and_a_place_named_twice(capture: Capture, capsys: Any) -> None:
    folder = capture("fact")
    copytree(GOLDEN / "outputs" / "rms-rope", folder, dirs_exist_ok=True)
    remove("output-rms-rope-records.csv")(folder)
    assert main(["validate", str(folder), str(folder)]) == 1
    output = capsys.readouterr().out
    assert f"{folder}, rms-rope:\n    file.missing: " in output
    assert output.splitlines()[-1] == "1 of 2 runs keep the contract, 1 violation"


def test_what_cannot_be_read_or_failed_is_a_violation(capture: Capture, capsys: Any) -> None:
    folder = capture("fact")
    (folder / "output-Fact.json").write_text('{"prompt": ')
    (folder / "output-Fact.error.json").write_text(
        '{"error_type": "LensError", "message": "no tokenizer"}'
    )
    assert main(["validate", str(folder)]) == 1
    output = capsys.readouterr().out
    assert "file.readable (2 times): " in output
    assert "output-Fact.json: cannot be read: not JSON at line 1" in output
    assert "the run failed: LensError: no tokenizer" in output


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("none", "does not exist; give a directory that holds a run"),
        ("empty", "holds no run: no output-NAME.json and no table of one"),
        ("file", "is a file; give the directory that holds the run"),
    ],
)
def test_a_wrong_place_is_one_clear_error(
    place: str, message: str, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert main(["validate", str(GOLDEN / "outputs" / "fact"), str(tmp_path / place)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"spec: error: {tmp_path / place} ")
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err
