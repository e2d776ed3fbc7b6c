"""Commits of a user's repository, read by git alone: its checkout, index and branches are never touched."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import SpecError

FIELDS = ("%H", "%P", "%cs", "%s")  # hash, parents, date, subject


@dataclass(frozen=True)
class Commit:
    """A commit: hash, first parent ("" for none), date, subject, and the files beside run.py with their blobs."""

    hash: str
    parent: str
    date: str
    subject: str
    files: Mapping[str, str] = field(default_factory=dict)  # by path from run.py's folder

    @property
    def short(self) -> str:
        return self.hash[:10]


@dataclass(frozen=True)
class Repository:
    """A git repository, and the path of run.py in it, such as `layers/run.py`."""

    path: Path
    run_py: str

    @property
    def folder(self) -> str:
        """The folder of run.py, "" for the top of the repository."""
        folder = PurePosixPath(self.run_py).parent.as_posix()
        return "" if folder == "." else folder

    def git(self, *arguments: str) -> str:
        """The output of a git command that reads; raises SpecError where it fails."""
        command = ["git", "-C", str(self.path), *arguments]
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        try:
            ended = subprocess.run(command, capture_output=True, env=environment, check=False)
        except OSError as error:
            raise SpecError(f"cannot run git: {error.strerror}; install it") from error
        if ended.returncode:
            last_line = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
            reason = "".join(last_line) or f"status {ended.returncode}"
            raise SpecError(f"git cannot read {self.path}: {reason}; check --repo and the range")
        return ended.stdout.decode("utf-8", errors="surrogateescape")

    def commit(self, name: str) -> Commit:
        """The commit of a name or hash; raises SpecError where there is none."""
        (commit,) = self.log("-1", "--end-of-options", name, "--")
        return commit

    def log(self, *arguments: str) -> list[Commit]:
        """The commits that `git log` lists."""
        lines = self.git("log", f"--format={'%x00'.join(FIELDS)}", *arguments).split("\n")[:-1]
        commits = []
        for line in lines:
            full, parents, date, subject = line.split("\0")
            parent = (parents.split() or [""])[0]
            commits.append(Commit(full, parent, date, subject, self.files(full)))
        return commits

    def files(self, commit: str) -> dict[str, str]:
        """The blob of every file in run.py's folder and below, by its path from there."""
        tree = f"{commit}:{self.folder}" if self.folder else commit
        try:
            listing = self.git("ls-tree", "-r", "-z", tree)
        except SpecError:  # the commit has no such folder
            return {}
        entries = (entry.split("\t", 1) for entry in listing.split("\0") if entry)
        heads = [(head.split(), path) for head, path in entries]
        return {path: blob for (_, kind, blob), path in heads if kind == "blob"}

    def between(self, span: str, first_parents: bool = False) -> list[Commit]:
        """The first commit of a range `A..B`, then each later one that changes the folder, parents first.

        With `first_parents` only those on the line of first parents from B.

        Raises SpecError where the range is none, A is not an ancestor of B, or B has no run.py.
        """
        a, dots, b = span.partition("..")
        if not (dots and a) or b.startswith("."):
            raise SpecError(f"a range is A..B, such as main~40..main, got {span!r}")
        start, end = self.commit(a), self.commit(b or "HEAD")
        if PurePosixPath(self.run_py).name not in end.files:
            raise SpecError(f"{end.short} has no {self.run_py}; give --run-py as a path in --repo")
        if self.git("rev-list", "-1", f"{end.hash}..{start.hash}").strip():
            raise SpecError(f"{a} is no ancestor of {b or 'HEAD'}; give an earlier commit first")
        line = ["--first-parent"] if first_parents else []
        span = f"{start.hash}..{end.hash}"
        commits = self.log("--reverse", "--topo-order", *line, span, "--")
        known = {commit.hash: commit.files for commit in (start, *commits)}
        return [
            start,
            *(commit for commit in commits if commit.files != self.before(commit, known)),
        ]

    def before(self, commit: Commit, known: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
        """The files of a commit's first parent."""
        if not commit.parent:
            return {}
        return known[commit.parent] if commit.parent in known else self.files(commit.parent)

    def extract(self, commit: Commit, out: Path) -> Path:
        """Write the folder of a commit into `out`, and return the path of run.py there."""
        for path in commit.files:
            target = out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            name = f"{commit.hash}:{self.folder}/{path}" if self.folder else f"{commit.hash}:{path}"
            target.write_bytes(self.blob(name))
        return out / PurePosixPath(self.run_py).name

    def blob(self, name: str) -> bytes:
        """The content of a file of a commit."""
        command = ["git", "-C", str(self.path), "cat-file", "blob", name]
        return subprocess.run(command, capture_output=True, check=True).stdout
