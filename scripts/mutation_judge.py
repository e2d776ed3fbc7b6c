"""Run the tests once under coverage, then each mutant in a fork of the same warm process. mutation_test.sh calls it.

python scripts/mutation_judge.py --tree COPY --results FOLDER [--minutes N] [--survivors] [module or room …]
COPY is a copy of the repository, in which a mutant may do harm. FOLDER takes one JSON file a module.

Importing torch and the bridge takes ten seconds, so a tool that starts a process for each mutant needs days for 20,000.
mutmut's own runner forks, but it chooses tests by function and collects them anew in each fork. Here a mutant is judged
by the tests that execute its statement, in the process that has collected them: the fork compiles the file with the
fault and puts the code into the live function, so that nothing is imported again. Those tests run in the order of
mutation_order.py until one fails or three seconds of tests have passed; with --survivors a minute.
"""

import argparse
import gc
import importlib
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import FunctionType

import pytest
from mutation_coverage import Measurement, clear_caches
from mutation_faults import ROOTS, file_mutants, mutated_files
from mutation_forks import Forks, Live
from mutation_measured import Store
from mutation_results import DEAD, Results
from mutation_table import REASONS, read_reasons

TESTS = ("tests/unit", "tests/property", "tests/harness", "tests/golden/test_in_process.py")
SECONDS_A_MUTANT, SECONDS_A_SURVIVOR = 3.0, 60.0  # of tests, at first and with --survivors
LEFT_OUT = (
    "tests/unit/test_imports.py",  # reads the sources, not the functions
    "tests/harness/test_accidents.py",  # this and the following start processes, each of which imports torch
    "tests/harness/test_external.py",
    "tests/harness/test_killed.py",
    "tests/harness/test_wheel.py",
    "tests/harness/test_fuzz_families.py",
    "tests/harness/test_history.py",
    "tests/harness/test_matrix.py",
)
DESELECTED = (  # two threads at work, which do not survive a fork
    "tests/unit/test_determinism.py::test_the_number_of_threads_changes_nothing_beyond_tolerance",
    "tests/unit/test_tuned.py::test_every_layer_is_solved_whatever_number_of_threads_was_set",
)


class Loop:
    """pytest plugin: its loop over the tests measures them and judges the mutants, a line a module."""

    def __init__(self, measurement: Measurement, options: argparse.Namespace) -> None:
        self.measurement = measurement
        self.options = options

    @pytest.hookimpl
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Failed("the tests cannot be collected")
        begun = time.monotonic()
        tree = self.options.tree
        import_all(tree)
        store = Store(tree, tree.parent / "coverage.json")
        covering = self.measurement.run(session.items, store)
        session.config.pluginmanager.unregister(self.measurement)
        taken = time.monotonic() - begun
        print(f"\n{len(covering.items)} of {len(session.items)} tests judge; {taken:.0f} s")

        deadline = time.monotonic() + 60 * self.options.minutes
        budget = self.options.seconds
        explained = {} if self.options.modules else read_reasons(REASONS)
        forks = Forks(tree, covering, live_functions(tree), budget, deadline, explained)
        session.config.pluginmanager.register(forks)
        clear_caches()
        gc.collect()
        gc.freeze()
        self.judge(forks, deadline)
        return True

    def judge(self, forks: Forks, deadline: float) -> None:
        """Judge module by module."""
        tree = self.options.tree
        for path in mutated_files(tree, self.options.modules):
            begun = time.monotonic()
            mutants = list(file_mutants(path, (tree / path).read_text(encoding="utf-8")))
            if not mutants:
                continue
            stored = self.options.results / f"{mutants[0].module}.json"
            results = Results(stored, tree / path, mutants, self.kept)
            forks.judge(results, self.options.part)
            print(f"{results.summary()}  {time.monotonic() - begun:.0f} s", flush=True)
            if time.monotonic() > deadline:
                print("stopped by --minutes; the same command goes on", flush=True)
                return

    def kept(self, status: str) -> bool:
        """Whether an earlier verdict stands."""
        return status in DEAD if self.options.survivors else not self.options.modules


def import_all(tree: Path) -> None:
    """Import every module of the project, so that all its functions and caches are alive."""
    for root in ROOTS:
        for path in sorted((tree / root).rglob("*.py")):
            if path.name != "__main__.py":
                parts = path.relative_to(tree).with_suffix("").parts
                importlib.import_module(".".join(parts).removesuffix(".__init__"))
    gc.unfreeze()  # gc.get_objects() leaves out what is frozen, as conftest.py freezes what was collected


def live_functions(tree: Path) -> Live:
    """The functions of the project that are alive."""
    live: Live = defaultdict(list)
    for one in gc.get_objects():
        if type(one) is FunctionType:
            path = Path(one.__code__.co_filename)
            if path.is_relative_to(tree):
                live[path.relative_to(tree).as_posix(), one.__code__.co_qualname].append(one)
    return live


def part(text: str) -> tuple[int, int]:
    """`K/N`: of every N mutants the K-th; raises ValueError where it is none."""
    number, _, count = text.partition("/")
    if not 1 <= int(number) <= int(count):
        raise ValueError(text)
    return int(number), int(count)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Judge the mutants of a copy of the project.")
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--seconds", type=float, metavar="N", help="of tests a mutant")
    parser.add_argument("--part", type=part, default=(1, 1), metavar="K/N")
    parser.add_argument("--tests", nargs="+", default=TESTS)
    parser.add_argument("modules", nargs="*", metavar="module")
    options = parser.parse_args(arguments)
    if options.seconds is None:
        options.seconds = SECONDS_A_SURVIVOR if options.survivors else SECONDS_A_MUTANT
    return options


def main() -> int:
    options = parse_arguments(sys.argv[1:])
    options.tree = options.tree.resolve()
    options.results = options.results.resolve()
    options.results.mkdir(parents=True, exist_ok=True)
    (options.tree.parent / "forks").mkdir(exist_ok=True)
    os.chdir(options.tree)
    sys.path.insert(0, str(options.tree))
    measurement = Measurement(options.tree)
    measurement.start()
    arguments = [
        *options.tests,
        *(f"--ignore={path}" for path in LEFT_OUT),
        *(f"--deselect={test}" for test in DESELECTED),
        "-qq",
        "--assert=plain",
        "--hypothesis-profile=quick",
        f"--basetemp={options.tree.parent / 'forks' / 'measured'}",
        *("-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist"),
    ]
    return int(pytest.main(arguments, plugins=[measurement, Loop(measurement, options)]))


if __name__ == "__main__":
    sys.exit(main())
