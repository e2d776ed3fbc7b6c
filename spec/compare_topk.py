"""Top-k lists: tokens closer than the tolerance may swap, and nothing else may."""

from collections import Counter
from collections.abc import Callable, Sequence

Label = tuple[str, int]


def labels(tokens: Sequence[str]) -> list[Label]:
    """Tokens with their occurrence, since several ids may decode to one text."""
    seen: Counter[str] = Counter()
    found = []
    for token in tokens:
        found.append((token, seen[token]))
        seen[token] += 1
    return found


def order_faults(
    expected: Sequence[str],
    probabilities: Sequence[float],
    obtained: Sequence[str],
    ties: Callable[[float, float], bool],
) -> list[int]:
    """Positions at which the obtained tokens differ from the expected ones by more than a tie explains.

    `probabilities` belong to `expected`. A token may stand where a token of a tied probability was expected; a token
    that was not listed may only stand in for one that is tied with the last listed, and so may one go missing.
    Both lists have one length.
    """
    wanted, got = labels(expected), labels(obtained)
    place = {label: i for i, label in enumerate(wanted)}
    cut = probabilities[-1] if probabilities else 0.0
    faults = set()
    for i, label in enumerate(got):
        peer = probabilities[place[label]] if label in place else cut
        if label != wanted[i] and not ties(peer, probabilities[i]):
            faults.add(i)
    gone = set(wanted) - set(got)
    faults |= {place[label] for label in gone if not ties(probabilities[place[label]], cut)}
    return sorted(faults)
