"""The verdict on mutation testing: 95% killed, and a reason for every survivor."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from spec.golden import GOLDEN

SCRIPTS = GOLDEN.parent / "scripts"
KILLED, SURVIVED = "killed", "survived"


def table(
    tmp_path: Path, statuses: Sequence[str | None], reasons: str, *args: str
) -> tuple[int, str]:
    """Status and output of a copy of the script over mutants with these statuses; None was not judged."""
    folder = tmp_path / "mutants" / "results"
    folder.mkdir(parents=True)
    verdicts = {
        f"lenses.norm.first: return rows[{i}]": {"status": status}
        for i, status in enumerate(statuses, start=1)
        if status is not None
    }
    content = {"digest": "", "mutants": len(statuses), "verdicts": verdicts}
    (folder / "lenses.norm.json").write_text(json.dumps(content))
    (tmp_path / "mutation_table.py").write_text(
        (SCRIPTS / "mutation_table.py").read_text(encoding="utf-8")
    )
    (tmp_path / "mutation_survivors.txt").write_text(reasons)
    command = [sys.executable, "mutation_table.py", *args]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_survivor_needs_a_reason(tmp_path: Path) -> None:
    status, output = table(tmp_path, [KILLED] * 39 + [SURVIVED], "")
    assert status == 1
    assert "NO REASON GIVEN (1)\n  lenses.norm.first: return rows[40]" in output
    assert "| lenses.norm | 40 | 39 | 1 | 0 | 0 | 97.5 |" in output


def test_a_reason_explains_the_mutant_below_it(tmp_path: Path) -> None:
    status, output = table(
        tmp_path,
        [SURVIVED] + [KILLED] * 39,
        "# head\nIt cannot matter.\n  lenses.norm.first: return rows[1]\n",
    )
    assert status == 0
    assert "It cannot matter. (1)" in output
    assert "killed of those that count: 100.0%" in output


@pytest.mark.parametrize(("judged", "status"), [([KILLED] * 3, 1), ([KILLED, KILLED, None], 0)])
def test_a_reason_needs_a_survivor(judged: list[str | None], status: int, tmp_path: Path) -> None:
    """Where the module is judged whole; of other modules nothing is known."""
    reasons = "No more.\n  lenses.norm.first: return rows[2]\n  lenses.raw.first: return rows[1]\n"
    ended, output = table(tmp_path, judged, reasons)
    assert ended == status
    assert ("a survivor: 1\n  lenses.norm.first: return rows[2]\n" in output) == bool(status)


@pytest.mark.parametrize("status", ["no test", "import", "survived"])
def test_what_no_test_executes_has_survived(status: str, tmp_path: Path) -> None:
    assert table(tmp_path, [KILLED] * 99 + [status], "")[0] == 1


@pytest.mark.parametrize("status", ["timeout", None])
def test_a_timeout_is_a_kill_and_what_was_not_run_does_not_count(
    status: str | None, tmp_path: Path
) -> None:
    assert table(tmp_path, [KILLED] * 19 + [status], "")[0] == 0


def test_below_the_required_share_reasons_do_not_help(tmp_path: Path) -> None:
    reasons = "It cannot matter.\n  lenses.norm.first: return rows[1]\n"
    assert table(tmp_path, [SURVIVED] * 3 + [KILLED] * 17, reasons)[0] == 1


def test_rooms_add_their_modules(tmp_path: Path) -> None:
    _, output = table(tmp_path, [KILLED] * 4, "", "--by", "room")
    assert "| lenses | 4 | 4 | 0 | 0 | 0 | 100.0 |" in output


def test_open_survivors_are_listed_alone(tmp_path: Path) -> None:
    status, output = table(tmp_path, [KILLED, SURVIVED, None], "", "--open")
    assert (status, output) == (0, "lenses.norm.first: return rows[2]\n")


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
        (["spec.compare.dif"], "there is no module spec.compare.dif"),
        (["spec.runs"], "there is no module spec.runs"),
        (["--part", "3/2"], "--part takes K/N with K from 1 to N, got '3/2'"),
        (["--seconds", "0"], "--seconds takes a whole number from 1 on, got '0'"),
    ],
)
def test_wrong_arguments_start_nothing(words: list[str], message: str) -> None:
    command = ["bash", str(SCRIPTS / "mutation_test.sh"), *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert message in ended.stderr
