"""Numbers of passes → the rows of `output-<name>-battery.csv`: an estimate with its interval a row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .control import group_seed
from .numbers import OF_ANSWERS, QUANTITIES, Numbers, Singles, control_milestones
from .rows import BatteryRow
from .statistics import CONFIDENCE, RESAMPLES, Estimate, Floats, Resampling, mean, median, share

Estimator = Callable[[Floats, Resampling], Estimate]
ESTIMATES: Mapping[str, Mapping[str, Estimator]] = {
    "entropy": {"mean": mean, "median": median},
    "kl_to_final_bits": {"mean": mean, "median": median},
    "answer_rank": {"median": median},
    "p_answer": {"mean": mean, "median": median},
    "is_answer": {"share": share},
}
QUARTILES = {"lower quartile": 0.25, "upper quartile": 0.75}
METHOD = {
    "mean and median": "percentile bootstrap over prompts (Efron 1979), by scipy.stats.bootstrap",
    "share": "Wilson 1927; of several passes a prompt, with their effective number (Korn and Graubard 1998)",
    "control": "answers of other passes of the group, by a seeded derangement of first tokens",
    "confidence": CONFIDENCE,
    "resamples": RESAMPLES,
    "seed": "seed of the run + CRC-32 of the group's name",
}


@dataclass(frozen=True)
class Part:
    """The numbers of a group's passes under a lens, [N, L] by quantity and [N] by milestone, and who they are of."""

    lens: str
    group: str
    answer: str | None
    prompts: Sequence[str]
    quantities: Mapping[str, Singles]
    milestones: Mapping[str, Singles]


def battery_rows(numbers: Numbers) -> list[BatteryRow]:
    """All rows: by lens, group, own answers and control, then quantity, layer and estimate; milestones last."""
    return [row for part in parts(numbers) for row in part_rows(part)]


def parts(numbers: Numbers) -> Iterator[Part]:
    for lens, quantities in numbers.quantities.items():
        for group, members in numbers.groups.items():
            yield Part(
                lens,
                group,
                "own",
                [numbers.prompts[i] for i in members],
                {name: values[members] for name, values in quantities.items()},
                {name: values[members] for name, values in numbers.milestones[lens].items()},
            )
            usable, control = numbers.controls[lens][group]
            if usable:
                yield Part(
                    lens,
                    group,
                    "control",
                    [numbers.prompts[i] for i in usable],
                    control,
                    control_milestones(control["answer_rank"]),
                )


def part_rows(part: Part) -> Iterator[BatteryRow]:
    by = Resampling.of(part.prompts, group_seed(part.group))
    for quantity in QUANTITIES:
        if quantity in part.quantities:
            answer = part.answer if quantity in OF_ANSWERS else None
            x = part.quantities[quantity].astype(np.float64)
            estimates = {name: of(x, by) for name, of in ESTIMATES[quantity].items()}
            for layer in range(x.shape[1]):
                for name, estimate in estimates.items():
                    counted = counts(part, x[:, layer])
                    ends = at(estimate, layer)
                    yield BatteryRow(
                        part.lens, part.group, layer, quantity, answer, name, *counted, *ends
                    )
    for name, layers in part.milestones.items():
        yield from milestone_rows(part, name, layers.astype(np.float64)[:, None], by)


def milestone_rows(part: Part, name: str, layers: Floats, by: Resampling) -> Iterator[BatteryRow]:
    """The share of passes that reach a milestone, and of those its median and quartiles."""
    answer = part.answer if is_of_answers(name) else None
    reached = ~np.isnan(layers)
    head = (part.lens, part.group, None, name, answer)
    every = counts(part, np.zeros(len(layers)))
    yield BatteryRow(*head, "share", *every, *at(share(reached.astype(np.float64), by), 0))
    some = counts(part, layers[:, 0])
    yield BatteryRow(*head, "median", *some, *at(median(layers, by), 0))
    for quartile, q in QUARTILES.items():
        value = float(np.quantile(layers[reached], q)) if reached.any() else None
        yield BatteryRow(*head, quartile, *some, value, None, None)


def is_of_answers(milestone: str) -> bool:
    return milestone.startswith(("L_semantic", "delta_layers", "first_rank_le"))


def counts(part: Part, values: Floats) -> tuple[int, int]:
    """How many passes have a value, and of how many prompts."""
    known = [
        p for p, absent in zip(part.prompts, np.isnan(values).tolist(), strict=True) if not absent
    ]
    return len(known), len(set(known))


def at(estimate: Estimate, column: int) -> list[float | None]:
    """Value and ends of a column, None for what is not there."""
    values = [float(part[column]) for part in (estimate.value, estimate.low, estimate.high)]
    return [None if np.isnan(value) else value for value in values]


def settings() -> dict[str, Any]:
    """How the estimates are made, for the manifest."""
    return dict(METHOD)
