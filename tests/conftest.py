"""Shared fixtures: the tiny models of golden/ and one finished run to look at."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from jaxtyping import install_import_hook

import lenses_min.options  # checks its own values, so it stays outside the hook
from tests.process_state import differences, process_state

ROOT = Path(__file__).parents[1]
# The modules whose annotations have shapes; they are checked in every test, which costs time at every call.
SHAPED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted(ROOT.glob("lenses_min/**/*.py"))
    if "from jaxtyping import" in path.read_text(encoding="utf-8")
]
with install_import_hook(SHAPED, "beartype.beartype"):
    import lenses_min.pipeline
    import lenses_min.pipeline.passes
    import lenses_min.prompts.suite

GOLDEN = ROOT / "golden"


@pytest.fixture(autouse=True)
def process_as_found() -> Iterator[None]:
    """Every test leaves the process as it found it, so that none depends on those before it."""
    before = process_state()
    yield
    assert differences(before, process_state()) == []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first, in the order drawn, where processes share the suite: else one waits at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """What the libraries have made lasts as long as the process: no test looks for garbage among it."""
    gc.freeze()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The seed of the order, which -q hides with the header where pytest-randomly would print it."""
    if (seed := config.getoption("randomly_seed", None)) is not None:
        terminalreporter.write_line(f"order of the tests: --randomly-seed={seed}")


@pytest.fixture(scope="session")
def models() -> Path:
    return GOLDEN / "models"


@pytest.fixture(scope="session")
def fact_options(models: Path) -> "lenses_min.RunOptions":
    return lenses_min.RunOptions(
        str(models / "fact"), model_id="tiny/Fact", device="cpu", prism="off"
    )


@pytest.fixture(scope="session")
def fact_run(fact_options: "lenses_min.RunOptions") -> "lenses_min.output.run.Run":
    return lenses_min.pipeline.run(fact_options)


@pytest.fixture(scope="session")
def fact_model(fact_options: "lenses_min.RunOptions") -> "lenses_min.model.load.LoadedModel":
    return lenses_min.model.load.load(fact_options)


@pytest.fixture(scope="session")
def sweep(
    fact_model: "lenses_min.model.load.LoadedModel",
) -> "Callable[[lenses_min.RunOptions], list[Any]]":
    """All of every pass over `fact`, as the stages between forward and files see it."""

    def run(options: "lenses_min.RunOptions") -> list[Any]:
        lenses, _ = lenses_min.pipeline.build_lenses(fact_model, options)
        suite = (
            lenses_min.prompts.suite.read_suite(Path(options.prompts))
            if options.prompts
            else lenses_min.prompts.suite.built_in()
        )
        return lenses_min.pipeline.passes.PassRunner(fact_model, lenses, suite, options).run()

    return run


@pytest.fixture
def cpu_of_16_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a model runs depends on this, and not on the devices and the free memory of the machine that tests."""
    monkeypatch.setattr(lenses_min.model.placement, "available", lambda device: device == "cpu")
    monkeypatch.setattr(
        lenses_min.model.placement, "free_memory", lambda device: {device: 16 * 2**30}
    )


OWN = """
passes:
  - {id: be, context: The capital of Germany is called simply, answer: Berlin, records: true}
  - {id: pa, context: The capital of France is called simply, answer: Paris, control: be/orig}
  - id: long
    variant: tail
    context: "Give the city name only, plain text. The capital of France is"
    answer: called simply Paris
  - {id: none, context: The, answer: "\u5317"}
  - {id: two, context: The capital of Italy is called simply, answer: Rome is, records: true}
test_prompts: [Berlin is the capital of]
keywords: [Capital]
"""


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "own.yaml"
    path.write_text(OWN, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="session")
def own_run(fact_options: "lenses_min.RunOptions", own: str) -> "lenses_min.output.run.Run":
    return lenses_min.pipeline.run(
        replace(fact_options, prompts=own, lenses=("final", "raw"), batch_size=3)
    )


EVIL = (
    *(
        "<img src=x onerror=alert(1)>",
        "</script><script>alert(2)</script>",
        "<a href='javascript:alert(3)'>x</a>",
    ),
    *(
        "<b>bold</b>",
        "&amp;",
        "&#60;i&#62;",
        "%{y}",
        "$x^2$",
        "{{ 7 * 7 }}",
        "[bold]x",
        "\x1b[31m",
        "\u202eabc",
    ),
    *(
        " \n",
        "\r",
        "",
        "\u200b",
        "\u0301",
        "\ufffd",
        "\0",
        "شيء",
        "北京",
        "👩\u200d👧",
        "__proto__",
    ),
)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved run with four lenses whose every text is meant to do harm."""
    run, evil = lenses_min.load(GOLDEN / "corrected" / "fact-prism"), cycle(EVIL)

    def harmed(row: Any) -> Any:
        return replace(row, token=next(evil), top=tuple((next(evil), p) for _, p in row.top))

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poisoned(one) for key, one in value.items()}
        if isinstance(value, list):
            return [poisoned(one) for one in value]
        return (
            value + EVIL[0] + EVIL[1] if isinstance(value, str) and value != "corrected" else value
        )

    tables = {
        key: list(map(harmed, rows)) if key[0] != "agreement" else rows
        for key, rows in run.tables.items()
    }
    manifest = {
        "warnings": [f"R1: {EVIL[0]}"],
        "options": {EVIL[0]: EVIL[1]},
        "versions": {"torch": EVIL[2]},
    }
    folder = tmp_path_factory.mktemp("hostile")
    replace(
        run, name="<i>x", tables=tables, document=poisoned(run.document), manifest=manifest
    ).save(folder)
    return folder


settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(  # of scripts/mutation_test.sh: a failure need not be made small
    "quick",
    settings.get_profile("repeatable"),
    max_examples=30,
    phases=[Phase.explicit, Phase.generate],
)
settings.register_profile(  # of scripts/run_nightly.sh: fresh examples every time
    "nightly",
    settings.get_profile("repeatable"),
    derandomize=False,
    max_examples=1000,
    print_blob=True,
)
settings.load_profile("repeatable")
