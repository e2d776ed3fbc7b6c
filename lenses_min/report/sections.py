"""The sections of the page that have a figure and a table of what it shows: tokens in the lists, and agreement."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..output.run import Run
from .agreement import agreement_rows
from .curves import ALL
from .escape import legible, plain
from .facts import labels
from .listed import FEW, FEWER, Listed, same

TOKENS = ("run", "lens", "pass", "token", "largest p", "at layer", "at the last layer", "listed at")
PAIRS = ("run", "pass", "lenses", "same top-1 at", "largest KL")


def sections(
    runs: Sequence[Run], listed: Mapping[str, Sequence[Listed]], track: Sequence[str]
) -> list[dict[str, Any]]:
    """Title, lead and rows of each; `id` is that of its figure."""
    few = FEW if len(runs) == 1 else FEWER
    parts = [
        {
            "id": "peaks",
            "title": "Tokens that peak in mid-stack",
            "lead": "Tokens of the last position whose listed probability is largest at a layer between the first "
            f"and the last, and that are not the last layer's first: at most {few} a pass and lens. {gaps()}",
            "heads": TOKENS,
            "rows": token_rows(runs, listed["peaks"]),
        }
    ]
    if track:
        parts.append(
            {
                "id": "tracked",
                "title": "Tokens of interest",
                "lead": f"{wanted(track, listed['tracked'])} {gaps()}",
                "heads": TOKENS,
                "rows": token_rows(runs, listed["tracked"]),
            }
        )
    if rows := agreement_rows(runs):
        parts.append(
            {
                "id": "agreement",
                "title": "Agreement between lenses",
                "lead": "How far two lenses, or a lens and the model, are apart at the last position, from the run's "
                "agreement table; pairs of the chosen lens are shown.",
                "heads": PAIRS,
                "rows": rows,
            }
        )
    return parts


def gaps() -> str:
    return (
        "A run lists the likeliest tokens of a layer alone, so a gap is a layer whose list lacks the token: its "
        "probability there is not known, and at most that of the last token listed."
    )


def wanted(track: Sequence[str], listed: Sequence[Listed]) -> str:
    """Which tokens are followed, and which of them no list has."""
    absent = [token for token in track if not any(same(one.token, token) for one in listed)]
    followed = f"Followed at the last position, with or without a space before: {quoted(track)}."
    return followed + (f" No list of the runs has {quoted(absent)}." if absent else "")


def quoted(tokens: Sequence[str]) -> str:
    return ", ".join(f"“{legible(token)}”" for token in tokens)


def token_rows(runs: Sequence[Run], tokens: Sequence[Listed]) -> list[dict[str, Any]]:
    names = labels(runs)
    return [
        {
            "show": {
                "model": [str(one.run)],
                "pass": [plain(one.name)],
                "lens": [one.lens, ALL] if one.lens == "norm" else [one.lens],
            },
            "cells": [
                names[one.run],
                one.lens,
                one.name,
                legible(one.token),
                f"{one.peak:.3g}",
                one.best,
                "not listed" if one.last is None else f"{one.last:.3g}",
                f"{len(one.p)} of {len(one.layers)} layers",
            ],
        }
        for one in tokens
    ]
