"""The command line of diff: exit statuses, one clear error for what cannot be meant, JSON for machines."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from corrupting import PURE, cell

from spec.__main__ import main
from spec.golden import GOLDEN

Capture = Callable[[str], Path]
FACT = str(GOLDEN / "outputs" / "fact")


def test_status_tells_equal_from_changed(capture: Capture, capsys: Any) -> None:
    folder = capture("fact")
    assert main(["diff", FACT, str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "identical: the same bytes in 3 of 3 files, 2,873 values compared"
    )
    cell(PURE, 4, "entropy", lambda value: value * (1 + 5e-5))(folder)
    assert main(["diff", FACT, str(folder), "--tolerance", "fp32"]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[-1].startswith("equal within tolerance fp32: ")
    assert "not identical" not in output
    assert main(["diff", FACT, str(folder)]) == 1
    output = capsys.readouterr().out
    assert output.splitlines()[-1].startswith("equal within tolerance fp32: ")
    assert (
        "not identical: 1 of 2,873 values differ, none beyond fp32; --tolerance fp32 accepts that"
        in output
    )
    cell(PURE, 4, "entropy", lambda value: value * 1.01)(folder)
    assert main(["diff", FACT, str(folder)]) == 1
    assert (
        capsys.readouterr().out.splitlines()[-1].startswith("changed beyond fp32: 1 of 3 files, ")
    )
    assert main(["diff", FACT, str(folder), "--tolerance", "bf16"]) == 0


def test_machines_get_everything(capture: Capture, capsys: Any) -> None:
    folder = capture("fact")
    cell(PURE, 4, "entropy", "nan")(folder)
    assert main(["diff", FACT, str(folder), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "changed"
    assert report["sentence"].startswith("changed beyond fp32: ")
    assert report["a"] == {"directory": FACT, "run": "Fact", "facts": report["a"]["facts"]}
    assert report["mismatches"] == [
        {
            "file": "output-Fact-pure-next-token.csv",
            "row": "pos/orig layer 4 pos 16",
            "column": "entropy",
            "expected": report["mismatches"][0]["expected"],
            "obtained": "nan",
            "kind": "value",
        }
    ]
    assert report["columns"][0]["worst_fraction"] is None
    assert [file["verdict"] for file in report["files"]] == ["changed", "identical", "identical"]
    assert report["partings"][0]["first_beyond"] == 4
    assert {change["moved"] for change in report["milestones"]} == {False}


def test_runs_beside_one_another_are_named(capture: Capture, capsys: Any) -> None:
    folder = str(copytree(GOLDEN / "outputs" / "raw-off", capture("fact"), dirs_exist_ok=True))
    assert main(["diff", folder, FACT, "--run", "Fact"]) == 0
    assert main(["diff", folder, folder, "--run", "Fact", "--run", "Raw-off"]) == 1
    assert "model: tiny/Fact → tiny/Raw-off (not judged)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none does not exist; give a directory that holds a run"),
        (
            ["empty"],
            "empty holds no run: no output-NAME.json and no table of one; give the --out-dir of a run",
        ),
        (["file"], "file is a file; give the directory that holds the run"),
        ([FACT, "--tolerance", "fp8"], "got 'fp8'; use one of them"),
        ([FACT, "--run", "Fiction"], "holds no run named Fiction; it holds Fact"),
        (
            [FACT, *["--run", "Fact"] * 3],
            "--run may be given twice, got Fact, Fact, Fact; a diff has two sides",
        ),
        (
            [str(GOLDEN / "outputs"), "--run", "Fact"],
            "holds its runs in folders: attn-bias, bf16, ",
        ),
        ([FACT + "/output-Fact.json", "--run", "Fact", "--run", "Other"], "leave out --run"),
        (
            [str(GOLDEN / "outputs" / "rms-rope")],
            "cannot compare Fact and rms-rope: blocks 6 and 4, width 128 and 32",
        ),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").write_text("")
    assert main(["diff", FACT, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("spec: error: ")
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err
