"""Results of passes → arrays [N, L] of float32, all that statistics need of them: memory holds no row.

Axes: N passes, L layers, G groups of a pass, M milestones. NaN is an absent value.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.metrics import Measures
from ...core.milestones import RANK_LEVELS, milestones
from ...core.rows import PureRow
from ...core.types import Encoded, PassResult
from .control import groups_of

Singles = NDArray[np.float32]
QUANTITIES = ("entropy", "kl_to_final_bits", "answer_rank", "p_answer", "is_answer")
OF_ANSWERS = ("answer_rank", "p_answer", "is_answer")
CONTROL_MILESTONES = ("L_semantic", *(f"first_rank_le_{rank}" for rank in RANK_LEVELS))


@dataclass(frozen=True)
class PassControl:
    """A pass at the answers of others: by group, rank and probability of each under a lens at every layer [L]."""

    ranks: Mapping[str, NDArray[np.int32]]
    p: Mapping[str, NDArray[np.float64]]


Control = Mapping[str, PassControl]  # by lens


@dataclass(frozen=True)
class Numbers:
    """Of N passes: id and groups of each, and by lens its quantities [N, L] and milestones [N].

    `controls` have, by lens and group, the places of passes that have a control in it, and their quantities [≤ N, L].
    """

    prompts: list[str]
    groups: dict[str, list[int]]
    quantities: dict[str, dict[str, Singles]]
    milestones: dict[str, dict[str, Singles]]
    controls: dict[str, dict[str, tuple[list[int], dict[str, Singles]]]]

    def text(self) -> str:
        """All of it as JSON, from which `read_numbers` makes the same; an absent value is NaN."""
        return json.dumps(asdict(self), default=np.ndarray.tolist)


def read_numbers(text: str) -> Numbers:
    """The numbers whose `text` this is."""
    of = json.loads(text)
    return Numbers(
        of["prompts"],
        of["groups"],
        {lens: arrays(values) for lens, values in of["quantities"].items()},
        {lens: arrays(values) for lens, values in of["milestones"].items()},
        {
            lens: {group: (places, arrays(values)) for group, (places, values) in groups.items()}
            for lens, groups in of["controls"].items()
        },
    )


def arrays(values: Mapping[str, Any]) -> dict[str, Singles]:
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def joined(parts: Iterable[Numbers]) -> Numbers:
    """The numbers of all passes, from those of some after the other; there is at least one part."""
    parts = list(parts)
    starts = np.cumsum([0, *(len(part.prompts) for part in parts)]).tolist()
    groups = {
        group: [
            start + i
            for start, part in zip(starts, parts, strict=False)
            for i in part.groups.get(group, [])
        ]
        for group in dict.fromkeys(group for part in parts for group in part.groups)
    }
    lenses = list(parts[0].quantities)
    return Numbers(
        [prompt for part in parts for prompt in part.prompts],
        groups,
        {lens: concatenated([part.quantities[lens] for part in parts]) for lens in lenses},
        {lens: concatenated([part.milestones[lens] for part in parts]) for lens in lenses},
        {
            lens: {
                group: joined_controls(
                    [
                        (start, *part.controls[lens][group])
                        for start, part in zip(starts, parts, strict=False)
                        if group in part.groups
                    ]
                )
                for group in groups
            }
            for lens in lenses
        },
    )


def joined_controls(
    parts: Sequence[tuple[int, list[int], dict[str, Singles]]],
) -> tuple[list[int], dict[str, Singles]]:
    """Places and quantities of a group's controls; `parts` begin with the place of their first pass."""
    places = [start + i for start, usable, _ in parts for i in usable]
    values = [values for _, usable, values in parts if usable]
    return places, concatenated(values or [parts[0][2]])


def concatenated(parts: Sequence[Mapping[str, Singles]]) -> dict[str, Singles]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def control_of(
    encoded: Encoded,
    measured: Mapping[str, Measures[NDArray[np.float64]]],
    pos: Sequence[int],
    at: Mapping[str, int],
) -> Control:
    """The numbers of a pass at the answers of its control, in columns behind those of its own answers.

    `pos` are the positions of the rows that were measured, `at` the column of each group behind the own ones.
    """
    rows, own = [i for i, p in enumerate(pos) if p == encoded.last], len(encoded.answers)
    return {
        lens: PassControl(
            {group: m.rank[rows, own + column].astype(np.int32) for group, column in at.items()},
            {group: m.p_answer[rows, own + column] for group, column in at.items()},
        )
        for lens, m in measured.items()
    }


def numbers_of(passes: Sequence[PassResult], controls: Mapping[str, Control]) -> Numbers:
    """The numbers of some passes; `controls` by the name of a pass, `id/variant`."""
    groups: dict[str, list[int]] = {}
    for i, result in enumerate(passes):
        for group in groups_of(result.encoded.prompt.tags):
            groups.setdefault(group, []).append(i)
    lenses = list(passes[0].pure)
    return Numbers(
        [result.encoded.prompt.id for result in passes],
        groups,
        {
            lens: {
                name: singles([column(result.pure[lens], name) for result in passes])
                for name in QUANTITIES
            }
            for lens in lenses
        },
        {lens: by_name([milestones(result.pure[lens]) for result in passes]) for lens in lenses},
        {
            lens: {
                group: controls_in(group, lens, members, passes, controls)
                for group, members in groups.items()
            }
            for lens in lenses
        },
    )


def controls_in(
    group: str,
    lens: str,
    members: Sequence[int],
    passes: Sequence[PassResult],
    controls: Mapping[str, Control],
) -> tuple[list[int], dict[str, Singles]]:
    """The passes of a group that have a control in it, and their numbers at its answers."""
    names = [f"{passes[i].encoded.prompt.id}/{passes[i].encoded.prompt.variant}" for i in members]
    usable = {
        i: controls[name][lens]
        for i, name in zip(members, names, strict=True)
        if name in controls and group in controls[name][lens].ranks
    }
    ranks = singles([control.ranks[group] for control in usable.values()])
    p = singles([control.p[group] for control in usable.values()])
    values = {"answer_rank": ranks, "p_answer": p, "is_answer": (ranks == 1).astype(np.float32)}
    return list(usable), values


def column(rows: Sequence[PureRow], name: str) -> list[float]:
    """A column of the rows of a pass."""
    values = [getattr(row, name) for row in rows]
    return [np.nan if value is None else float(value) for value in values]


def singles(rows: Sequence[Sequence[float] | NDArray[np.generic]]) -> Singles:
    return np.asarray(rows, dtype=np.float32)


def by_name(layers: Sequence[Mapping[str, int | None]]) -> dict[str, Singles]:
    """Milestones [N] by name, NaN where a pass does not reach one."""
    return {
        name: np.array(
            [np.nan if of_pass[name] is None else of_pass[name] for of_pass in layers], np.float32
        )
        for name in layers[0]
    }


def control_milestones(ranks: Singles) -> dict[str, Singles]:
    """The milestones that control answers reach, from their ranks [N, L]."""
    levels = (1, *RANK_LEVELS)
    return {
        name: np.where((holds := ranks <= level).any(1), holds.argmax(1), np.nan).astype(np.float32)
        for name, level in zip(CONTROL_MILESTONES, levels, strict=True)
    }
