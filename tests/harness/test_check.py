"""check: any command is run once on the cases; whatever it does is a finding, what it cannot do an error."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spec.__main__ import main
from spec.check import Report, check
from spec.golden import GOLDEN, load_cases, select
from spec.render import machine, text
from spec.runner import Outcome, RunnerError, job, split_command

FAKE = """
import json, os, shutil, sys
from pathlib import Path

jobs = [json.loads(line) for line in Path(sys.argv[-1]).read_text().splitlines()]
Path(sys.argv[1]).joinpath("calls").open("a").write("x")
names = {{}}
for case in Path({golden!r}, "outputs").iterdir():
    names[next(case.glob("output-*.json")).name[7:-5]] = case
for job in jobs:
    clean, out = job["model_id"].split("/")[-1], Path(job["out_dir"])
    shutil.copytree(names[clean], out)
    (out / f"run-{{clean}}.manifest.json").write_text(json.dumps({{"elapsed_s": 1.25}}))
{accident}
"""
CASES = ["fact", "rms-rope"]
Runner = Callable[..., str]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A function that writes a runner which copies the captures and then has an accident; returns its command."""

    def write(accident: str = "") -> str:
        script = tmp_path / "runner.py"
        script.write_text(FAKE.format(golden=str(GOLDEN), accident=accident))
        return f"{sys.executable} {script} {tmp_path}"

    return write


def checked(command: str, tmp_path: Path, names: list[str] = CASES) -> Report:
    folder = tmp_path / "work"
    folder.mkdir()
    return check(select(load_cases(), names), GOLDEN, command, folder)


def told(report: Report, case: str) -> list[tuple[str, str, str, str]]:
    found = next(result for result in report.results if result.case == case)
    return [(m.file, m.row, m.column, m.kind) for m in found.comparison.mismatches]


def test_an_honest_runner_matches_every_case(runner: Runner, tmp_path: Path) -> None:
    report = checked(runner(), tmp_path, [])
    assert report.matches
    assert (tmp_path / "calls").read_text() == "x"
    assert [result.seconds for result in report.results] == [1.25] * len(load_cases())
    last = text(report).splitlines()[-1]
    assert last.startswith(f"{len(load_cases())} of {len(load_cases())} cases match, 0 mismatches, ")
    assert " values compared, " in last
    assert last.endswith(" s")


def test_one_perturbed_value_is_located(runner: Runner, tmp_path: Path) -> None:
    accident = """
path = Path(jobs[0]["out_dir"], "output-Fact-pure-next-token.csv")
path.write_text(path.read_text().replace("1.7617796659469604", "1.75", 1))
"""
    report = checked(runner(accident), tmp_path)
    assert told(report, "fact") == [("output-Fact-pure-next-token.csv", "pos/orig layer 0 pos 16", "entropy", "value")]
    assert told(report, "rms-rope") == []
    shown = text(report)
    assert (
        "output-Fact-pure-next-token.csv, pos/orig layer 0 pos 16, entropy: "
        "expected 1.7617796659469604, obtained 1.75 (value)" in shown
    )
    assert shown.splitlines()[-1].startswith("1 of 2 cases match, 1 mismatch, ")


def test_a_missing_file_is_a_finding(runner: Runner, tmp_path: Path) -> None:
    report = checked(runner('Path(jobs[0]["out_dir"], "output-Fact-records.csv").unlink()'), tmp_path)
    assert told(report, "fact") == [("output-Fact-records.csv", "", "", "missing file")]
    assert [v.rule for v in report.results[0].violations] == ["file.missing"]


def test_an_extra_file_is_a_finding(runner: Runner, tmp_path: Path) -> None:
    report = checked(runner('Path(jobs[1]["out_dir"], "core").touch()'), tmp_path)
    assert told(report, "rms-rope") == [("core", "", "", "extra file")]


def test_a_break_of_the_schema_alone_is_told(runner: Runner, tmp_path: Path) -> None:
    accident = """
path = Path(jobs[0]["out_dir"], "output-Fact-pure-next-token.csv")
path.write_text(path.read_text().replace("0.8179289102554321,country", "0.8179289102554322,country", 1))
"""
    report = checked(runner(accident), tmp_path)
    assert told(report, "fact") == []
    assert {v.rule for v in report.results[0].violations} == {"float32", "p-top1", "rest-mass"}
    assert not report.matches
    assert "1 of 2 cases match, 0 mismatches, 3 schema violations, " in text(report)
    assert "p-top1: p_top1 is the first listed probability" in text(report)


