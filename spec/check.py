"""check: run a runner on golden cases, compare each run with its capture, and hold it to the schema."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .compare import Comparison, Mismatch, compare
from .golden import Case
from .reading import read_run
from .runner import Outcome, job, run_jobs, split_command, write_jobs
from .schema import Violation, validate
from .tolerance import by_name


@dataclass(frozen=True)
class CaseResult:
    """What became of one case; `seconds` as the run's manifest tells, None where it does not."""

    case: str
    comparison: Comparison
    violations: tuple[Violation, ...]
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.seconds is not None and self.seconds < 0:
            raise ValueError(f"a run takes ≥ 0 seconds, got {self.seconds}; see its manifest")

    @property
    def matches(self) -> bool:
        return self.comparison.matches and not self.violations


@dataclass(frozen=True)
class Report:
    """All cases and how the runner ended."""

    results: tuple[CaseResult, ...]
    outcome: Outcome

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("a report needs at least one case, got none; an empty check proves nothing")

    @property
    def matches(self) -> bool:
        return not self.outcome.problem and all(result.matches for result in self.results)


def check(cases: Sequence[Case], golden: Path, command: str | None, folder: Path) -> Report:
    """Run `command` once on all cases, outputs under `folder`; raises SpecError where it cannot be started."""
    words = split_command(command)
    jobs = folder / "jobs.jsonl"
    folders = {case.name: folder / case.name for case in cases}
    write_jobs(jobs, [job(case, golden, folders[case.name]) for case in cases])
    outcome = run_jobs(words, jobs.resolve(), folder / "runner.log")
    return Report(tuple(judge(case, golden, folders[case.name], outcome) for case in cases), outcome)


def judge(case: Case, golden: Path, folder: Path, outcome: Outcome) -> CaseResult:
    """One case's outputs against its capture and the schema."""
    clean = case.model_id.split("/")[-1]
    obtained = read_run(folder, clean)
    comparison = compare(read_run(case.expected_dir(golden), clean), obtained, by_name(case.tolerance))
    if not obtained.files:
        return CaseResult(case.name, with_sentence(comparison, nothing_written(outcome)), ())
    return CaseResult(case.name, comparison, tuple(validate(obtained)), elapsed(folder, clean))


def nothing_written(outcome: Outcome) -> str:
    return f"the runner wrote no output for this case; {outcome.problem or 'it exited with status 0'}"


def with_sentence(comparison: Comparison, sentence: str) -> Comparison:
    """The comparison with one more mismatch in front, about the run as a whole."""
    whole = Mismatch("", "", "", "a run", sentence, "obtained run")
    return replace(comparison, mismatches=(whole, *comparison.mismatches))


def elapsed(folder: Path, clean: str) -> float | None:
    """Seconds that the run's manifest tells, None where there is no such number."""
    try:
        manifest = json.loads((folder / f"run-{clean}.manifest.json").read_text(encoding="utf-8"))
        seconds = float(manifest["elapsed_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seconds if seconds >= 0 else None
