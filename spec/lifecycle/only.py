"""What `--only` names: the columns, keys, passes and files that a change may touch, or patterns of them with `*`."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def covers(only: Iterable[str], name: str) -> bool:
    """Whether a name is among those that may change."""
    return any(name == one or fnmatchcase(name, one) for one in only)


def beyond(names: Sequence[str], only: Sequence[str]) -> list[str]:
    """The names that may not change."""
    return [name for name in names if not covers(only, name)]


def unmatched(only: Sequence[str], names: Sequence[str]) -> list[str]:
    """What may change and is none of these names."""
    return [one for one in only if not any(covers([one], name) for name in names)]
