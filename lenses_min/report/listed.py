"""Tokens in the lists of a run at the last position: which peak in mid-stack, and where some tokens stand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.rows import RecordRow, by_pass
from ..output.run import Run
from .curves import ALL, Curve, style
from .escape import legible, plain
from .facts import is_number, labels

FEW, FEWER = 5, 3  # tokens of a pass that are drawn: of one run, and of each of several
SPACES = (" ", "▁", "Ġ")  # how tokenizers write the space before a word
TITLE = {"p": "p of the token"}
Lists = Mapping[int, Mapping[str, float]]
Seen = dict[tuple[object, ...], list[str]]  # names by their group, in order


@dataclass(frozen=True)
class Listed:
    """A token of a pass under a lens: its probability at each layer that lists it; `layers` are those of the pass."""

    run: int
    lens: str
    name: str
    token: str
    p: Mapping[int, float]
    layers: Sequence[int]

    @property
    def best(self) -> int:
        """The first layer at which its listed probability is largest."""
        return max(self.p, key=lambda layer: (self.p[layer], -layer))

    @property
    def peak(self) -> float:
        return self.p[self.best]

    @property
    def last(self) -> float | None:
        """Its probability at the last layer; None where that does not list it."""
        return self.p.get(self.layers[-1])


def lists_of(run: Run, lens: str) -> dict[str, Lists]:
    """The lists of every pass by layer: at its last position, the longer of the pure table's and the records'."""
    records = by_pass(run.records(lens))
    lists: dict[str, Lists] = {}
    for name, pure in run.passes(lens).items():
        last = pure[-1].pos
        rows: list[RecordRow] = [*pure, *(r for r in records.get(name, ()) if r.pos == last)]
        by_layer: dict[int, dict[str, float]] = {row.layer: {} for row in pure}
        for row in rows:
            if row.layer in by_layer and len(row.top) > len(by_layer[row.layer]):
                by_layer[row.layer] = {token: p for token, p in row.top if is_number(p)}
        lists[name] = by_layer
    return lists


def tokens_of(run: Run, number: int) -> Iterator[Listed]:
    """Every token that a pass lists, under every lens."""
    for lens in run.lenses:
        for name, lists in lists_of(run, lens).items():
            tokens = dict.fromkeys(token for listed in lists.values() for token in listed)
            for token in tokens:
                p = {layer: listed[token] for layer, listed in lists.items() if token in listed}
                yield Listed(number, lens, name, token, p, list(lists))


def peaks(runs: Sequence[Run]) -> list[Listed]:
    """The tokens of each pass whose best layer lies between first and last, and that are not the last layer's first.

    The likeliest of them, the best first.
    """
    few = FEW if len(runs) == 1 else FEWER
    passes: dict[tuple[int, str, str], list[Listed]] = {}
    for number, run in enumerate(runs):
        for listed in tokens_of(run, number):
            passes.setdefault((number, listed.lens, listed.name), []).append(listed)
    return [
        listed
        for listed_ones in passes.values()
        for listed in sorted(in_mid_stack(listed_ones), key=lambda one: -one.peak)[:few]
    ]


def in_mid_stack(tokens: Sequence[Listed]) -> list[Listed]:
    """Of the tokens of a pass, those whose listed probability is largest inside the stack."""
    winner = max((one.last or 0 for one in tokens), default=0)
    return [
        one
        for one in tokens
        if one.layers[0] < one.best < one.layers[-1] and (one.last or 0) < winner
    ]


def tracked(runs: Sequence[Run], wanted: Sequence[str]) -> list[Listed]:
    """Every listed token that is one of some, with or without the space before it."""
    return [
        listed
        for number, run in enumerate(runs)
        for listed in tokens_of(run, number)
        if any(same(listed.token, token) for token in wanted)
    ]


def same(token: str, wanted: str) -> bool:
    """Whether a token is the wanted one, or is it behind a space."""
    return token == wanted or (token[:1] in SPACES and token[1:] == wanted)


def token_curves(runs: Sequence[Run], tokens: Sequence[Listed]) -> list[Curve]:
    """A curve a token; layers that do not list it are gaps."""
    names, alone = labels(runs), len(runs) == 1
    seen: Seen = {}
    return [token_curve(one, names[one.run], look(seen, one, alone), alone) for one in tokens]


def look(seen: Seen, one: Listed, alone: bool) -> dict[str, Any]:
    """Of one run a colour a token and a dash a pass, of several a colour a run and a dash a token."""
    if not alone:
        return style(number(seen, (one.run, one.lens, one.name), one.token), one.run, False)
    colour = style(number(seen, ("token", one.lens), one.token), one.run, True)
    return colour | {"dash": style(number(seen, ("pass",), one.name), one.run, False)["dash"]}


def number(seen: Seen, group: tuple[object, ...], name: str) -> int:
    """The place of a name among those of a group, in the order in which they come."""
    names = seen.setdefault(group, [])
    if name not in names:
        names.append(name)
    return names.index(name)


def token_curve(one: Listed, label: str, drawn: dict[str, Any], alone: bool) -> Curve:
    own = f"{legible(one.token)}, {plain(one.name)}"
    return Curve(
        name=own if alone else f"{plain(label)}, {own}",
        model=one.run,
        show={
            "lens": [one.lens, ALL] if one.lens == "norm" else [one.lens],
            "model": [str(one.run)],
            "pass": [plain(one.name)],
        },
        layers=one.layers,
        depth=one.layers[-1],
        values={"p": [one.p.get(layer) for layer in one.layers]},
        **drawn,
    )
