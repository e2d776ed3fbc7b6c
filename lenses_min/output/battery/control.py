"""The control of a battery: each pass is also measured at the answer of another pass of its group.

So that no control answer is right, a group's passes are put in a random order in which equal first tokens stand
together, and each takes the answer that stands as many places further as the most frequent token has passes. Where that
token has more than half of a group, the passes that would meet their own token have no control.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

import numpy as np

from ...core.types import Encoded
from ...model.determinism import SEED

ALL = "all"  # the group of all passes; that of a tag is named `name=value`
LEAST = 30  # the passes from which on a suite without tags is a battery too
Controls = Mapping[str, int]  # by group, the id of the answer that is another pass's


def is_battery(prompts: Sequence[object], tagged: bool) -> bool:
    """Whether statistics of some passes are written."""
    return tagged or len(prompts) >= LEAST


def groups_of(tags: Iterable[tuple[str, str]]) -> list[str]:
    """The groups that a pass with these tags belongs to."""
    return [ALL, *(f"{name}={value}" for name, value in tags)]


def group_seed(group: str) -> int:
    """A seed that depends on a group's name alone."""
    return SEED + crc32(group.encode())


def control_answers(encoded: Iterable[Encoded]) -> dict[str, dict[str, int]]:
    """The control answers of every pass, `id/variant`, by group; empty where the passes are no battery."""
    read = [(f"{e.prompt.id}/{e.prompt.variant}", e.prompt.tags, e.gold.first_id) for e in encoded]
    if not is_battery(read, any(tags for _, tags, _ in read)):
        return {}
    members: dict[str, list[tuple[str, int]]] = {}
    for name, tags, answer in read:
        if answer is not None:
            for group in groups_of(tags):
                members.setdefault(group, []).append((name, answer))
    controls: dict[str, dict[str, int]] = {}
    for group, passes in members.items():
        shuffled = derangement([answer for _, answer in passes], group_seed(group))
        for (name, _), control in zip(passes, shuffled, strict=True):
            if control is not None:
                controls.setdefault(name, {})[group] = control
    return controls


def derangement(answers: Sequence[int], seed: int) -> list[int | None]:
    """The answers in another order, none at a place where it stood before; None where that cannot be."""
    random = np.random.default_rng(seed)
    place = {
        answer: i for i, answer in enumerate(random.permutation(sorted(set(answers))).tolist())
    }
    order = sorted(random.permutation(len(answers)).tolist(), key=lambda i: place[answers[i]])
    step = max(Counter(answers).values(), default=0)
    shuffled: list[int | None] = [None] * len(answers)
    for at, i in enumerate(order):
        other = answers[order[(at + step) % len(order)]]
        shuffled[i] = None if other == answers[i] else other
    return shuffled
