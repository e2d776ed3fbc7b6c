"""The gallery: accidents of the kind that happen in a refactoring, each applied to a copy of the runner and caught.

A copy is run by a process that has loaded the heavy libraries once, see workshop.py: an accident costs a second.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accidents import ACCIDENTS, RESIDUAL, Sight
from replacing import replace_piece

from spec.golden import GOLDEN, load_cases
from spec.runners.check import Report, report
from spec.runners.command import Outcome, job, write_jobs

pytestmark = pytest.mark.long
ROOT = GOLDEN.parent
# A failure need not be made small.
PYTEST = ["pytest", "-q", "-p", "hypothesispytest", "--hypothesis-profile=quick"]
Perform = Callable[[Path, list[str]], tuple[int, str]]


@pytest.fixture(scope="module")
def perform() -> Iterator[Perform]:
    """A function that runs a command of workshop.py on the packages of a folder; exit status and what it printed."""
    started = [
        sys.executable,
        str(Path(__file__).with_name("workshop.py")),
        str(GOLDEN / "models" / "rms-rope"),
    ]
    with subprocess.Popen(
        started, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def ask(folder: Path, command: list[str]) -> tuple[int, str]:
            log = folder / "log.txt"
            stdin.write(
                json.dumps({"folder": str(folder), "command": command, "log": str(log)}) + "\n"
            )
            stdin.flush()
            return int(stdout.readline()), log.read_text(encoding="utf-8")

        yield ask
        stdin.close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The runner and its tests in a folder of their own."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("lenses_min", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("golden", "spec", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def run_cases(names: list[str], folder: Path, perform: Perform) -> Report:
    """The copy's runner on golden cases, judged as `python -m spec check` does."""
    cases = [load_cases()[name] for name in names]
    folders = {name: folder / "runs" / name for name in names}
    jobs = folder / "jobs.jsonl"
    write_jobs(jobs, [job(case, GOLDEN, folders[case.name]) for case in cases])
    status, log = perform(folder, ["batch", str(jobs)])
    return report(cases, GOLDEN, folders, Outcome(status, log, 0.0))


def sights_of(report: Report) -> list[Sight]:
    """The first finding of every column of every kind of file."""
    first: dict[tuple[str, str, str], Sight] = {}
    for result in report.results:
        places = [
            (m.file, m.place.column_text, m.place.row_text, "")
            for m in result.comparison.mismatches
        ]
        places += [
            (v.file, v.place.column_text, v.place.row_text, v.rule) for v in result.violations
        ]
        for file, column, row, rule in places:
            sight = Sight(
                kind_of(file, load_cases()[result.case].model_id.split("/")[-1]), column, row, rule
            )
            first.setdefault((sight.file, column, rule), sight)
    return list(first.values())


def kind_of(file: str, file_stem: str) -> str:
    """pure-next-token, records, the same with -prism, json or resid."""
    if file.endswith("_resid.pt"):
        return RESIDUAL
    return (
        file.removeprefix(f"output-{file_stem}").strip("-.").removesuffix(".csv")
        if file != ""
        else file
    )


def test_the_unchanged_copy_matches_every_case_and_passes_every_test(
    copy: Path, perform: Perform
) -> None:
    report = run_cases(sorted({a.case for a in ACCIDENTS.values() if a.case}), copy, perform)
    assert report.matches, report.outcome.log_tail
    status, log = perform(copy, [*PYTEST, *sorted({a.test for a in ACCIDENTS.values() if a.test})])
    assert status == 0, log


@pytest.mark.parametrize("name", ACCIDENTS)
def test_an_accident_is_caught_and_located(name: str, copy: Path, perform: Perform) -> None:
    accident = ACCIDENTS[name]
    replace_piece(copy / "lenses_min", accident.function, accident.old, accident.new)
    if accident.test:
        status, log = perform(copy, [*PYTEST, accident.test])
        assert status == 1, log
        assert f"FAILED {accident.test}" in log
        return
    report = run_cases([accident.case], copy, perform)
    assert not report.outcome.problem, report.outcome.log_tail
    sights = sights_of(report)
    assert set(accident.sights) <= set(sights)
    assert not accident.alone or {(s.file, s.column) for s in sights} == {
        (s.file, s.column) for s in accident.sights
    }
