"""Shared fixtures: the tiny models of golden/ and one finished run to look at."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from jaxtyping import install_import_hook

import lenses_min.options  # checks its own values, so it stays outside the hook

with install_import_hook("lenses_min", "beartype.beartype"):  # shapes in annotations are checked in every test
    import lenses_min.pipeline

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def models() -> Path:
    return GOLDEN / "models"


@pytest.fixture(scope="session")
def fact_options(models: Path) -> "lenses_min.RunOptions":
    return lenses_min.RunOptions(str(models / "fact"), model_id="tiny/Fact", device="cpu", prism="off")


@pytest.fixture(scope="session")
def fact_run(fact_options: "lenses_min.RunOptions") -> "lenses_min.result.Run":
    return lenses_min.pipeline.run(fact_options)


@pytest.fixture(scope="session")
def fact_model(fact_options: "lenses_min.RunOptions") -> "lenses_min.loading.LoadedModel":
    return lenses_min.loading.load(fact_options)


settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(  # of scripts/mutation_test.sh: a failure need not be made small
    "quick", settings.get_profile("repeatable"), max_examples=30, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("repeatable")
