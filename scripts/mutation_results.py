"""The verdicts on mutants: one JSON file a module, which a later call goes on with."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mutation_faults import Mutant

KILLED = "killed"
TIMEOUT = "timeout"  # a test did not end within several times its usual duration
SURVIVED = "survived"
NO_TEST = "no test"  # no test executes the statement
ONLY_IMPORT = "import"  # only an import executes it
NOT_RUN = "not run"  # the fault cannot be put into the live function, or its fork waits for ever
DEAD = (KILLED, TIMEOUT)


@dataclass(frozen=True)
class Verdict:
    """The end of one mutant: its status, the test that failed, and how many of the tests that cover it were run."""

    status: str
    killer: str = ""
    tests: int = 0
    covering: int = 0


class Results:
    """The verdicts of one module by mutant. Those on another source, or not `kept`, leave only their killer."""

    def __init__(
        self, path: Path, source: Path, mutants: Sequence[Mutant], kept: Callable[[str], bool]
    ) -> None:
        self.path = path
        self.mutants = dict(zip(numbered([m.name for m in mutants]), mutants, strict=True))
        self.digest = sha256(source.read_bytes()).hexdigest()
        self.verdicts: dict[str, dict[str, Any]] = {}
        self.killers: dict[str, str] = {}
        if path.is_file():
            earlier = json.loads(path.read_text(encoding="utf-8"))
            killed = [(name, v) for name, v in earlier["verdicts"].items() if v["status"] == KILLED]
            self.killers = {name: verdict["killer"] for name, verdict in killed}
            if earlier["digest"] == self.digest:
                verdicts = earlier["verdicts"].items()
                self.verdicts = {name: one for name, one in verdicts if kept(one["status"])}

    def open(self, part: tuple[int, int]) -> dict[str, Mutant]:
        """The mutants without a verdict, of (K, N) the K-th of every N in the order of the source."""
        number, count = part
        chosen = list(self.mutants)[number - 1 :: count]
        return {name: self.mutants[name] for name in chosen if name not in self.verdicts}

    def killer(self, name: str) -> str:
        """The test that killed a mutant in an earlier call, or an empty text."""
        return self.killers.get(name, "")

    def add(self, name: str, verdict: Verdict) -> None:
        """Note a verdict; `write` keeps it."""
        self.verdicts[name] = asdict(verdict)

    def write(self) -> None:
        """Replace the file, mutants in the order of the source."""
        ordered = {name: self.verdicts[name] for name in self.mutants if name in self.verdicts}
        content = {"digest": self.digest, "mutants": len(self.mutants), "verdicts": ordered}
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=0, ensure_ascii=False), encoding="utf-8")
        partial.replace(self.path)

    def summary(self) -> str:
        """One line: the module, its mutants, and the share that was killed."""
        judged = len(self.verdicts)
        dead = sum(verdict["status"] in DEAD for verdict in self.verdicts.values())
        share = 100 * dead / max(1, judged)
        return (
            f"{self.path.stem:32} {judged:5} of {len(self.mutants):5} judged, {share:5.1f}% killed"
        )


def numbered(names: Sequence[str]) -> list[str]:
    """The same names, equal ones numbered ` #2`, ` #3`, …"""
    counts: dict[str, int] = defaultdict(int)
    result = []
    for name in names:
        counts[name] += 1
        result.append(name if counts[name] == 1 else f"{name} #{counts[name]}")
    return result
