"""What each commit of a range changed in the outputs of run.py, and which commit changed a column."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from ..compare.classify import classes, stages_reached
from ..compare.kinds import ADDITIONS
from ..compare.runs import Mismatch
from ..compare.verdicts import IDENTICAL
from ..errors import SpecError
from ..runners.check import Report, report
from ..runners.command import Outcome
from .capture_cache import CaptureCache, Captured, digest
from .commits import Commit

FAILS = "fails"  # the verdict of a commit whose run.py does not run all cases to their end
START = "start"  # that of the first commit
Pair = tuple[str, Mismatch]  # a case and a mismatch of it
Screen = Callable[[Sequence[Pair], int], str]  # mismatches and the number of cases → text


@dataclass(frozen=True)
class Difference:
    """What one capture changed against another: columns in the order in which a run computes them, and additions.

    `screen` is the first screen of the comparison, `violations` those of the schema that are new.
    """

    verdict: str = IDENTICAL
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    stage: str = ""
    violations: int = 0
    screen: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, keys, passes and files that it is about."""
        return tuple(dict.fromkeys((*self.changed, *self.added)))


@dataclass(frozen=True)
class Step:
    """A commit against its parent, or where that fails against the nearest ancestor that works.

    `from_start` are the columns in which it differs from the first commit.
    """

    commit: Commit
    difference: Difference
    problem: str = ""
    from_start: frozenset[str] = frozenset()

    @property
    def verdict(self) -> str:
        return self.difference.verdict

    @property
    def names(self) -> tuple[str, ...]:
        """All that is to be accepted of the commit."""
        return (FAILS,) if self.problem else self.difference.names


@dataclass(frozen=True)
class ColumnChange:
    """A commit that changed or added a column, and the later one after which it is as at the start again."""

    column: str
    commit: Commit
    undone_by: Commit | None


@dataclass(frozen=True)
class History:
    """The steps of a range, the first commit first; `captured` of their captures were made by this call."""

    steps: tuple[Step, ...]
    captured: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that a step changed or added."""
        return tuple(dict.fromkeys(c for step in self.steps for c in step.difference.names))

    def changes_of(self, column: str) -> list[ColumnChange]:
        """The commits that changed a column, each with the one that undid it."""
        changes = []
        for at, step in enumerate(self.steps):
            if column in step.difference.names and column in step.from_start:
                later = (s for s in self.steps[at + 1 :] if not s.problem)
                undone = next((s.commit for s in later if column not in s.from_start), None)
                changes.append(ColumnChange(column, step.commit, undone))
        return changes


def names(pairs: Iterable[Pair]) -> tuple[str, ...]:
    """The columns of mismatches, each once, in the order in which a run computes them."""
    return tuple(dict.fromkeys(group.name for group in classes(pairs)))


def history(
    cache: CaptureCache, span: str, screen: Screen, progress: Callable[[str], None]
) -> History:
    """Capture every commit of a range that changes run.py's folder, and compare each with its parent and the first.

    The processes that the cache may run at a time are shared among as many commits as there are to capture.
    """
    commits = cache.repository.between(span)
    missing = [commit for commit in commits if cache.find(commit) is None]
    at_a_time = min(cache.jobs, max(1, len(missing)))
    cache = replace(cache, jobs=cache.jobs // at_a_time)
    before = len(cache.entries)
    make(cache, missing, at_a_time, progress)
    start = cache.of(commits[0])
    if not start.works:
        raise SpecError(
            f"{commits[0].short} fails, and nothing can be compared with it: {start.problem}; "
            "start the range at a commit that works"
        )
    steps = [Step(commits[0], Difference(START))]
    known = {commit.hash: commit for commit in commits}
    for commit in commits[1:]:
        captured = cache.of(commit)
        if captured.works:
            base = working_ancestor(cache, commit, known, commits[0])
            difference = compared(cache, base, captured, screen)
            from_start = frozenset(compared(cache, start, captured, screen).names)
            steps.append(Step(commit, difference, "", from_start))
        else:
            steps.append(Step(commit, Difference(FAILS), captured.problem))
    return History(tuple(steps), len(cache.entries) - before)


def make(
    cache: CaptureCache, commits: Sequence[Commit], at_a_time: int, progress: Callable[[str], None]
) -> None:
    """Capture commits, some at a time; those of the same files are captured once."""

    def one(commit: Commit) -> None:
        captured = cache.of(commit)
        progress(f"{commit.short} {captured.problem or 'captured'}")

    with ThreadPoolExecutor(at_a_time) as pool:
        for _ in pool.map(one, commits):
            pass


def working_ancestor(
    cache: CaptureCache, commit: Commit, known: Mapping[str, Commit], start: Commit
) -> Captured:
    """The capture of the nearest first parent that works; of the first commit where none does."""
    name = commit.parent
    while name and name != start.hash:
        parent = known.get(name) or cache.repository.commit(name)
        captured = cache.of(parent)
        if captured.works:
            return captured
        name = parent.parent
    return cache.of(start)


def compared(cache: CaptureCache, a: Captured, b: Captured, screen: Screen) -> Difference:
    """What the second capture changed, kept in the cache; captures of one folder are the same."""
    if a.folder == b.folder:
        return Difference()
    path = cache.group / "differences" / f"{digest([a.folder.name, b.folder.name, code()])}.json"
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        return replace(
            Difference(**known), changed=tuple(known["changed"]), added=tuple(known["added"])
        )
    difference = difference_of(judged(cache, a, b), screen)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(difference)), encoding="utf-8")
    partial.replace(path)
    return difference


@lru_cache(1)
def code() -> str:
    """A hash of the code that compares and prints."""
    package = Path(__file__).parents[1]
    sources = sorted(
        path
        for room in ("runs", "schema", "compare", "runners", "lifecycle", "report")
        for path in (package / room).rglob("*")
        if path.suffix in (".py", ".json")
    )
    return sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def judged(cache: CaptureCache, a: Captured, b: Captured) -> Report:
    """The second capture judged by the first."""
    outcome = Outcome(0, "", 0.0, b.problems)
    return report(cache.cases, a.folder, b.outputs(cache.cases), outcome)


def difference_of(result: Report, screen: Screen) -> Difference:
    """What a report says of all cases."""
    every = pairs(result)
    changes = classes(pair for pair in every if pair[1].kind not in ADDITIONS)
    return Difference(
        result.verdict,
        tuple(dict.fromkeys(group.name for group in changes)),
        names(pair for pair in every if pair[1].kind in ADDITIONS),
        stages_reached(changes)[0] if changes else "",
        sum(len(case.violations) for case in result.results),
        screen(every, len(result.results)),
    )


def pairs(result: Report) -> list[Pair]:
    """Every mismatch with its case."""
    return [(r.case, mismatch) for r in result.results for mismatch in r.comparison.mismatches]
