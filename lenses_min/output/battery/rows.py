"""The typed rows of the statistics of a battery."""

from dataclasses import dataclass

from ...core.rows import Row


@dataclass(frozen=True)
class BatteryRow(Row):
    """An estimate over the passes of a group, under a lens; a milestone has no layer.

    `answer` is own or control, None where a quantity is of no answer; `n` are the passes that the estimate rests on,
    `n_prompts` their prompts. None where there is no such number.
    """

    lens: str
    group: str
    layer: int | None
    quantity: str
    answer: str | None
    estimate: str
    n: int
    n_prompts: int
    value: float | None
    low: float | None
    high: float | None
