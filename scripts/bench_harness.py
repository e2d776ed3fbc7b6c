"""What the harness itself costs, as ratios to what it cannot do without.

    python scripts/bench_harness.py [A B] [--rounds N] [--check]

A and B are the directories of two runs of one model, by default copies of a golden run enlarged to a million values.

    equal bytes   diff of A and B over the time in which csv.reader reads the tables of both
    rounded       diff of A and a copy whose every float is off by a millionth, over the same
    schema        what validates A, over the time in which csv.reader reads its tables
    check         with --check: `spec check` of all cases over the lean runner alone

Each subject runs untimed first, then once per round, in turn; printed are the medians of the ratios.
"""

import argparse
import csv
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from spec.compare.diff import diff
from spec.compare.tolerance import FP32
from spec.golden import GOLDEN, load_cases
from spec.runners.command import run_command
from spec.runs.run import read_run
from spec.schema.validate import validate

CASE, COPIES = "fact", 450
FLOAT = re.compile(r"(?<=,)\d+\.\d+(?:e-\d+)?(?=[,\n])")
Subject = Callable[[], object]


def main() -> int:
    options = parse_arguments(sys.argv[1:])
    with tempfile.TemporaryDirectory() as scratch:
        a, b = options.runs or (enlarged(Path(scratch) / name) for name in ("a", "b"))
        other = rounded(a, Path(scratch) / "rounded")
        subjects: dict[str, Subject] = {
            "both read": lambda: read_by_csv([a, b]),
            "one read": lambda: read_by_csv([a]),
            "equal bytes": lambda: diff((a, b), (None, None), FP32),
            "rounded": lambda: diff((a, other), (None, None), FP32),
            "schema": lambda: validate(read_run(a)),
        }
        seconds = measure(subjects, options.rounds)
        values = diff((a, b), (None, None), FP32).compared
    print(f"{values:,} values, csv.reader reads both runs in {median(seconds['both read']):.3f} s")
    for name, base in (
        ("equal bytes", "both read"),
        ("rounded", "both read"),
        ("schema", "one read"),
    ):
        print(f"{name:12} {ratio(seconds[name], seconds[base]):5.1f}")
    if options.check:
        checks = measure({"check": check, "runner": runner}, options.rounds)
        print(f"{'check':12} {ratio(checks['check'], checks['runner']):5.2f}")
    return 0


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure comparison, schema and check as ratios.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="DIR", help="two runs of one model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    if len(options.runs) not in (0, 2):
        parser.error(f"give two directories or none, got {len(options.runs)}")
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    return options


def measure(subjects: Mapping[str, Subject], rounds: int) -> dict[str, list[float]]:
    """Seconds of each subject in each round; the first call of each is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for subject in subjects.values():
        subject()
    for _ in range(rounds):
        for name, subject in subjects.items():
            begun = time.perf_counter()
            subject()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def ratio(seconds: Sequence[float], base: Sequence[float]) -> float:
    """The median ratio of two subjects, round by round."""
    return median(a / b for a, b in zip(seconds, base, strict=True))


def read_by_csv(folders: Sequence[Path]) -> int:
    """Read every table with csv.reader, as far as it can, and count the cells."""
    count = 0
    for path in (path for folder in folders for path in sorted(folder.glob("*.csv"))):
        with path.open(newline="", encoding="utf-8") as stream:
            count += sum(map(len, csv.reader(stream)))
    return count


def enlarged(folder: Path) -> Path:
    """A golden run whose tables have their rows `COPIES` times, each copy at further positions."""
    folder.mkdir()
    for path in sorted((GOLDEN / "outputs" / CASE).iterdir()):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            header, *rows = text.splitlines(keepends=True)
            at = header.split(",").index("pos")
            copies = (moved(row, at, copy) for copy in range(COPIES) for row in rows)
            text = "".join([header, *copies])
        (folder / path.name).write_text(text, encoding="utf-8")
    return folder


def moved(row: str, column: int, copy: int) -> str:
    """A row at another position; the cells up to `pos` hold no comma."""
    cells = row.split(",")
    cells[column] = str(int(cells[column]) + 1000 * copy)
    return ",".join(cells)


def rounded(source: Path, folder: Path) -> Path:
    """A copy of a run in which every float of a table is off by up to a millionth of itself."""
    folder.mkdir()
    numbers = random.Random(0)
    for path in sorted(source.iterdir()):
        content = path.read_bytes()
        if path.suffix == ".csv":
            content = FLOAT.sub(lambda match: off(match, numbers), content.decode()).encode()
        (folder / path.name).write_bytes(content)
    return folder


def off(number: re.Match[str], numbers: random.Random) -> str:
    return repr(float(number[0]) * (1 + numbers.uniform(-1e-6, 1e-6)))


def check() -> None:
    """`spec check` of every case, its own process and the runner's."""
    subprocess.run(
        [sys.executable, "-m", "spec", "check"],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ,
    )


def runner() -> None:
    """The lean runner on every case, without a comparison."""
    cases = list(load_cases().values())
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        folders = {case.name: work / case.name for case in cases}
        outcome = run_command(None, cases, GOLDEN, folders, work)
    if outcome.problem:
        raise SystemExit(outcome.problem)


if __name__ == "__main__":
    sys.exit(main())
