"""check: run a runner on golden cases, compare each run with its capture, and hold it to the schema."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..compare.kinds import Kind
from ..compare.runs import Comparison, Mismatch, compare
from ..compare.tolerance import by_name
from ..compare.verdicts import file_verdicts
from ..golden import Case
from ..runs.listing import files_below
from ..runs.places import Place
from ..runs.run import Run, read_run
from ..schema.validate import Violation, validate
from .command import Outcome, run_command


@dataclass(frozen=True)
class CaseResult:
    """What became of one case; `seconds` as the run's manifest tells, None where it does not."""

    case: str
    comparison: Comparison
    violations: tuple[Violation, ...]
    seconds: float | None = None
    verdicts: Mapping[str, str] = field(default_factory=dict)  # by file
    excused: int = 0  # violations that the capture shows in the same places
    not_compared: tuple[str, ...] = ()  # files

    def __post_init__(self) -> None:
        if self.seconds is not None and self.seconds < 0:
            raise ValueError(f"a run takes ≥ 0 seconds, got {self.seconds}; see its manifest")

    @property
    def matches(self) -> bool:
        return self.comparison.matches and not self.violations


@dataclass(frozen=True)
class Report:
    """All cases, how the runner ended, and what else a reader should know first."""

    results: tuple[CaseResult, ...]
    outcome: Outcome
    note: str = ""

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError(
                "a report needs at least one case, got none; an empty check proves nothing"
            )

    @property
    def matches(self) -> bool:
        return not self.outcome.problem and all(result.matches for result in self.results)


def check(cases: Sequence[Case], golden: Path, command: str | None, folder: Path) -> Report:
    """Run `command` once on all cases, outputs under `folder`; raises SpecError where it cannot be started."""
    folders = {case.name: folder / case.name for case in cases}
    return report(cases, golden, folders, run_command(command, cases, golden, folders, folder))


def report(
    cases: Sequence[Case], golden: Path, folders: Mapping[str, Path], outcome: Outcome
) -> Report:
    """Judge the outputs of a runner that has ended; `golden` holds what is expected of each case."""
    return Report(
        tuple(judge(case, golden, folders[case.name], outcome) for case in cases), outcome
    )


def judge(case: Case, golden: Path, folder: Path, outcome: Outcome) -> CaseResult:
    """One case's outputs, every file in its folder, against its capture and the schema."""
    file_stem = case.model_id.split("/")[-1]
    expected, obtained = (
        read_run(place, file_stem, files_below(place))
        for place in (case.expected_dir(golden), folder)
    )
    comparison = compare(expected, obtained, by_name(case.tolerance))
    if problem := outcome.problems.get(case.name, ""):
        comparison = with_sentence(comparison, problem)
    elif not obtained.files:
        comparison = with_sentence(comparison, nothing_written(outcome))
    violations = validate(obtained) if obtained.files else []
    new = own_violations(violations, expected) if violations else []
    return CaseResult(
        case.name,
        comparison,
        tuple(new),
        elapsed(folder, file_stem),
        file_verdicts(expected, obtained, comparison),
        len(violations) - len(new),
        tuple(sorted((expected.paths.keys() | obtained.paths.keys()) & {manifest_name(file_stem)})),
    )


def own_violations(violations: Sequence[Violation], expected: Run) -> list[Violation]:
    """The violations that the capture does not show in the same place: what it breaks, no runner is held to."""
    known = {(violation.place, violation.rule) for violation in validate(expected)}
    return [violation for violation in violations if (violation.place, violation.rule) not in known]


def nothing_written(outcome: Outcome) -> str:
    return (
        f"the runner wrote no output for this case; {outcome.problem or 'it exited with status 0'}"
    )


def with_sentence(comparison: Comparison, sentence: str) -> Comparison:
    """The comparison with one more mismatch in front, about the run as a whole."""
    whole = Mismatch(Place(), "a run", sentence, Kind.OBTAINED_RUN)
    return replace(comparison, mismatches=(whole, *comparison.mismatches))


def manifest_name(file_stem: str) -> str:
    return f"run-{file_stem}.manifest.json"


def elapsed(folder: Path, file_stem: str) -> float | None:
    """Seconds that the run's manifest tells, None where there is no such number."""
    try:
        manifest = json.loads((folder / manifest_name(file_stem)).read_text(encoding="utf-8"))
        seconds = float(manifest["elapsed_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seconds if seconds >= 0 else None
