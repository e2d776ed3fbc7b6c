"""Captures of commits, kept by content: run.py, what it imported, the interpreter's libraries, the worker, the cases.

An entry is a capture with `read.json`, which lists the files of run.py's folder that decide its outputs: the content of
each module that was imported and of each file that is no Python file, and of all other Python files that they are
there, since run.py may import one where it finds it. An entry is built beside the others and moved into place when it
is whole, so a command that was stopped goes on.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..golden import Case, file_hashes
from ..runners.external import WORKER, ExternalRunner
from .capture import RECORD, capture, read_entries
from .commits import Commit, Repository

READ = "read.json"
VERSIONS = """
import json, sys
from importlib import metadata
names = ("torch", "transformer-lens", "transformers", "tokenizers", "numpy", "pandas")
versions = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
print(json.dumps([sys.version, {name: versions.get(name) for name in names}]))
"""


@dataclass(frozen=True)
class Captured:
    """The capture of a commit: its folder, and the problem of each case that failed."""

    folder: Path
    problems: Mapping[str, str]

    @property
    def works(self) -> bool:
        return not self.problems

    @property
    def problem(self) -> str:
        """The first problem, "" for none."""
        return next(iter(self.problems.values()), "")

    def outputs(self, cases: Sequence[Case]) -> dict[str, Path]:
        """The folder of each case."""
        return {case.name: self.folder / "outputs" / case.name for case in cases}


@dataclass(frozen=True)
class CaptureCache:
    """Captures of the commits of a repository, in `folder`; `library` has the cases, as golden/ does.

    A capture runs `jobs` processes at a time; its outputs do not depend on `jobs`.
    """

    folder: Path
    repository: Repository
    python: Path
    timeout: float
    library: Path
    cases: Sequence[Case]
    jobs: int

    @cached_property
    def group(self) -> Path:
        """The folder of all captures that only run.py and what it reads can tell apart."""
        entries = read_entries(self.library)
        decides = {
            "worker": sha256(WORKER.read_bytes()).hexdigest(),
            "interpreter": versions(self.python),
            "run_py": self.repository.run_py,
            "timeout": self.timeout,
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "cases": {case.name: entries[case.name] for case in self.cases},
            "inputs": {case.name: inputs(case, self.library) for case in self.cases},
        }
        return self.folder / digest(decides)

    def find(self, commit: Commit) -> Captured | None:
        """The capture of a commit whose run.py reads the same files, None where there is none yet."""
        for read, folder in self.entries:
            if commit.files.keys() == read.keys() and all(
                blob in (None, commit.files[file]) for file, blob in read.items()
            ):
                return read_captured(folder)
        return None

    @cached_property
    def entries(self) -> list[tuple[dict[str, str | None], Path]]:
        """The files that decide each capture, and its folder."""
        paths = sorted(self.group.glob(f"*/{READ}"))
        return [(json.loads(path.read_text(encoding="utf-8")), path.parent) for path in paths]

    def of(self, commit: Commit) -> Captured:
        """The capture of a commit, from the cache or made now."""
        return self.find(commit) or self.make(commit)

    def make(self, commit: Commit) -> Captured:
        """Take run.py out of the repository, and run it on the cases."""
        try:
            self.group.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".", dir=self.group))
        except OSError as error:
            raise SpecError(
                f"cannot keep captures in {self.folder}: {error.strerror}; give another --cache"
            ) from error
        try:
            run_py = self.repository.extract(commit, work / "source")
            out = work / "capture"
            out.mkdir()
            runner = ExternalRunner(run_py, self.python, self.timeout, self.jobs)
            result = capture(runner, self.cases, self.library, out)
            modules = (result.provenance or {}).get("modules")
            read = read_files(commit, modules if not result.outcome.problems else None)
            (out / READ).write_text(json.dumps(read, indent=1), encoding="utf-8")
            entry = self.group / digest(read)
            try:
                out.rename(entry)
            except OSError:
                if not (entry / READ).is_file():  # else another process has made it meanwhile
                    raise
            self.entries.append((read, entry))
            return read_captured(entry)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def digest(value: Any) -> str:
    """A short hash of a JSON value."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]


def inputs(case: Case, library: Path) -> dict[str, str]:
    """The hash of every file of a case's model and of its Prism artifacts."""
    folders = (case.model_path(library), case.prism_path(library))
    return {
        f"{folder.name}/{name}": value
        for folder in folders
        if folder.is_dir()
        for name, value in file_hashes(folder).items()
    }


def read_files(commit: Commit, modules: Mapping[str, Any] | None) -> dict[str, str | None]:
    """Each file with its blob, None where only its presence decides; all blobs where not every case ran to its end."""
    return {
        file: blob if modules is None or file in modules or not file.endswith(".py") else None
        for file, blob in commit.files.items()
    }


def read_captured(folder: Path) -> Captured:
    """A capture of the cache."""
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    problems = {name: case["problem"] for name, case in record["cases"].items() if case["problem"]}
    return Captured(folder, problems)


@cache
def versions(python: Path) -> Any:
    """Python and the libraries of an interpreter; raises SpecError where it cannot be started."""
    try:
        ended = subprocess.run(
            [str(python.absolute()), "-c", VERSIONS], capture_output=True, text=True, check=True
        )
        return json.loads(ended.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise SpecError(f"--python: cannot start {python}: {error}; give an interpreter") from error
