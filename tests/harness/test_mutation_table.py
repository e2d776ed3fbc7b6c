"""The verdict on mutation testing: 90% killed, and a reason for every survivor."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from spec.golden import GOLDEN

SCRIPTS = GOLDEN.parent / "scripts"
SOURCE = """
def x_first__mutmut_orig(rows):
    return rows[0]

def x_first__mutmut_{i}(rows):
    return rows[{i}]
"""


def table(tmp_path: Path, codes: Sequence[int | None], reasons: str, *args: str) -> tuple[int, str]:
    """Status and output of a copy of the script over mutants that ended with these codes."""
    package = tmp_path / "mutants" / "lenses_min" / "lenses"
    package.mkdir(parents=True)
    (package / "norm.py").write_text("".join(SOURCE.format(i=i) for i in range(1, len(codes) + 1)))
    statuses = {
        f"lenses_min.lenses.norm.x_first__mutmut_{i}": code for i, code in enumerate(codes, start=1)
    }
    (package / "norm.py.meta").write_text(json.dumps({"exit_code_by_key": statuses}))
    (tmp_path / "mutation_table.py").write_text(
        (SCRIPTS / "mutation_table.py").read_text(encoding="utf-8")
    )
    (tmp_path / "mutation_survivors.txt").write_text(reasons)
    command = [sys.executable, "mutation_table.py", *args]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_survivor_needs_a_reason(tmp_path: Path) -> None:
    status, output = table(tmp_path, [1] * 19 + [0], "")
    assert status == 1
    assert "NO REASON GIVEN (1)\n  lenses.norm.first: return rows[20]" in output
    assert "| lenses.norm | 20 | 19 | 1 | 0 | 0 | 95.0 |" in output


def test_a_reason_outlives_the_numbers_of_mutants(tmp_path: Path) -> None:
    status, output = table(
        tmp_path, [0] + [1] * 19, "# head\nIt cannot matter.\n  lenses.norm.first: return rows[1]\n"
    )
    assert status == 0
    assert "It cannot matter. (1)" in output
    assert "killed of those that count: 100.0%" in output


@pytest.mark.parametrize(
    ("codes", "status"), [([1] * 9 + [33], 1), ([1] * 9 + [None], 0), ([1] * 9 + [36], 0)]
)
def test_no_test_is_survival_and_a_timeout_is_not(
    codes: list[int | None], status: int, tmp_path: Path
) -> None:
    assert table(tmp_path, codes, "")[0] == status


def test_survivors_are_named_for_the_tool(tmp_path: Path) -> None:
    status, output = table(tmp_path, [1, 0, None], "", "--survivors")
    assert (status, output) == (0, "lenses_min.lenses.norm.x_first__mutmut_2\n")


def test_without_a_run_there_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "mutation_table.py").write_text(
        (SCRIPTS / "mutation_table.py").read_text(encoding="utf-8")
    )
    command = [sys.executable, "mutation_table.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "run bash scripts/mutation_test.sh first" in ended.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes"], "--minutes takes a whole number from 1 on, got ''"),
        (["--minutes", "x"], "got 'x'"),
        (["--fast"], "unknown option --fast"),
        (["metric"], "there is no module lenses_min.metric"),
    ],
)
def test_wrong_arguments_start_nothing(words: list[str], message: str) -> None:
    command = ["bash", str(SCRIPTS / "mutation_test.sh"), *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert message in ended.stderr
