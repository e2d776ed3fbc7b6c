"""What was measured of each test, kept in one JSON file: a later call measures only tests whose file has changed.

A change of any other file that tests read (`lenses_min/`, `spec/`, `golden/`, fixtures, pins) makes all of it void.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

Lines = dict[str, int]  # by file, a bit a line


@dataclass
class Measured:
    """A test or a shared fixture: the digest of its file, its seconds, whether it can judge, the lines it executes."""

    digest: str = ""
    seconds: float = 0.0
    judges: bool = False
    lines: Lines = field(default_factory=dict)

    def add(self, path: str, line: int) -> None:
        """Note one executed line."""
        self.lines[path] = self.lines.get(path, 0) | 1 << line

    def counts(self) -> dict[str, int]:
        """How many lines of each file are executed."""
        return {path: bits.bit_count() for path, bits in self.lines.items()}

    def places(self) -> Iterator[tuple[str, int]]:
        """Yield file and line of each executed line."""
        for path, bits in self.lines.items():
            for line in range(bits.bit_length()):
                if bits >> line & 1:
                    yield path, line


class Store:
    """The measurements by context (test, shared fixture or import) of one state of the project."""

    def __init__(self, tree: Path, path: Path) -> None:
        self.tree = tree
        self.path = path
        self.state = digest(path for path in sorted(tree.rglob("*")) if is_common(path, tree))
        self.contexts: dict[str, Measured] = {}
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["state"] == self.state:
                self.contexts = {name: read(one) for name, one in content["contexts"].items()}

    def stands(self, test: str) -> bool:
        """Whether the measurement of a test is of its file as it is."""
        return test in self.contexts and self.contexts[test].digest == self.file_digest(test)

    def file_digest(self, test: str) -> str:
        """The digest of the file of a test."""
        return digest([self.tree / test.partition("::")[0]])

    def write(self) -> None:
        """Replace the file."""
        contexts = {}
        for name, one in self.contexts.items():
            lines = {path: hex(bits) for path, bits in one.lines.items()}
            contexts[name] = asdict(one) | {"lines": lines}
        partial = self.path.with_suffix(".partial")
        content = {"state": self.state, "contexts": contexts}
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(self.path)


def read(content: dict[str, object]) -> Measured:
    """One measurement as `Store.write` writes it."""
    lines = content["lines"]
    assert isinstance(lines, dict)
    numbers = {path: int(bits, 16) for path, bits in lines.items()}
    return Measured(**(content | {"lines": numbers}))  # type: ignore[arg-type]


def is_common(path: Path, tree: Path) -> bool:
    """Whether the measurement of every test depends on a file."""
    parts = path.relative_to(tree).parts
    if not path.is_file() or path.suffix == ".pyc":
        return False
    if parts[0] == "tests":
        return not path.name.startswith("test_") and "__snapshots__" not in parts
    return parts[0] in ("lenses_min", "spec", "golden") or parts == ("constraints.txt",)


def digest(paths: Iterable[Path]) -> str:
    """One digest of the contents of files."""
    whole = sha256()
    for path in paths:
        whole.update(sha256(path.read_bytes()).digest())
    return whole.hexdigest()
