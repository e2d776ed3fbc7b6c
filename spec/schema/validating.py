"""validate: check runs against the schema, one verdict for each."""

from dataclasses import dataclass
from pathlib import Path

from ..runs.run import read_run
from .layout import judge_run
from .rules import Violation


@dataclass(frozen=True)
class Validation:
    """One run: its folder, its name, how many files were read, the rules it breaks.

    `further` is what it has beyond the contract, in one line."""

    folder: Path
    file_stem: str
    files: int
    violations: tuple[Violation, ...]
    further: str = ""

    def __post_init__(self) -> None:
        if self.files < 0:
            raise ValueError(f"a run has ≥ 0 files, got {self.files}; count what was read")

    @property
    def valid(self) -> bool:
        return not self.violations


def judge(folder: Path, file_stem: str) -> Validation:
    """Read one run and check it against the schema."""
    run = read_run(folder, file_stem)
    judged = judge_run(run)
    return Validation(folder, file_stem, len(run.files), judged.violations, judged.sentence)
