"""Whose lens is right: a tool on every model, as text for people and as JSON for machines."""

import json
from typing import Any

from ..audit.conform import Conformance, Judged
from .text import aligned, printable

HEADER = ("model", "last, bits", "worst, bits", "layer", "what is wrong")
SHOWN = 3  # alternatives of a line


def text(result: Conformance) -> str:
    """A line a model: KL to the model at the last layer, worst KL to the right lens, what is wrong; the verdict."""
    lines = [(one.model, *numbers(one), finding(one)) for one in result.judged]
    return f"{aligned(HEADER, lines, left=len(HEADER))}\n\n{printable(verdict(result))}"


def numbers(one: Judged) -> tuple[str, str, str]:
    if one.worst is None or one.last_kl is None:
        return "", "", ""
    kl, layer = one.worst
    return f"{one.last_kl:.1e}", f"{kl:.1e}", str(layer)


def finding(one: Judged) -> str:
    """What is wrong in a few words; which layers a right lens lacks."""
    if one.problem:
        return one.problem
    if one.passes:
        return "" if one.layers[0] == 0 else f"right from layer {one.layers[0]} on"
    names = [" and ".join(names) for names in one.faults]
    more = f", or {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (" or ".join(names[:SHOWN]) + more) or "unexplained"


def verdict(result: Conformance) -> str:
    """The last line."""
    passing = sum(one.passes for one in result.judged)
    counts = f"right on {passing} of {len(result.judged)} models"
    return f"{counts}; {result.problem}" if result.problem else counts


def machine(result: Conformance) -> str:
    """The same as one JSON object, with the KL of every layer."""
    whole = {
        "passes": result.passes,
        "verdict": verdict(result),
        "models": [model_object(one) for one in result.judged],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def model_object(one: Judged) -> dict[str, Any]:
    return {
        "model": one.model,
        "passes": one.passes,
        "layers": list(one.layers),
        "kl_to_right_bits": list(one.kls),
        "last_kl_to_model_bits": one.last_kl,
        "faults": [list(names) for names in one.faults],
        "problem": one.problem,
    }
