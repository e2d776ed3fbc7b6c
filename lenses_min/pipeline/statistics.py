"""Results of passes → the statistics of a battery: rows of a table, and how they are made."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..core.types import PassResult
from ..output.battery.control import is_battery
from ..output.battery.numbers import Numbers
from ..output.battery.table import battery_rows, settings
from ..prompts.suite import Prompt
from .controls import ControlAnswers

Tables = dict[tuple[str, str], list[Any]]


def statistics(
    passes: Sequence[PassResult], controls: ControlAnswers
) -> tuple[Tables, dict[str, Any]]:
    """The table and the block of the manifest; nothing where the passes are no battery."""
    prompts = [result.encoded.prompt for result in passes]
    return table_of(prompts, partial(controls.numbers, passes))


def table_of(
    prompts: Sequence[Prompt], numbers: Callable[[], Numbers]
) -> tuple[Tables, dict[str, Any]]:
    """The same of all prompts of a suite, whose numbers are read where they are a battery."""
    if not is_battery(prompts, any(prompt.tags for prompt in prompts)):
        return {}, {}
    return {("battery", "norm"): battery_rows(numbers())}, {"battery": settings()}
