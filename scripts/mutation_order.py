"""In which order the tests of a mutant run: those first that are likely to fail for a second that they take."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

UNKNOWN = 0.1  # the share of faults that a test fails on, before anything is known of it
CLOSE = 0.5  # and how much more of those in a file of which it executes all lines, and no other's
WEIGHT = 2.0  # how many runs that share counts for, and a test's share in the file for one function
OVERHEAD = 0.01  # seconds that pytest needs for any test

Scopes = tuple[str, ...]  # where a mutant is, the widest first: its file, its function


class Closeness:
    """How close a test is to a file, 0 … 1: how much of the file it executes, and how little else.

    `lines` are the numbers of lines that each test executes, by file.
    """

    def __init__(self, lines: Mapping[str, Mapping[str, int]]) -> None:
        self.lines = lines
        self.most: Counter[str] = Counter()  # by file, of any test
        for counts in lines.values():
            self.most |= Counter(counts)

    def __call__(self, path: str, test: str) -> float:
        counts = self.lines[test]
        own = counts.get(path, 0)
        return own * own / max(1, self.most[path] * sum(counts.values()))


class Experience:
    """How often each test has run on faults of a function and of a file, and how often it failed."""

    def __init__(self, closeness: Callable[[str, str], float]) -> None:
        self.closeness = closeness
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
        """An estimate of how likely a test fails: its share in the file, and from there in the function."""
        chance = UNKNOWN + CLOSE * self.closeness(scopes[0], test)
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
