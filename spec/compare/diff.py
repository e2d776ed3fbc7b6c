"""Compare two runs of one model. Pure but for reading the two directories."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..runs.directory import one_run
from ..runs.listing import listing, rest_of
from ..runs.run import Run, same_bytes
from .diff_columns import (
    ColumnDiff,
    FirstDivergence,
    Note,
    ValueRecorder,
    column_diffs,
    first_divergences,
)
from .diff_facts import SETTINGS, Change, differing, facts, milestones, must_fit
from .how_made import how_made, never_twice
from .kinds import Kind
from .runs import Mismatch, compare_file, file_mismatches, not_understood
from .tolerance import Tolerance
from .verdicts import (
    BROKEN,
    CHANGED,
    EQUAL,
    EXTENDED,
    IDENTICAL,
    NOT_UNDERSTOOD,
    of_kinds,
    worst,
)

ONLY_A, ONLY_B = "only in A", "only in B"
SAME_BUT_TIMES, MADE_OTHERWISE = "the same but for times", "made otherwise"
NOT_JUDGED = frozenset(("diagnostics", name) for name in SETTINGS)  # paths in a document


@dataclass(frozen=True)
class FileDiff:
    """The verdict of one file, named as in A. `notes`: what in it is left out, or not judged.

    A file that is not `judged` is a manifest: it may make two runs not identical, never changed.
    """

    file: str
    verdict: str
    values: int
    mismatches: int
    judged: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """One of the two runs: its directory, name, and the facts of its document and manifest."""

    folder: Path
    file_stem: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Diff:
    """The result of comparing the runs A and B. `notes` are values that are printed and not judged.

    `left_out` are files beside the two runs that are of no run alone.
    """

    a: Side
    b: Side
    tolerance: str
    settings: tuple[Change, ...]
    files: tuple[FileDiff, ...]
    milestones: tuple[Change, ...]
    first_divergences: tuple[FirstDivergence, ...]
    columns: tuple[ColumnDiff, ...]
    mismatches: tuple[Mismatch, ...]
    notes: tuple[Note, ...] = ()
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError(
                "a diff needs at least one file, got none; an empty comparison proves nothing"
            )

    @property
    def verdict(self) -> str:
        return verdict_of(self.files)

    @property
    def compared(self) -> int:
        return sum(file.values for file in self.files)


def verdict_of(files: Sequence[FileDiff]) -> str:
    """Of all files: identical but for times; equal within tolerance where only numbers, or how it was made, differ."""
    parts = [file.verdict if file.judged else of_how_made(file.verdict) for file in files]
    meaning = {NOT_UNDERSTOOD: IDENTICAL, ONLY_A: CHANGED, ONLY_B: EXTENDED}
    return worst(meaning.get(part, part) for part in parts)


def of_how_made(verdict: str) -> str:
    """What the verdict of a manifest says of the run."""
    return IDENTICAL if verdict in (IDENTICAL, SAME_BUT_TIMES) else EQUAL


def diff(folders: Sequence[Path], names: Sequence[str | None], tolerance: Tolerance) -> Diff:
    """Compare the runs of two directories; raises SpecError where one holds none, several, or another model."""
    a = one_run(folders[0], names[0])
    b = one_run(folders[1], names[1], other=a)
    beside = {file for folder in folders for file in listing(folder).shared}
    return replace(diff_runs(folders, (a, b), tolerance), left_out=tuple(sorted(beside)))


def diff_runs(folders: Sequence[Path], runs: tuple[Run, Run], tolerance: Tolerance) -> Diff:
    """Compare two runs that were read from these folders; raises SpecError where they are of other models."""
    must_fit(*runs)
    facts_a, facts_b = (facts(run, folder) for run, folder in zip(runs, folders, strict=True))
    a = without_how_made(runs[0])
    b = without_how_made(renamed(runs[1], runs[0].file_stem))
    recorders = [compared_file(file, a, b, tolerance) for file in sorted(a.compared & b.compared)]
    mismatches = [
        *file_mismatches(a, b),
        *(mismatch for recorder in recorders for mismatch in recorder.mismatches),
    ]
    judged = [mismatch for mismatch in mismatches if is_judged(mismatch)]
    return Diff(
        Side(folders[0], a.file_stem, facts_a),
        Side(folders[1], runs[1].file_stem, facts_b),
        tolerance.name,
        tuple(differing(facts_a, facts_b)),
        tuple(file_diffs(a, b, recorders, judged)),
        tuple(milestones(a, b, tolerance)),
        tuple(first_divergences(recorders, judged)),
        tuple(column_diffs(recorders, judged)),
        tuple(judged),
        tuple(note for recorder in recorders for note in recorder.notes),
    )


def compared_file(file: str, a: Run, b: Run, tolerance: Tolerance) -> ValueRecorder:
    """Compare one file of both runs.

    What has the same bytes differs in nothing, even if the documents put it in two dialects.
    """
    recorder = ValueRecorder(file, tolerance)
    same = same_bytes(a.paths[file], b.paths[file])
    compare_file(recorder, a, a if same else b)
    return recorder


def is_judged(mismatch: Mismatch) -> bool:
    """Whether a mismatch is more than a setting that the runs were made with."""
    return mismatch.place.spot is not None or mismatch.place.key not in NOT_JUDGED


def without_how_made(run: Run) -> Run:
    """The run without the files that are compared by how_made; `paths` still has them."""
    return replace(run, strays=tuple(file for file in run.strays if never_twice(file) is None))


def renamed(run: Run, file_stem: str) -> Run:
    """The run under another name."""
    if run.file_stem == file_stem:
        return run
    # a file that already bears the other name, or that would take another's, stays what it is
    names = {file: swap_name(file, run.file_stem, file_stem) for file in run.paths}
    names = {file: file if name in run.paths else name for file, name in names.items()}
    return replace(
        run,
        file_stem=file_stem,
        files=frozenset(names[file] for file in run.files),
        residuals={names[file]: tensor for file, tensor in run.residuals.items()},
        strays=tuple(names[file] for file in run.strays),
        findings=tuple(replace(f, file=names.get(f.file, f.file)) for f in run.findings),
        paths={names[file]: path for file, path in run.paths.items()},
    )


def swap_name(file: str, old: str, new: str) -> str:
    """A file of the run `old` as the run `new` calls it."""
    folder, slash, name = file.rpartition("/")
    rest = rest_of(name, old)
    return f"{folder}{slash}{rest[0]}{new}{rest[1]}" if rest else file


def file_diffs(
    a: Run, b: Run, recorders: Sequence[ValueRecorder], mismatches: Sequence[Mismatch]
) -> list[FileDiff]:
    """A verdict for every file that one of the runs has."""
    values = {recorder.file: sum(s.compared for s in recorder.statistics) for recorder in recorders}
    kinds: dict[str, list[Kind]] = defaultdict(list)
    for mismatch in mismatches:
        kinds[mismatch.file].append(mismatch.kind)
    alike = not_understood(a, b)
    diffs = []
    for file in sorted({*a.paths, *b.paths, *kinds}):
        if file in alike:
            diffs.append(FileDiff(file, NOT_UNDERSTOOD, 0, 0))
        elif kinds[file] or never_twice(file) is None:
            same = not kinds[file] and same_bytes(a.paths[file], b.paths[file])
            verdict = judge_file(set(kinds[file]), same)
            diffs.append(FileDiff(file, verdict, values.get(file, 0), len(kinds[file])))
        else:
            diffs.append(judge_how_made(file, a.paths.get(file), b.paths.get(file)))
    return diffs


def judge_file(kinds: set[Kind], same: bool) -> str:
    """The verdict of a file by the kinds of its mismatches and by whether its bytes are the same."""
    verdict = of_kinds(kinds, same)
    if verdict == BROKEN:
        return BROKEN
    sides = {Kind.MISSING_FILE: ONLY_A, Kind.EXTRA_FILE: ONLY_B}
    return next((side for kind, side in sides.items() if kind in kinds), verdict)


def judge_how_made(file: str, a: Path | None, b: Path | None) -> FileDiff:
    """The verdict of a manifest or summary; a table of results, or a file that cannot be read, is judged."""
    judged = file.endswith(".csv")
    if a is None or b is None:
        return FileDiff(file, ONLY_A if b is None else ONLY_B, 0, 0, judged)
    if same_bytes(a, b):
        return FileDiff(file, IDENTICAL, 0, 0, judged)
    try:
        difference = how_made(file, a, b)
    except (OSError, ValueError):
        return FileDiff(file, BROKEN, 0, 1)
    names = difference.differing
    if names:
        verdict = CHANGED if judged else MADE_OTHERWISE
        return FileDiff(file, verdict, 0, len(names) * judged, judged, names)
    return FileDiff(file, SAME_BUT_TIMES, 0, 0, False, difference.left_out)
