"""Which tests judge a mutant: those that execute its statement, measured by coverage in one run without faults."""

import gc
import resource
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

import coverage
import pytest
from mutation_faults import ROOTS, Mutant
from mutation_measured import Measured, Store
from mutation_order import Closeness

SLOWEST_TEST = 6.0  # seconds of processor time; a slower one judges nothing
IMPORT = "import"
Place = tuple[str, int]  # a file and a line of it


class Measurement:
    """pytest plugin: runs every test once, and notes the lines that it and each shared fixture execute."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        include = [f"{tree / root}/*" for root in ROOTS]
        self.coverage = coverage.Coverage(data_file=None, config_file=False, include=include)
        self.contexts: list[str] = []
        self.seconds: dict[str, float] = defaultdict(float)  # of tests and of shared fixtures
        self.failed = False

    def start(self) -> None:
        """Begin, before anything of the project is imported."""
        self.coverage.start()
        self.enter(IMPORT)

    def enter(self, context: str) -> None:
        self.contexts.append(context)
        self.coverage.switch_context(context)

    def leave(self) -> None:
        self.contexts.pop()
        self.coverage.switch_context(self.contexts[-1])

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """Lines of a shared fixture count for every test that uses it."""
        if fixturedef.scope == "function":
            return (yield)
        name, outer = fixture_name(fixturedef), self.contexts[-1]
        self.enter(name)
        begun = spent()
        try:
            return (yield)
        finally:
            self.leave()
            taken = spent() - begun
            self.seconds[name] += taken
            self.seconds[outer] -= taken

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed
        if report.failed:
            print(f"\nfails without a fault: {report.nodeid}\n{report.longreprtext}", flush=True)

    def run(self, items: Sequence[pytest.Item], store: Store) -> "Covering":
        """Run the tests that are not in the store; those that fail without a fault or are too slow judge nothing."""
        todo = [item for item in items if not store.stands(item.nodeid)]
        todo = [*warming(items, todo, store), *todo]
        failed = set()
        for number, item in enumerate(todo):
            clear_caches()
            self.failed = False
            self.enter(item.nodeid)
            begun = spent()
            run_test(item, todo[(number + 1) % len(todo)])
            self.seconds[item.nodeid] += spent() - begun
            self.leave()
            if self.failed:
                failed.add(item.nodeid)
        self.coverage.stop()

        fresh: dict[str, Measured] = defaultdict(Measured)
        for context, place in read_places(self.coverage.get_data(), self.tree):
            fresh[context].add(*place)
        for item in todo:
            one = fresh[item.nodeid]
            one.digest = store.file_digest(item.nodeid)
            one.judges = item.nodeid not in failed and self.seconds[item.nodeid] <= SLOWEST_TEST
        for context, seconds in self.seconds.items():
            fresh[context].seconds = seconds
        store.contexts |= fresh
        store.write()
        return Covering([item for item in items if store.contexts[item.nodeid].judges], store)


class Covering:
    """The tests that execute a statement, and the shared fixtures to make anew for it."""

    def __init__(self, items: Sequence[pytest.Item], store: Store) -> None:
        self.items = {item.nodeid: item for item in items}
        self.seconds = {context: one.seconds for context, one in store.contexts.items()}
        self.definitions, users = fixtures_of(items)
        self.used: dict[str, set[str]] = defaultdict(set)
        for fixture, tests in users.items():
            for test in tests:
                self.used[test].add(fixture)
        self.tests: dict[Place, set[str]] = defaultdict(set)
        self.fixtures: dict[Place, set[str]] = defaultdict(set)
        self.ended = {  # at the end of a module, so that a test in a fork makes it anew
            name for name, one in self.definitions.items() if one.scope in ("class", "module")
        }
        self.imported = set(store.contexts[IMPORT].places())
        self.closeness = Closeness({test: store.contexts[test].counts() for test in self.items})
        for context, measured in store.contexts.items():
            for place in measured.places():
                if context in self.definitions:
                    self.fixtures[place].add(context)
                    self.tests[place] |= users[context]
                elif context in self.items:
                    self.tests[place].add(context)

    def of(self, mutant: Mutant) -> list[str]:
        """Identifiers of the tests that execute the statement, by name."""
        names: set[str] = set()
        for place in places_of(mutant):
            names |= self.tests.get(place, set())
        return sorted(names & self.items.keys())

    def made_anew(self, mutant: Mutant) -> set[str]:
        """The fixtures that a fork has to make: those that the fault makes stale, and those that have ended."""
        return self.stale_fixtures(mutant) | self.ended

    def cost(self, test: str, stale: Set[str]) -> float:
        """Seconds of a test and of the fixtures that it needs anew."""
        return self.seconds[test] + sum(
            self.seconds.get(name, 0) for name in self.used[test] & stale
        )

    def within(self, mutant: Mutant, tests: Sequence[str], budget: float) -> list[str]:
        """As many of the tests as the budget in seconds allows, at least one; a shared fixture is made once."""
        chosen: list[str] = []
        stale, total = self.made_anew(mutant), 0.0
        for test in tests:
            total += self.cost(test, stale)
            if chosen and total > budget:
                break
            chosen.append(test)
            stale -= self.used[test]
        return chosen

    def is_imported(self, mutant: Mutant) -> bool:
        """Whether an import executes the statement."""
        return any(place in self.imported for place in places_of(mutant))

    def stale_fixtures(self, mutant: Mutant) -> set[str]:
        """Shared fixtures that executed the statement, and those made from them."""
        stale: set[str] = set()
        for place in places_of(mutant):
            stale |= self.fixtures.get(place, set())
        size = -1
        while len(stale) > size:
            size = len(stale)
            names = {self.definitions[fixture].argname for fixture in stale}
            stale |= {
                fixture
                for fixture, definition in self.definitions.items()
                if definition.scope != "function" and names & {*definition.argnames}
            }
        return stale

    def renew_fixtures(self, mutant: Mutant) -> None:
        """Forget the values of the stale fixtures, so that a test makes them with the fault."""
        for fixture in self.stale_fixtures(mutant):
            self.definitions[fixture].cached_result = None
            self.definitions[
                fixture
            ]._finalizers.clear()  # pytest refuses to make one that has some


def spent() -> float:
    """Seconds of processor time of this process and those it started, so that other work does not count."""
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + started.ru_utime + started.ru_stime


def run_test(item: pytest.Item, following: pytest.Item) -> None:
    """Run a test by pytest's protocol; what `following` shares with it stays."""
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def fixture_name(definition: Any) -> str:
    """A name for the context of a fixture."""
    return f"fixture {definition.baseid}::{definition.argname}"


