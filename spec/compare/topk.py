"""Top-k lists: tokens closer than the tolerance may swap, and nothing else may."""

from collections import Counter
from collections.abc import Callable, Sequence

Label = tuple[str, int]


def labels(tokens: Sequence[str], positions: Sequence[int]) -> dict[Label, int]:
    """Tokens at these positions, with their occurrence, since several ids may decode to one text."""
    seen: Counter[str] = Counter()
    position_of = {}
    for i in positions:
        position_of[tokens[i], seen[tokens[i]]] = i
        seen[tokens[i]] += 1
    return position_of


def order_faults(
    expected: Sequence[str],
    probabilities: Sequence[float],
    obtained: Sequence[str],
    ties: Callable[[float, float], bool],
    open_end: bool = False,
) -> list[int]:
    """Positions at which the obtained tokens differ from the expected ones by more than a tie explains.

    `probabilities` belong to `expected`; both lists have one length. A token may stand where a listed token of a tied
    probability was expected. What lies below the list is not known, so a token from there is a fault, unless
    `open_end`: then it may stand in for a token that is tied with the last one.
    """
    moved = [i for i, (a, b) in enumerate(zip(expected, obtained, strict=True)) if a != b]
    expected_at, obtained_at = labels(expected, moved), labels(obtained, moved)
    swapped = {
        i
        for label, i in obtained_at.items()
        if label in expected_at and not ties(probabilities[expected_at[label]], probabilities[i])
    }
    on_one_side = [
        *(i for label, i in obtained_at.items() if label not in expected_at),
        *(i for label, i in expected_at.items() if label not in obtained_at),
    ]
    unlisted = {
        i for i in on_one_side if not (open_end and ties(probabilities[i], probabilities[-1]))
    }
    return sorted(swapped | unlisted)
