"""diff: two runs of one model, held against each other. Pure but for reading the two directories."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .compare import Mismatch, compare_file, file_mismatches
from .diff_columns import ColumnDiff, Parting, Recorder, column_diffs, partings
from .diff_facts import SETTINGS, Change, differing, facts, milestones, must_fit
from .directories import one_run
from .reading import Run
from .tolerance import Tolerance
from .verdicts import CHANGED, EQUAL, IDENTICAL

ONLY_A, ONLY_B, UNREADABLE = "only in A", "only in B", "cannot be read"
NOT_JUDGED = frozenset(f"diagnostics.{name}" for name in SETTINGS)
ABSENT = {"missing file": ONLY_A, "extra file": ONLY_B}


@dataclass(frozen=True)
class FileDiff:
    """What became of one file; named as in A."""

    file: str
    verdict: str
    values: int
    mismatches: int


@dataclass(frozen=True)
class Side:
    """One of the two runs: its directory, clean name, and what it tells of itself."""

    folder: Path
    clean: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Diff:
    """Everything found between the runs A and B."""

    a: Side
    b: Side
    tolerance: str
    settings: tuple[Change, ...]
    files: tuple[FileDiff, ...]
    milestones: tuple[Change, ...]
    partings: tuple[Parting, ...]
    columns: tuple[ColumnDiff, ...]
    mismatches: tuple[Mismatch, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError(
                "a diff needs at least one file, got none; an empty comparison proves nothing"
            )

    @property
    def verdict(self) -> str:
        verdicts = {file.verdict for file in self.files}
        return (
            IDENTICAL
            if verdicts == {IDENTICAL}
            else EQUAL
            if verdicts <= {IDENTICAL, EQUAL}
            else CHANGED
        )

    @property
    def compared(self) -> int:
        return sum(file.values for file in self.files)


def diff(folders: Sequence[Path], names: Sequence[str | None], tolerance: Tolerance) -> Diff:
    """Compare the runs of two directories; raises SpecError where one holds none, several, or another model."""
    a, b = (one_run(folder, name) for folder, name in zip(folders, names))
    must_fit(a, b)
    told = [facts(run, folder) for run, folder in zip((a, b), folders)]
    other = renamed(b, a.clean)
    recorders = [Recorder(file, tolerance) for file in sorted(a.files & other.files)]
    for recorder in recorders:
        compare_file(recorder, a, other)
    found = [
        *file_mismatches(a, other),
        *(m for recorder in recorders for m in recorder.mismatches),
    ]
    kept = [m for m in found if m.column not in NOT_JUDGED]
    return Diff(
        Side(folders[0], a.clean, told[0]),
        Side(folders[1], b.clean, told[1]),
        tolerance.name,
        tuple(differing(*told)),
        tuple(file_diffs(folders, (a.clean, b.clean), recorders, kept)),
        tuple(milestones(a, other, tolerance)),
        tuple(partings(recorders, kept)),
        tuple(column_diffs(recorders, kept)),
        tuple(kept),
    )


def renamed(run: Run, clean: str) -> Run:
    """The run under another clean name and without the strays of its folder, which are nothing that it wrote."""

    def rename(file: str) -> str:
        return swap_name(file, run.clean, clean)

    return replace(
        run,
        clean=clean,
        files=frozenset(map(rename, run.files)),
        residuals={rename(file): tensor for file, tensor in run.residuals.items()},
        findings=tuple(replace(finding, file=rename(finding.file)) for finding in run.findings),
        strays=(),
    )


def swap_name(file: str, old: str, new: str) -> str:
    """A file of the run `old` as the run `new` calls it."""
    for prefix in ("output-", ""):
        if file.startswith(prefix + old):
            return prefix + new + file[len(prefix + old) :]
    return file


def file_diffs(
    folders: Sequence[Path],
    names: Sequence[str],
    recorders: Sequence[Recorder],
    mismatches: Sequence[Mismatch],
) -> list[FileDiff]:
    """A verdict for every file that one of the runs has."""
    values = {
        recorder.file: sum(s.compared for s in recorder.statistics.values())
        for recorder in recorders
    }
    found = []
    for file in sorted({*values, *(mismatch.file for mismatch in mismatches)}):
        wrong = [mismatch for mismatch in mismatches if mismatch.file == file]
        paths = [folder / swap_name(file, names[0], name) for folder, name in zip(folders, names)]
        found.append(FileDiff(file, judge_file(paths, wrong), values.get(file, 0), len(wrong)))
    return found


def judge_file(paths: Sequence[Path], wrong: Sequence[Mismatch]) -> str:
    kinds = {mismatch.kind for mismatch in wrong}
    if kinds & {"expected run", "obtained run"}:
        return UNREADABLE
    if absent := kinds & set(ABSENT):
        return ABSENT[absent.pop()]
    if wrong:
        return CHANGED
    return IDENTICAL if paths[0].read_bytes() == paths[1].read_bytes() else EQUAL
