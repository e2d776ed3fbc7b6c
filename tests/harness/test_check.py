"""check: any command is run once on the cases; whatever it does is a finding, what it cannot do an error."""

import json
from collections.abc import Callable
from pathlib import Path

from spec.golden import GOLDEN, load_cases, select
from spec.report.check import machine, text
from spec.runners.check import Report, check

CASES = ["fact", "rms-rope"]
Runner = Callable[..., str]


def checked(command: str, tmp_path: Path, names: list[str] = CASES) -> Report:
    folder = tmp_path / "work"
    folder.mkdir()
    return check(select(load_cases(), names), GOLDEN, command, folder)


def mismatches_of(report: Report, case: str) -> list[tuple[str, str, str, str]]:
    result = next(result for result in report.results if result.case == case)
    return [
        (m.file, m.place.row_text, m.place.column_text, m.kind)
        for m in result.comparison.mismatches
    ]


def test_an_honest_runner_matches_every_case(runner: Runner, tmp_path: Path) -> None:
    report = checked(runner(), tmp_path, [])
    assert report.matches
    assert (tmp_path / "calls").read_text() == "x"
    assert [result.seconds for result in report.results] == [1.25] * len(load_cases())
    last = text(report).splitlines()[-1]
    assert last.startswith(
        f"{len(load_cases())} of {len(load_cases())} cases match, 0 mismatches, "
    )
    assert " values compared, " in last
    assert last.endswith(" s")


def test_one_perturbed_value_is_located(runner: Runner, tmp_path: Path) -> None:
    accident = """
path = Path(jobs[0]["out_dir"], "output-Fact-pure-next-token.csv")
path.write_text(path.read_text().replace("1.7617796659469604", "1.75", 1))
"""
    report = checked(runner(accident), tmp_path)
    assert mismatches_of(report, "fact") == [
        ("output-Fact-pure-next-token.csv", "pos/orig layer 0 pos 16", "entropy", "value")
    ]
    assert mismatches_of(report, "rms-rope") == []
    shown = text(report)
    assert (
        "output-Fact-pure-next-token.csv, pos/orig layer 0 pos 16, entropy: "
        "expected 1.7617796659469604, obtained 1.75 (value)" in shown
    )
    assert shown.splitlines()[-1].startswith("1 of 2 cases match, 1 mismatch, ")


def test_a_missing_file_is_a_finding(runner: Runner, tmp_path: Path) -> None:
    report = checked(
        runner('Path(jobs[0]["out_dir"], "output-Fact-records.csv").unlink()'), tmp_path
    )
    assert mismatches_of(report, "fact") == [("output-Fact-records.csv", "", "", "missing file")]
    assert [v.rule for v in report.results[0].violations] == ["file.missing"]


def test_an_extra_file_is_a_finding(runner: Runner, tmp_path: Path) -> None:
    report = checked(runner('Path(jobs[1]["out_dir"], "core").touch()'), tmp_path)
    assert mismatches_of(report, "rms-rope") == [("core", "", "", "extra file")]


def test_a_break_of_the_schema_alone_is_reported(runner: Runner, tmp_path: Path) -> None:
    accident = """
path = Path(jobs[0]["out_dir"], "output-Fact-pure-next-token.csv")
path.write_text(path.read_text().replace("0.8179289102554321,country", "0.8179289102554322,country", 1))
"""
    report = checked(runner(accident), tmp_path)
    assert mismatches_of(report, "fact") == []
    assert {v.rule for v in report.results[0].violations} == {"float32", "p-top1", "rest-mass"}
    assert not report.matches
    assert "1 of 2 cases match, 0 mismatches, 3 schema violations, " in text(report)
    assert "p-top1: p_top1 is the first listed probability" in text(report)


def test_a_runner_that_stops_half_way_is_a_finding(runner: Runner, tmp_path: Path) -> None:
    accident = 'shutil.rmtree(jobs[1]["out_dir"]); print("out of luck"); sys.exit(3)'
    report = checked(runner(accident), tmp_path)
    assert mismatches_of(report, "fact") == []
    assert mismatches_of(report, "rms-rope")[0] == ("", "", "", "obtained run")
    shown = text(report)
    assert "the runner wrote no output for this case; the runner exited with status 3" in shown
    assert "    out of luck" in shown
    assert shown.splitlines()[-1].startswith("1 of 2 cases match, ")


def test_a_bad_exit_status_after_good_runs_does_not_pass(runner: Runner, tmp_path: Path) -> None:
    report = checked(runner("sys.exit(1)"), tmp_path)
    assert all(result.matches for result in report.results)
    assert not report.matches
    assert "the runner exited with status 1, " in text(report).splitlines()[-1]


def test_a_killed_runner_is_reported(runner: Runner, tmp_path: Path) -> None:
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


def test_many_mismatches_are_capped_for_people_not_for_machines(
    runner: Runner, tmp_path: Path
) -> None:
    accident = """
path = Path(jobs[0]["out_dir"], "output-Fact-records.csv")
path.write_text(path.read_text().replace("pos,orig,0", "pos,orig,9"))
"""
    report = checked(runner(accident), tmp_path)
    assert "more; --json lists all" in text(report)
    printed = json.loads(machine(report))
    assert printed["matches"] is False
    assert [case["case"] for case in printed["cases"]] == CASES
    assert len(printed["cases"][0]["mismatches"]) == 34
    assert set(printed["cases"][0]["mismatches"][0]) == {
        "file",
        "row",
        "column",
        "expected",
        "obtained",
        "kind",
    }
    assert printed["cases"][0]["violations"][0]["sentence"]
    assert printed["cases"][1]["columns"][0]["compared"] > 0