def fixtures_of(items: Sequence[Any]) -> tuple[dict[str, Any], dict[str, set[str]]]:
    """The fixtures of the tests by name, and the tests that use each."""
    definitions: dict[str, Any] = {}
    users: dict[str, set[str]] = defaultdict(set)
    for item in items:
        for of_one_name in item._fixtureinfo.name2fixturedefs.values():
            for definition in of_one_name:
                definitions[fixture_name(definition)] = definition
                users[fixture_name(definition)].add(item.nodeid)
    return definitions, users


def places_of(mutant: Mutant) -> Iterator[Place]:
    """File and line of each line of the statement."""
    for line in range(mutant.statement.first, mutant.statement.last + 1):
        yield mutant.path, line


def read_places(data: coverage.CoverageData, tree: Path) -> Iterator[tuple[str, Place]]:
    """Yield each context that coverage measured with the places that it executes."""
    for path in data.measured_files():
        relative = Path(path).relative_to(tree).as_posix()
        for line, contexts in data.contexts_by_lineno(path).items():
            for context in contexts:
                yield context, (relative, line)


def warming(
    items: Sequence[pytest.Item], todo: Sequence[pytest.Item], store: Store
) -> list[pytest.Item]:
    """Tests that stand in the store and are run all the same: the quickest of each file and of each shared fixture."""
    running = {item.nodeid for item in todo}
    by_name = {item.nodeid: item for item in items}
    _, groups = fixtures_of(items)
    for item in items:
        groups.setdefault(str(item.path), set()).add(item.nodeid)
    chosen: set[str] = set()
    for tests in groups.values():
        if not tests & (running | chosen):
            chosen.add(min(tests, key=lambda test: store.contexts[test].seconds))
    return [by_name[name] for name in by_name if name in chosen]


def clear_caches() -> None:
    """Empty the project's functools caches, so that each test calls what it uses."""
    if not CACHES:
        CACHES.extend(one for one in gc.get_objects() if is_cache(one))
    for one in CACHES:
        one.cache_clear()


CACHES: list[Any] = []


def is_cache(one: Any) -> bool:
    """Whether an object is a cached function of the project."""
    if type(one) is not _lru_cache_wrapper:
        return False
    return one.__module__.startswith(("lenses_min", "spec"))
