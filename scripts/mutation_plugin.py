"""pytest plugin of mutation_test.sh: a test covers every function that its shared fixtures call.

A shared fixture runs once, so without this plugin only the first test that uses it would run on those mutants.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from mutmut.state import state


class SharedFixtureCoverage:
    def __init__(self) -> None:
        self.functions_called: dict[Any, set[str]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        hits = state()._stats
        before = set(hits)
        hits.clear()
        try:
            return (yield)
        finally:
            self.functions_called[fixturedef] = set(hits)
            hits |= before

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: Any) -> None:
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for definition in definitions:
                state()._stats.update(self.functions_called.get(definition, ()))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SharedFixtureCoverage())
