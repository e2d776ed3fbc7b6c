"""Two directories that hold several runs, in folders or beside one another: compared run by run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runs.directory import existing, nothing
from ..runs.listing import Files, files_below, listing, runs_in
from ..runs.run import read_run
from .bytewise import compare_bytes
from .diff import ONLY_A, ONLY_B, Diff, FileDiff, diff_runs, judge_file, judge_how_made, verdict_of
from .diff_columns import ValueRecorder
from .how_made import never_twice
from .runs import Mismatch
from .tolerance import Tolerance
from .verdicts import EXTRA, MISSING, worst


@dataclass(frozen=True)
class RunLocation:
    """A run in a directory: its folder, name and files; `inside` is the folder's path from the directory."""

    folder: Path
    file_stem: str
    files: Files
    inside: str

    @property
    def name(self) -> str:
        """The run's path from the directory."""
        return self.file_stem if self.inside == "." else f"{self.inside}/{self.file_stem}"


@dataclass(frozen=True)
class DirectoryContents:
    """Everything in a directory: its runs, and the files of no run alone, by their path from it."""

    runs: tuple[RunLocation, ...]
    shared: Files


@dataclass(frozen=True)
class DirectoryDiff:
    """Two directories: each run that both hold, runs of one side only, and the files of no run alone."""

    a: Path
    b: Path
    tolerance: str
    runs: Mapping[str, Diff]  # by name as in A
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    files: tuple[FileDiff, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def verdict(self) -> str:
        """The worst of all: a run of A alone is a change, one of B alone an extension."""
        verdicts = [diff.verdict for diff in self.runs.values()]
        verdicts += [verdict_of(self.files)] * bool(self.files)
        return worst([*verdicts, *[MISSING] * len(self.only_a), *[EXTRA] * len(self.only_b)])


def several(path: Path) -> bool:
    """Whether a directory holds more than one run, or holds its runs in folders."""
    places = find(path).runs
    return len(places) > 1 or any(place.inside != "." for place in places)


def find(directory: Path) -> DirectoryContents:
    """Every run in a directory and in all folders inside it; raises SpecError where there is none."""
    files = files_below(existing(directory))
    folders = dict.fromkeys(
        [directory, *(folder for path in files.values() for folder in up(path, directory))]
    )
    runs = []
    for folder in folders:
        inside = folder.relative_to(directory).as_posix()
        if runs_in(folder):
            runs += [
                RunLocation(folder, file_stem, run_files, inside)
                for file_stem, run_files in listing(folder).runs.items()
            ]
    if not runs:
        raise nothing(directory)
    taken = {path for run in runs for path in run.files.values()}
    shared = {file: path for file, path in files.items() if path not in taken}
    return DirectoryContents(tuple(runs), shared)


def up(path: Path, directory: Path) -> list[Path]:
    """The folders between a file and the directory, the outermost first."""
    return [folder for folder in reversed(path.parents) if directory in folder.parents]


def diff_directories(a: Path, b: Path, tolerance: Tolerance) -> DirectoryDiff:
    """Compare the runs that have a name in common, and all files of no run alone.

    Raises SpecError where a directory holds no run.
    """
    contents_a, contents_b = find(a), find(b)
    pairs, only_a, only_b = matched(contents_a.runs, contents_b.runs)
    runs = {left.name: diff_locations(left, right, tolerance) for left, right in pairs}
    files, mismatches = diff_shared(contents_a.shared, contents_b.shared, tolerance)
    return DirectoryDiff(
        a,
        b,
        tolerance.name,
        runs,
        tuple(location.name for location in only_a),
        tuple(location.name for location in only_b),
        tuple(files),
        tuple(mismatches),
    )


def diff_locations(a: RunLocation, b: RunLocation, tolerance: Tolerance) -> Diff:
    """Read and compare two runs."""
    before = read_run(a.folder, a.file_stem, a.files)
    after = read_run(b.folder, b.file_stem, b.files, other=before)
    return diff_runs((a.folder, b.folder), (before, after), tolerance)


def matched(
    a: Sequence[RunLocation], b: Sequence[RunLocation]
) -> tuple[list[tuple[RunLocation, RunLocation]], list[RunLocation], list[RunLocation]]:
    """Runs of one folder and name; then, of those left, runs whose name comes only once on each side."""
    pairs = []
    for key in (lambda place: (place.inside, place.file_stem), lambda place: place.file_stem):
        times = [Counter(map(key, places)) for places in (a, b)]
        known = {key(place): place for place in b}
        new = [
            (place, known[key(place)])
            for place in a
            if times[0][key(place)] == times[1][key(place)] == 1
        ]
        pairs += new
        gone = [{id(pair[side]) for pair in new} for side in (0, 1)]
        a = [place for place in a if id(place) not in gone[0]]
        b = [place for place in b if id(place) not in gone[1]]
    return pairs, list(a), list(b)


def diff_shared(a: Files, b: Files, tolerance: Tolerance) -> tuple[list[FileDiff], list[Mismatch]]:
    """Every file of no run alone, by its bytes."""
    files, mismatches = [], []
    for file in sorted({*a, *b}):
        if never_twice(file) is not None:
            files.append(judge_how_made(file, a.get(file), b.get(file)))
        elif file not in a or file not in b:
            files.append(FileDiff(file, ONLY_A if file in a else ONLY_B, 0, 1))
        else:
            recorder = ValueRecorder(file, tolerance)
            compare_bytes(recorder, a[file], b[file])
            kinds = {mismatch.kind for mismatch in recorder.mismatches}
            files.append(FileDiff(file, judge_file(kinds, not kinds), 0, len(recorder.mismatches)))
            mismatches += recorder.mismatches
    return files, mismatches
