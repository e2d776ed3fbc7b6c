"""Which cases each worker of an external run.py takes: the cost of a process is its imports and its cases. Pure."""

import json
from collections.abc import Sequence
from itertools import count

from ..golden import Case

LOADING = 10  # how many tiny cases last as long as the imports of a process
WORTH = 1.25  # a worker more must save this factor, as imports at the same time slow each other
Share = list[Sequence[Case]]  # groups of one worker, a process each


def group_by_environment(cases: Sequence[Case]) -> list[list[Case]]:
    """Group cases by environment variables, in the order in which each environment first occurs."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(json.dumps(dict(case.env), sort_keys=True), []).append(case)
    return list(groups.values())


def divide(groups: Sequence[Sequence[Case]], workers: int) -> list[Share]:
    """Divide groups among `workers` at most, evenly; a group may be cut. Fewer get them where more save little."""
    divisions = [
        next(shares for limit in count(LOADING + 1) if len(shares := fill(groups, limit)) <= number)
        for number in range(1, workers + 1)
    ]
    least = max(map(cost, divisions[-1]))
    return next(shares for shares in divisions if max(map(cost, shares)) <= WORTH * least)


def cost(share: Share) -> int:
    """How long a worker takes, in cases."""
    return sum(LOADING + len(group) for group in share)


def fill(groups: Sequence[Sequence[Case]], limit: int) -> list[Share]:
    """Groups and pieces of groups, worker by worker, none of which lasts longer than `limit` cases."""
    parts: list[Share] = []
    room = 0
    for group in groups:
        rest = group
        while rest:
            if room <= LOADING:
                parts.append([])
                room = limit
            size = min(room - LOADING, len(rest))
            parts[-1].append(rest[:size])
            room -= LOADING + size
            rest = rest[size:]
    return parts
