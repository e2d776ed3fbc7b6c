"""Judge mutants, each in a fork of the warm process: the fault is compiled and put into the live function."""

import os
import resource
import shutil
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType

import pytest
from mutation_coverage import Covering, run_test
from mutation_faults import Mutant
from mutation_order import Experience
from mutation_results import (
    KILLED,
    NO_TEST,
    NOT_RUN,
    ONLY_IMPORT,
    SURVIVED,
    TIMEOUT,
    Results,
    Verdict,
)

PROCESSES = 2
CONTROL_SECONDS = 120  # of a killer without a fault; one that hangs judges nothing
CANNOT_RUN = 3  # exit status of a fork whose fault cannot be put into place
Live = dict[tuple[str, str], list[FunctionType]]  # by file and qualified name


@dataclass(frozen=True)
class Fork:
    """A running fork: its mutant, its tests, the pipe of its answer, when it is killed, how many tests there are."""

    name: str
    mutant: Mutant
    tests: list[str]
    pipe: int
    end: float
    covering: int


class Forks:
    """pytest plugin: judges the open mutants of a module, `PROCESSES` at a time, until `deadline` (monotonic).

    A mutant that no test kills within `budget` seconds of tests, by their duration without a fault, has survived;
    so has one of the `explained`, which are not judged.
    """

    def __init__(
        self,
        tree: Path,
        covering: Covering,
        live: Live,
        budget: float,
        deadline: float,
        explained: Collection[str],
    ) -> None:
        self.tree = tree
        self.budget = budget
        self.covering = covering
        self.live = live
        self.deadline = deadline
        self.explained = explained
        self.failed = False
        self.experience = Experience(covering.closeness)
        self.trusted: set[str] = set()  # tests that pass in a fork without a fault
        self.running: dict[int, Fork] = {}

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed

    def judge(self, results: Results, part: tuple[int, int]) -> None:
        """Judge the mutants of a part that have no verdict; the results are written now and then."""
        written = time.monotonic()
        self.learn(results)
        for name, mutant in results.open(part).items():
            if time.monotonic() > self.deadline:
                break
            while len(self.running) >= PROCESSES:
                self.collect(results)
            self.start(name, mutant, results)
            if time.monotonic() > written + 30:
                results.write()
                written = time.monotonic()
        while self.running:
            self.collect(results)
        results.write()

    def learn(self, results: Results) -> None:
        """Take the killers of earlier verdicts into account."""
        for name, mutant in results.mutants.items():
            if killer := results.killer(name):
                self.experience.add(mutant.scopes, [killer], killer)

    def start(self, name: str, mutant: Mutant, results: Results) -> None:
        """Fork for one mutant, or settle it where it is explained or no test executes it."""
        if name in self.explained:
            results.add(name, Verdict(SURVIVED))
            return
        tests = self.covering.of(mutant)
        if not tests:
            imported = self.covering.is_imported(mutant)
            results.add(name, Verdict(ONLY_IMPORT if imported else NO_TEST))
            return
        chosen = self.choose(mutant, tests, results.killer(name))
        limit = 20 + 4 * sum(self.covering.seconds[test] for test in chosen)
        pipe, answer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(pipe)
            self.child(mutant, chosen, answer, limit)
        os.close(answer)
        end = time.monotonic() + 3 * limit
        self.running[pid] = Fork(name, mutant, chosen, pipe, end, len(tests))

    def choose(self, mutant: Mutant, tests: list[str], earlier: str) -> list[str]:
        """The likeliest killers for their time first, within the budget; `earlier` has killed this mutant before."""
        stale = self.covering.made_anew(mutant)
        ordered = self.experience.order(
            mutant.scopes, tests, lambda test: self.covering.cost(test, stale), earlier
        )
        return self.covering.within(mutant, ordered, self.budget)

    def child(self, mutant: Mutant, tests: list[str], answer: int, limit: float) -> None:
        """Run the tests on the mutant, and answer `number-of-tests name-of-the-killer`; never returns."""
        try:
            self.prepare(mutant, limit)
        except BaseException as error:
            os.write(answer, f"0 {type(error).__name__}: {error}"[:500].encode())
            os._exit(CANNOT_RUN)
        killer = self.first_failure(tests)
        run = tests.index(killer) + 1 if killer else len(tests)
        os.write(answer, f"{run} {killer}".encode())
        os._exit(1 if killer else 0)

    def prepare(self, mutant: Mutant, limit: float) -> None:
        """Put the fault into place, and give the fork its own streams, limits and folder."""
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
        config = next(iter(self.covering.items.values())).config
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        reporter._tw._file = os.fdopen(null, "w")  # type: ignore[union-attr]
        folder = folder_of(self.tree, os.getpid())
        folder.mkdir(parents=True)
        config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]
        put_into_place(mutant, self.live)
        self.covering.renew_fixtures(mutant)

    def first_failure(self, tests: list[str]) -> str:
        """The first test that fails, or nothing."""
        items = [self.covering.items[test] for test in tests]
        for item, following in zip(items, [*items[1:], items[0]], strict=True):
            self.failed = False
            try:
                run_test(item, following)
            except BaseException:  # a fault may raise what ends pytest
                self.failed = True
            if self.failed:
                return item.nodeid
        return ""

    def collect(self, results: Results) -> None:
        """Wait for the end of one fork, and note its verdict."""
        while True:
            for pid, fork in self.running.items():
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    self.settle(self.running.pop(pid), status, results)
                    shutil.rmtree(folder_of(self.tree, pid), ignore_errors=True)
                    return
                if time.monotonic() > fork.end:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)

    def is_trusted(self, killer: str, mutant: Mutant) -> bool:
        """Whether a test passes in a fork that is prepared in the same way and has no fault; else it judges nothing."""
        if killer in self.covering.items and killer not in self.trusted:
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    self.prepare(replace(mutant, source=original(self.tree, mutant)), 60)
                    status = 1 if self.first_failure([killer]) else 0
                finally:
                    os._exit(status)
            status = wait_for(pid, CONTROL_SECONDS)
            shutil.rmtree(folder_of(self.tree, pid), ignore_errors=True)
            if status:
                del self.covering.items[killer]
                print(
                    f"judges nothing, as it fails in a fork without a fault: {killer}", flush=True
                )
                return False
            self.trusted.add(killer)
        return killer in self.covering.items

    def settle(self, fork: Fork, status: int, results: Results) -> None:
        """Turn a fork's end into a verdict; where its killer cannot be trusted, judge the mutant again."""
        with os.fdopen(fork.pipe, "rb") as stream:
            number, _, text = stream.read().decode(errors="replace").partition(" ")
        code = os.waitstatus_to_exitcode(status)
        verdict = TIMEOUT if code < 0 else {0: SURVIVED, CANNOT_RUN: NOT_RUN}.get(code, KILLED)
        # it waited for ever, which may be the fork's doing and not the fault's
        if code == -signal.SIGKILL and time.monotonic() > fork.end:
            verdict = NOT_RUN
        if verdict == KILLED and not self.is_trusted(text, fork.mutant):
            self.start(fork.name, fork.mutant, results)
            return
        run = int(number or 0)
        results.add(fork.name, Verdict(verdict, text, run, fork.covering))
        killer = text if verdict == KILLED else ""
        self.experience.add(fork.mutant.scopes, fork.tests[:run], killer)


def put_into_place(mutant: Mutant, live: Live) -> None:
    """Give the live function, and the functions that it has made, the code with the fault.

    Raises LookupError where no such function is alive or closes over the same names.
    """
    codes = mutant.codes()
    inner = f"{mutant.function}.<locals>."
    replaced = False
    for (path, name), functions in live.items():
        if path != mutant.path or not (name == mutant.function or name.startswith(inner)):
            continue
        for function in functions:
            if name in codes and codes[name].co_freevars == function.__code__.co_freevars:
                function.__code__ = codes[name]
                replaced |= name == mutant.function
    if not replaced:
        raise LookupError(f"no live function {mutant.function} can take the fault")


def wait_for(pid: int, seconds: float) -> int:
    """The status of a process when it ends; one that takes longer is killed."""
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def original(tree: Path, mutant: Mutant) -> str:
    """The file of a mutant without the fault."""
    return (tree / mutant.path).read_text(encoding="utf-8")


def folder_of(tree: Path, pid: int) -> Path:
    """Where the tests of a fork write."""
    return tree.parent / "forks" / str(pid)
