"""scripts/matrix.py: the configurations of a processor, the content of a line, and running no test is a failure."""

import json
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MATRIX = runpy.run_path(str(ROOT / "scripts" / "matrix.py"))
Configuration = MATRIX["Configuration"]
Output = pytest.CaptureFixture[str]

INTERPRETER = """#!/bin/sh
case "$*" in
  -c*) echo "3.11.7 {level} ${{OMP_NUM_THREADS:-2}}" ;;
  *pytest*) for word in "$@"; do case "$word" in --junitxml=*) echo '{xml}' > "${{word#*=}}" ;; esac; done ;;
  *) echo '{report}' ;;
esac
"""
PASSED = '<testsuites><testsuite><testcase classname="a" name="b"/></testsuite></testsuites>'


def column(share: float) -> dict[str, Any]:
    return {"file": "records.csv", "column": "entropy", "worst_fraction": share}


def report(*shares: float, mismatches: int = 0) -> str:
    """Return the output of `spec check --json`: a case for each share, the last one with mismatches."""
    cases = [
        {
            "case": f"c{i}",
            "matches": True,
            "columns": [column(s)],
            "mismatches": [],
            "violations": [],
        }
        for i, s in enumerate(shares)
    ]
    if mismatches:
        cases[-1] |= {"matches": False, "mismatches": [{}] * mismatches}
    return json.dumps({"cases": cases})


def interpreter(folder: Path, xml: str = PASSED, cases: str = "", level: str = "DEFAULT") -> str:
    """A stand-in for a Python of the matrix, which prints a fixed report."""
    path = folder / "python"
    path.write_text(INTERPRETER.format(level=level, xml=xml, report=cases or report(0.25, 0.5)))
    path.chmod(0o755)
    return str(path)


def test_the_levels_are_those_that_the_processor_has() -> None:
    assert MATRIX["levels"]("AVX512") == ["avx512", "avx2", "default"]
    assert MATRIX["levels"]("DEFAULT") == ["default"]
    assert MATRIX["levels"]("SVE256") == ["sve256"], "as torch takes it by itself"


def test_the_configurations_of_a_processor_and_two_pythons() -> None:
    configurations = list(MATRIX["configurations"](["a", "b"], "AVX512", short=False))
    first = {(c.level, c.threads, c.cap) for c in configurations if c.interpreter == "a"}
    levels = ("avx512", "avx2", "default")
    uncapped = {(level, threads, "") for level in levels for threads in (1, 2)}
    assert first == uncapped | {("avx2", 1, "AVX2"), ("default", 1, "SSE")}
    assert {c.level for c in configurations if c.interpreter == "b"} == {"avx512", "default"}
    assert sum("the rest" in c.steps for c in configurations) == 1, (
        "what another Python may do otherwise"
    )
    (short,) = MATRIX["configurations"](["a"], "AVX2", short=True)
    assert (short.level, short.threads, short.steps) == ("default", 1, ("golden", "real model"))


def test_the_variables_of_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    environment = Configuration("a", "avx2", 2, "AVX2", ()).environment()
    assert environment["ATEN_CPU_CAPABILITY"] == "avx2"
    assert environment["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("2", "2")
    assert "ATEN_CPU_CAPABILITY" not in Configuration("a", "sve256", 1, "", ()).environment()


def test_a_line_shows_what_ran_and_the_largest_share_of_a_tolerance(
    tmp_path: Path, capsys: Output
) -> None:
    assert MATRIX["main"](["--short", interpreter(tmp_path)]) == 0
    _, line, last = capsys.readouterr().out.splitlines()
    assert line.split()[:5] == ["3.11.7", "default", "1", "-", "2/2"]
    assert "1/1" in line.split()
    assert " 50.0% " in line
    assert line.endswith("c1, entropy of records.csv")
    assert last == "1 configurations, 0 with failures"


FAILED = PASSED.replace("/></", "><failure/></testcase></")
SKIPPED = PASSED.replace("/></", "><skipped/></testcase></")


@pytest.mark.parametrize(
    ("stand_in", "message"),
    [
        ({"xml": FAILED}, "real model: a::b"),
        ({"xml": SKIPPED}, "no test"),
        ({"xml": "<testsuites/>"}, "no test"),
        ({"xml": "not written"}, "no test"),
        ({"cases": report()}, "no test"),
        ({"cases": report(0.1, 1.5, mismatches=3)}, "golden: c1: 3 mismatches, 0 violations"),
        ({"cases": "Traceback: no torch"}, "golden: Traceback: no torch"),
        ({"level": "AVX2"}, "torch took ('avx2', '1')"),
    ],
)
def test_a_failure_or_a_run_without_tests_is_reported_and_exits_with_1(
    stand_in: dict[str, str], message: str, tmp_path: Path, capsys: Output
) -> None:
    """In the last case, torch uses another level than the requested one."""
    python = interpreter(tmp_path, **stand_in)
    configuration = Configuration(python, "default", 1, "", ("golden", "real model"))
    assert MATRIX["run"](configuration) is False
    assert message in capsys.readouterr().out


def test_an_interpreter_without_torch_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\necho 'No module named torch' >&2\nexit 1\n")
    path.chmod(0o755)
    with pytest.raises(SystemExit, match="cannot import torch: No module named torch"):
        MATRIX["main"]([str(path)])


def test_the_declared_pythons(capsys: Output) -> None:
    """The oldest is the version that pip requires and the linter targets."""
    assert MATRIX["main"](["--declared"]) == 0
    oldest, _ = capsys.readouterr().out.split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["requires-python"] == f">={oldest}"
    assert project["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
