"""Run a runner on golden cases, compare each run with its capture and validate it against the schema."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..compare.kinds import Kind
from ..compare.runs import Comparison, Mismatch, compare
from ..compare.tolerance import by_name
from ..compare.verdicts import CHANGED, EQUAL, IDENTICAL, file_verdicts, of_kinds, worst
from ..golden import Case
from ..runs.listing import files_below
from ..runs.places import Place
from ..runs.run import Run, read_run
from ..schema.layout import judge_run
from ..schema.validate import Violation
from .command import Outcome, run_command


@dataclass(frozen=True)
class CaseResult:
    """The result of one case; `seconds` is the run time that the manifest gives, None if it gives none."""

    case: str
    comparison: Comparison
    violations: tuple[Violation, ...]
    seconds: float | None = None
    verdicts: Mapping[str, str] = field(default_factory=dict)  # by file
    excused: int = 0  # violations that the capture has in the same places too
    not_compared: tuple[str, ...] = ()  # files
    further: str = ""  # what the run has beyond the contract, in one line

    def __post_init__(self) -> None:
        if self.seconds is not None and self.seconds < 0:
            raise ValueError(f"a run takes ≥ 0 seconds, got {self.seconds}; see its manifest")

    @property
    def matches(self) -> bool:
        return self.verdict in (IDENTICAL, EQUAL)

    @property
    def verdict(self) -> str:
        """The verdict of the case: changed where the schema has a new violation."""
        kinds = {mismatch.kind for mismatch in self.comparison.mismatches}
        verdict = of_kinds(kinds, same=EQUAL not in self.verdicts.values())
        return worst([verdict, CHANGED]) if self.violations else verdict


@dataclass(frozen=True)
class Report:
    """The results of all cases, how the runner ended, and a note for the head of the report."""

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
        return self.verdict in (IDENTICAL, EQUAL)

    @property
    def verdict(self) -> str:
        """The worst of all cases; changed where the runner failed."""
        verdicts = [result.verdict for result in self.results]
        return worst([*verdicts, CHANGED] if self.outcome.problem else verdicts)


def check(cases: Sequence[Case], golden: Path, command: str | None, folder: Path) -> Report:
    """Run `command` once on all cases and judge the outputs, which it writes under `folder`.

    Raises SpecError where the command cannot be started.
    """
    folders = {case.name: folder / case.name for case in cases}
    return report(cases, golden, folders, run_command(command, cases, golden, folders, folder))


def report(
    cases: Sequence[Case], golden: Path, folders: Mapping[str, Path], outcome: Outcome
) -> Report:
    """Judge the outputs of a runner that has ended; `golden` holds the expected files of each case."""
    return Report(
        tuple(judge(case, golden, folders[case.name], outcome) for case in cases), outcome
    )


def judge(case: Case, golden: Path, folder: Path, outcome: Outcome) -> CaseResult:
    """Compare every file in the folder of one case with its capture, and validate the run by the schema."""
    file_stem = case.model_id.split("/")[-1]
    expected = read_whole_folder(case.expected_dir(golden), file_stem)
    obtained = read_whole_folder(folder, file_stem)
    comparison = compare(expected, obtained, by_name(case.tolerance))
    if problem := outcome.problems.get(case.name, ""):
        comparison = with_run_mismatch(comparison, problem)
    elif not obtained.files:
        comparison = with_run_mismatch(comparison, nothing_written(outcome))
    judged = judge_run(obtained)
    violations = judged.violations if obtained.files else ()
    new = new_violations(violations, expected) if violations else []
    return CaseResult(
        case.name,
        comparison,
        tuple(new),
        elapsed(folder, file_stem),
        file_verdicts(expected, obtained, comparison),
        len(violations) - len(new),
        tuple(sorted((expected.paths.keys() | obtained.paths.keys()) & {manifest_name(file_stem)})),
        judged.sentence,
    )


def read_whole_folder(folder: Path, file_stem: str) -> Run:
    return read_run(folder, file_stem, files_below(folder))


def new_violations(violations: Sequence[Violation], expected: Run) -> list[Violation]:
    """Return the violations that the capture does not have in the same place; the others are excused."""
    known = {(violation.place, violation.rule) for violation in judge_run(expected).violations}
    return [violation for violation in violations if (violation.place, violation.rule) not in known]


def nothing_written(outcome: Outcome) -> str:
    return (
        f"the runner wrote no output for this case; {outcome.problem or 'it exited with status 0'}"
    )


def with_run_mismatch(comparison: Comparison, message: str) -> Comparison:
    """Return the comparison with a mismatch of the whole run before its other mismatches."""
    mismatch = Mismatch(Place(), "a run", message, Kind.OBTAINED_RUN)
    return replace(comparison, mismatches=(mismatch, *comparison.mismatches))


def manifest_name(file_stem: str) -> str:
    return f"run-{file_stem}.manifest.json"


def elapsed(folder: Path, file_stem: str) -> float | None:
    """Return the seconds that the run's manifest records, None where it has no such number."""
    try:
        manifest = json.loads((folder / manifest_name(file_stem)).read_text(encoding="utf-8"))
        seconds = float(manifest["elapsed_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seconds if seconds >= 0 else None
