"""The command line of check, the jobs it writes, and the commands it refuses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spec.__main__ import main
from spec.errors import SpecError
from spec.golden import GOLDEN, load_cases
from spec.runners.check import Report
from spec.runners.command import Outcome, job, split_command

Runner = Callable[..., str]


def test_jobs_carry_the_options_of_their_case(tmp_path: Path) -> None:
    cases = load_cases()
    entry = job(cases["keep-residuals"], GOLDEN, tmp_path)
    assert (entry["keep_residuals"], entry["fp32_unembed"], entry["raw_lens"]) == (
        True,
        True,
        "sample",
    )
    assert entry["model"] == str(GOLDEN / "models" / "rms-rope")
    assert job(cases["raw-off"], GOLDEN, tmp_path)["raw_lens"] == "off"
    assert job(cases["loose-copy"], GOLDEN, tmp_path)["copy_threshold"] == 0.5
    assert job(cases["fact-prism"], GOLDEN, tmp_path)["prism"] == "on"
    assert job(cases["fact-prism"], GOLDEN, tmp_path)["prism_dir"] == str(GOLDEN / "prisms")
    assert not Path(job(cases["fact"], GOLDEN, tmp_path)["prism_dir"]).exists()
    assert all(os.path.isabs(job(c, GOLDEN, Path("x"))["out_dir"]) for c in cases.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-case"], "unknown case no-such-case; known cases: rms-rope"),
        (
            ["fact", "--runner", "/no/such/program"],
            "cannot start the runner '/no/such/program': No such file",
        ),
        (["fact", "--runner", "python 'x"], "balance its quotes"),
        (["fact", "--runner", " "], "the runner command is empty"),
        (["fact", "--runner", str(Path(__file__).parent)], "Permission denied"),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(
    arguments: list[str], message: str, capsys: Any
) -> None:
    assert main(["check", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("spec: error: ")
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err


def test_kept_runs_stay_and_are_never_reused(runner: Runner, tmp_path: Path, capsys: Any) -> None:
    keep = tmp_path / "kept"
    arguments = ["check", "fact", "--runner", runner(), "--keep", str(keep)]
    assert main(arguments) == 0
    assert (keep / "fact" / "output-Fact.json").exists()
    assert main(arguments) == 2
    assert "must be new or empty" in capsys.readouterr().err


def test_the_command_line_prints_json(runner: Runner, capsys: Any) -> None:
    assert main(["check", "fact", "--runner", runner(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["matches"] is True


def test_the_module_runs_from_a_shell(runner: Runner) -> None:
    command = [sys.executable, "-m", "spec", "check", "fact", "--runner", runner("sys.exit(1)")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=GOLDEN.parent)
    assert ended.returncode == 1
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1].startswith(
        "1 of 1 case matches, 0 mismatches, the runner exited with status 1, "
    )


def test_the_default_runner_is_a_command() -> None:
    assert split_command(None) == [sys.executable, "-m", "lenses_min", "batch"]
    assert split_command("a 'b c'") == ["a", "b c"]
    with pytest.raises(SpecError):
        split_command("")


def test_reports_are_validated() -> None:
    with pytest.raises(ValueError, match="at least one case, got none"):
        Report((), Outcome(0, "", 1.0))
    with pytest.raises(ValueError, match="wall seconds are ≥ 0, got -1"):
        Outcome(0, "", -1.0)
