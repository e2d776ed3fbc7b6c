"""Mutation testing: which tests run first on a mutant, and which measurements of tests stand in a later call."""

from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
FUNCTION, OTHER = ("a.py", "a.py::f"), ("a.py", "a.py::g")
TESTS = ["slow", "quick", "third"]
SECONDS = {"slow": 1.0, "quick": 0.1, "third": 0.5}


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import mutation_order

    return mutation_order


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import mutation_measured

    return mutation_measured


def test_tests_that_failed_for_their_time_come_first(order: ModuleType) -> None:
    experience = order.Experience(lambda file, test: 0.0)

    def of(scopes: tuple[str, str], earlier: str = "") -> list[str]:
        ordered: list[str] = experience.order(scopes, TESTS, SECONDS.__getitem__, earlier)
        return ordered

    assert of(FUNCTION) == ["quick", "third", "slow"]
    assert of(FUNCTION, "slow") == ["slow", "quick", "third"]
    for _ in range(20):
        experience.add(FUNCTION, ["quick", "slow"], "slow")
    assert of(FUNCTION) == ["slow", "third", "quick"]
    assert of(OTHER) == ["slow", "third", "quick"], "of the same module"
    assert of(("b.py", "b.py::f")) == ["quick", "third", "slow"]
    for _ in range(20):
        experience.add(OTHER, ["slow"], "")
    assert of(OTHER)[-1] == "slow"
    assert of(FUNCTION)[0] == "slow"


def test_tests_that_execute_much_of_the_file_and_little_else_come_first(order: ModuleType) -> None:
    closeness = order.Closeness(
        {
            "third": {"a.py": 10},
            "slow": {"a.py": 10, "b.py": 10},
            "quick": {"a.py": 1, "b.py": 9},
        }
    )
    assert [closeness("a.py", test) for test in TESTS] == pytest.approx([0.5, 0.01, 1.0])
    assert [closeness("b.py", test) for test in TESTS] == pytest.approx([0.5, 0.81, 0.0])
    assert closeness("c.py", "slow") == 0.0

    experience = order.Experience(closeness)
    equal = dict.fromkeys(TESTS, 0.5).__getitem__
    assert experience.order(FUNCTION, TESTS, equal, "") == ["third", "slow", "quick"]
    assert experience.order(("b.py", "b.py::f"), TESTS, equal, "") == ["quick", "slow", "third"]
    for _ in range(20):
        experience.add(FUNCTION, ["third"], "")
    assert experience.order(FUNCTION, TESTS, equal, "") == ["slow", "quick", "third"]


def test_a_measurement_stands_until_a_file_changes(measured: ModuleType, tmp_path: Path) -> None:
    files = {
        "tests/test_a.py": "a",
        "tests/test_b.py": "b",
        "tests/conftest.py": "",
        "spec/x.py": "",
        "README.md": "",
    }
    for name, text in files.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)

    def store() -> "measured.Store":  # type: ignore[name-defined]
        return measured.Store(tmp_path / "tree", tmp_path / "coverage.json")

    first = store()
    for test in ("tests/test_a.py::test", "tests/test_b.py::test"):
        assert not first.stands(test)
        one = measured.Measured(first.file_digest(test), 0.5, True)
        for line in (3, 1, 70):
            one.add("spec/x.py", line)
        first.contexts[test] = one
    first.write()

    (tmp_path / "tree/tests/test_b.py").write_text("changed")
    (tmp_path / "tree/README.md").write_text("changed")
    again = store()
    assert again.stands("tests/test_a.py::test")
    assert not again.stands("tests/test_b.py::test")
    assert again.contexts["tests/test_a.py::test"] == first.contexts["tests/test_a.py::test"]
    assert list(again.contexts["tests/test_a.py::test"].places()) == [
        ("spec/x.py", 1),
        ("spec/x.py", 3),
        ("spec/x.py", 70),
    ]
    for changed in ("tests/conftest.py", "spec/x.py"):
        (tmp_path / "tree" / changed).write_text("changed")
        assert store().contexts == {}
        (tmp_path / "tree" / changed).write_text("")