def test_a_runner_that_stops_half_way_is_a_finding(runner: Runner, tmp_path: Path) -> None:
    accident = 'shutil.rmtree(jobs[1]["out_dir"]); print("out of luck"); sys.exit(3)'
    report = checked(runner(accident), tmp_path)
    assert told(report, "fact") == []
    assert told(report, "rms-rope")[0] == ("", "", "", "obtained run")
    shown = text(report)
    assert "the runner wrote no output for this case; the runner exited with status 3" in shown
    assert "    out of luck" in shown
    assert shown.splitlines()[-1].startswith("1 of 2 cases match, ")


def test_a_bad_exit_status_after_good_runs_does_not_pass(runner: Runner, tmp_path: Path) -> None:
    report = checked(runner("sys.exit(1)"), tmp_path)
    assert all(result.matches for result in report.results)
    assert not report.matches
    assert "the runner exited with status 1, " in text(report).splitlines()[-1]


def test_a_killed_runner_is_told(runner: Runner, tmp_path: Path) -> None:
    report = checked(runner("os.kill(os.getpid(), 9)"), tmp_path)
    assert report.outcome.problem == "the runner was killed by signal 9"


def test_a_runner_that_writes_nothing_is_a_finding(tmp_path: Path) -> None:
    report = checked("true", tmp_path)
    assert [result.matches for result in report.results] == [False, False]
    assert "wrote no output for this case; it exited with status 0" in text(report)


def test_an_error_report_is_shown(runner: Runner, tmp_path: Path) -> None:
    accident = """
out = Path(jobs[0]["out_dir"])
shutil.rmtree(out)
out.mkdir()
(out / "output-Fact.error.json").write_text(json.dumps({{"error_type": "LensError", "message": "no tokenizer"}}))
sys.exit(1)
"""
    report = checked(runner(accident.replace("{{", "{").replace("}}", "}")), tmp_path)
    assert "the run failed: LensError: no tokenizer" in text(report)


def test_many_mismatches_are_capped_for_people_not_for_machines(runner: Runner, tmp_path: Path) -> None:
    accident = """
path = Path(jobs[0]["out_dir"], "output-Fact-records.csv")
path.write_text(path.read_text().replace("pos,orig,0", "pos,orig,9"))
"""
    report = checked(runner(accident), tmp_path)
    assert "more; --json lists all" in text(report)
    found = json.loads(machine(report))
    assert found["matches"] is False
    assert [case["case"] for case in found["cases"]] == CASES
    assert len(found["cases"][0]["mismatches"]) == 34
    assert set(found["cases"][0]["mismatches"][0]) == {"file", "row", "column", "expected", "obtained", "kind"}
    assert found["cases"][0]["violations"][0]["sentence"]
    assert found["cases"][1]["columns"][0]["compared"] > 0


def test_jobs_carry_the_options_of_their_case(tmp_path: Path) -> None:
    cases = load_cases()
    found = job(cases["keep-residuals"], GOLDEN, tmp_path)
    assert (found["keep_residuals"], found["fp32_unembed"], found["raw_lens"]) == (True, True, "sample")
    assert found["model"] == str(GOLDEN / "models" / "rms-rope")
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
        (["fact", "--runner", "/no/such/program"], "cannot start the runner '/no/such/program': No such file"),
        (["fact", "--runner", "python 'x"], "balance its quotes"),
        (["fact", "--runner", " "], "the runner command is empty"),
        (["fact", "--runner", str(Path(__file__).parent)], "Permission denied"),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(arguments: list[str], message: str, capsys: Any) -> None:
    assert main(["check", *arguments]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("spec: error: ")
    assert len(found.err.splitlines()) == 1
    assert message in found.err


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
    with pytest.raises(RunnerError):
        split_command("")


def test_reports_are_validated() -> None:
    with pytest.raises(ValueError, match="at least one case, got none"):
        Report((), Outcome(0, "", 1.0))
    with pytest.raises(ValueError, match="wall seconds are ≥ 0, got -1"):
        Outcome(0, "", -1.0)
