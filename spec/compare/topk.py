"""Top-k lists: tokens closer than the tolerance may swap, and nothing else may."""

from collections import Counter
from collections.abc import Callable, Sequence

Label = tuple[str, int]


def labels(tokens: Sequence[str], places: Sequence[int]) -> dict[Label, int]:
    """Tokens at these places, with their occurrence, since several ids may decode to one text."""
    seen: Counter[str] = Counter()
    found = {}
    for i in places:
        found[tokens[i], seen[tokens[i]]] = i
        seen[tokens[i]] += 1
    return found


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
    moved = [i for i, (a, b) in enumerate(zip(expected, obtained)) if a != b]
    wanted, got = labels(expected, moved), labels(obtained, moved)
    faults = {
        i
        for label, i in got.items()
        if label in wanted and not ties(probabilities[wanted[label]], probabilities[i])
    }
    loose = [i for label, i in got.items() if label not in wanted] + [
        i for label, i in wanted.items() if label not in got
    ]
    return sorted(
        faults | {i for i in loose if not (open_end and ties(probabilities[i], probabilities[-1]))}
    )
