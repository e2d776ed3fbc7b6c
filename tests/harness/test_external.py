"""An external run.py on TransformerLens 2: a refactoring is identical, each change of behaviour is located.

Needs the interpreter of scripts/setup_reference_env.sh, which run_cpu_tests.sh makes.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lenses_min import RunOptions, pipeline
from spec.__main__ import main
from spec.compare.runs import compare
from spec.compare.tolerance import by_name
from spec.golden import GOLDEN, contents, load_cases, select, verify
from spec.lifecycle.capture import read_capture
from spec.runners.check import report
from spec.runners.command import Outcome, job
from spec.runs.run import read_run

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / os.environ.get("REFERENCE_VENV", ".venv-reference") / "bin" / "python"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not PYTHON.exists(),
        reason="no interpreter with TransformerLens 2; make it: bash scripts/setup_reference_env.sh",
    ),
]
CASES = ["rms-rope", "keep-residuals"]
SOME = [
    *CASES,
    "fact-prism",
    "bf16",
    "softcap-postnorm",
]  # what CI captures; the nightly run captures all
WITH_VARIABLES = [name for name, case in load_cases().items() if case.env]
PLAIN = [name for name in load_cases() if name not in WITH_VARIABLES]  # share one process
Output = pytest.CaptureFixture[str]
Check = Callable[..., dict[str, Any]]


def copy_run_py(folder: Path) -> Path:
    """Copy run.py with its helper package next to it."""
    folder.mkdir()
    shutil.copy(Path(__file__).parent / "external" / "run.py", folder)
    shutil.copytree(
        ROOT / "lenses_min", folder / "lenses_min", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder / "run.py"


def capture_cases(folder: Path, names: Sequence[str], jobs: int = 2) -> Path:
    """Capture cases of the unchanged run.py."""
    out = folder / "capture"
    options = ["--run-py", str(copy_run_py(folder / "external")), "--python", str(PYTHON)]
    assert main(["capture", *options, "-j", str(jobs), "--out", str(out), *names]) == 0
    return out


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return capture_cases(tmp_path_factory.mktemp("before"), SOME)


@pytest.fixture
def check(before: Path, tmp_path: Path, capsys: Output) -> Check:
    """A function that changes a copy of run.py, checks it against the capture, and returns the report."""

    def change(file: str, old: str, new: str, cases: list[str] | None = None) -> dict[str, Any]:
        run_py = copy_run_py(tmp_path / "external")
        path = run_py.parent / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} no longer holds {old!r} once"
        path.write_text(text.replace(old, new), encoding="utf-8")
        options = ["--run-py", str(run_py), "--python", str(PYTHON), "--against", str(before)]
        status = main(["check", *options, "--json", *(cases or ["rms-rope"])])
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert status == (0 if report["matches"] else 1)
        return report

    return change


def differing_cases(capture: Path, names: Sequence[str]) -> list[str]:
    """The cases whose capture differs from golden/."""
    cases = [load_cases()[name] for name in names]
    folders = {name: capture / "outputs" / name for name in names}
    results = report(cases, GOLDEN, folders, Outcome(0, "", 0.0)).results
    return [result.case for result in results if result.comparison.mismatches]


def test_what_it_writes_matches_the_goldens(before: Path) -> None:
    assert differing_cases(before, SOME) == []
    provenance = read_capture(before).provenance
    assert provenance["libraries"]["transformer-lens"].startswith("2.16")
    assert "lenses_min/lenses/norm.py" in provenance["modules"]
    assert not any(name.startswith("spec") for name in provenance["modules"])


@pytest.mark.nightly
def test_two_workers_write_the_bytes_of_one(before: Path, tmp_path: Path) -> None:
    alone = capture_cases(tmp_path, CASES, jobs=1)
    for name in CASES:
        assert contents(alone / "outputs" / name) == contents(before / "outputs" / name), name


@pytest.mark.nightly
@pytest.mark.parametrize("names", [PLAIN, WITH_VARIABLES], ids=["plain", "with variables"])
def test_all_that_it_writes_matches_the_goldens(names: list[str], tmp_path: Path) -> None:
    """Each environment needs a process of its own, which takes longer than the cases."""
    assert differing_cases(capture_cases(tmp_path, names), names) == []


def test_a_refactoring_is_identical(check: Check) -> None:
    report = check(
        "lenses_min/core/metrics.py",
        "1 + torch.gt(by, by[:, id_, None], out=flags).sum(-1).long()",
        "1 + torch.gt(by, by[:, id_, None], out=flags).sum(dim=-1).long()",
    )
    assert report["matches"]
    assert {v for case in report["cases"] for v in case["verdicts"].values()} == {"identical"}
    assert (
        report["note"]
        == "of run.py's own files, these differ from the capture: lenses_min/core/metrics.py"
    )


@pytest.mark.nightly
def test_nats_for_bits_is_located(check: Check) -> None:
    report = check(
        "lenses_min/core/metrics.py",
        "nats / log(2)",
        "nats",
        ["rms-rope"],
    )
    columns = {difference["column"]: difference for difference in report["classes"]}
    assert set(columns) <= {
        *("records: entropy", "pure-next-token: entropy", "pure-next-token: entropy_collapse"),
        *(
            "json: final_prediction.entropy",
            "json: test_prompts[].entropy",
            "json: temperature_exploration[].entropy",
        ),
    }
    assert columns["pure-next-token: entropy"]["layers"] == [0, 1, 2, 3, 4]
    assert columns["pure-next-token: entropy"]["stage"] == "metrics"


def test_a_wrong_next_layer_norm_is_located(check: Check) -> None:
    report = check("run.py", "*(block.ln1 for block in model.blocks), model.ln_final", 
                   "model.blocks[0].ln1, *(block.ln1 for block in model.blocks)")  # fmt: skip
    first = report["classes"][0]
    assert first["stage"] == "lens"
    assert {difference["stage"] for difference in report["classes"]}.isdisjoint(
        {"run", "files", "rows", "tokens", "forward"}
    )
    assert 0 not in first["layers"]
    assert report["note"].endswith(": run.py")


NEW = {
    "new-gpt2": ["--recipe", "gpt2", "--seed", "5"],
    "new-llama": ["--recipe", "llama", "--seed", "5"],
    "new-gemma": ["--recipe", "gemma", "--seed", "5"],
    "new-mixtral": ["--recipe", "mixtral", "--seed", "5"],
    "loose-fact": ["--recipe", "fact", "--option", "copy_threshold=0.5"],
    "tight-fact": ["--recipe", "fact", "--prism", str(GOLDEN / "prisms" / "Fact-prism")],
}


def test_new_cases_of_recipes_join_golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders have names that TransformerLens takes for models of its own."""
    monkeypatch.delenv("CI", raising=False)
    library, out, golden = (tmp_path / name for name in ("Llama-2-70b", "gemma", "golden"))
    for name, arguments in NEW.items():
        assert main(["new-case", name, *arguments, "--out", str(library)]) == 0
    run_py = copy_run_py(tmp_path / "external")
    arguments = ["--run-py", str(run_py), "--python", str(PYTHON), "--out", str(out)]
    assert main(["capture", "--cases", str(library), *arguments]) == 0

    shutil.copytree(GOLDEN, golden)
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("### Golden changes\n")
    arguments = ["--golden", str(golden), "--changelog", str(changelog)]
    assert main(["promote", str(out), "--reason", "families that golden/ lacks", *arguments]) == 0
    assert verify(golden) == []
    assert not (out / "models" / "fact").exists(), "golden/ has it"
    for case in select(load_cases(golden), NEW):
        options = RunOptions.from_job(job(case, golden, tmp_path / "runs" / case.name))
        pipeline.run(options).save()
        obtained = read_run(tmp_path / "runs" / case.name, case.name)
        comparison = compare(
            read_run(case.expected_dir(golden), case.name), obtained, by_name("fp32")
        )
        assert comparison.mismatches == (), case.name
