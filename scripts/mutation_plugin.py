"""pytest plugin of mutation_test.sh: what a shared fixture calls is covered by every test that uses the fixture.

Such a fixture runs once, so without this only its first user would be run on the mutants of what it calls.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from mutmut.state import state


class SharedCover:
    def __init__(self) -> None:
        self.called: dict[Any, set[str]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        hits = state()._stats
        before = set(hits)
        hits.clear()
        try:
            return (yield)
        finally:
            self.called[fixturedef] = set(hits)
            hits |= before

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: Any) -> None:
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for definition in definitions:
                state()._stats.update(self.called.get(definition, ()))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SharedCover())
