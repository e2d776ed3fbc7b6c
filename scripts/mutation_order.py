"""In which order the tests of a mutant run: those first that are likely to fail for a second that they take."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

UNKNOWN = 0.1  # the share of faults that a test fails on, before anything is known of it
WEIGHT = (
    2.0  # how many runs that share counts for, and a test's share in the module for one function
)
OVERHEAD = 0.01  # seconds that pytest needs for any test

Scopes = tuple[str, ...]  # where a mutant is, the widest first: its module, its function


class Experience:
    """How often each test has run on faults of a function and of a module, and how often it failed."""

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, str]] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()

    def add(self, scopes: Scopes, tests: Iterable[str], killer: str) -> None:
        """Note the tests that were run on a mutant, and the one that failed, or an empty text."""
        known = list(tests)
        for scope in scopes:
            self.runs.update((scope, test) for test in known)
            if killer:
                self.failures[scope, killer] += 1

    def chance(self, scopes: Scopes, test: str) -> float:
        """An estimate of how likely a test fails: its share in the module, and from there in the function."""
        chance = UNKNOWN
        for scope in scopes:
            failures = self.failures[scope, test] + WEIGHT * chance
            chance = failures / (self.runs[scope, test] + WEIGHT)
        return chance

    def order(
        self, scopes: Scopes, tests: Sequence[str], cost: Callable[[str], float], earlier: str
    ) -> list[str]:
        """The tests by their chance for a second of cost; `earlier`, which has killed this very mutant, first."""

        def key(test: str) -> tuple[bool, float]:
            return test != earlier, -self.chance(scopes, test) / (OVERHEAD + cost(test))

        return sorted(tests, key=key)
