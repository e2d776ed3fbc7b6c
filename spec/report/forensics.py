"""Whether last layers are the models' own predictions, as text for people and as JSON for machines."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..audit.forensics import FIT_ATOL, Cause, Forensics, Hypothesis
from ..audit.log_bases import BASES, Base
from .objects import finite
from .text import aligned, indent, printable

Results = Sequence[tuple[Path, Forensics]]

STATED = "2"  # the base of the contract
NAMES = {
    Cause.NOTHING: "as it is",
    Cause.TEMPERATURE: "temperature",
    Cause.SOFT_CAP: "soft cap",
    Cause.NORM: "norm left out",
}
CLAIMS = {
    Cause.TEMPERATURE: "temperature {} left out",
    Cause.SOFT_CAP: "soft cap {} left out",
    Cause.NORM: "the last norm left out",
}


def text(results: Results) -> str:
    """A block for each run: the verdict on one line, then what each cause leaves if it needs one, then the rest."""
    return "\n\n".join(block(folder, result, len(results) > 1) for folder, result in results)


def block(folder: Path, result: Forensics, several: bool) -> str:
    """The text of one run, after its folder where there are several."""
    name = f"{folder.name}, {result.file_stem}" if several else result.file_stem
    causes = [] if result.same else [causes_table(result), *norm_notes(result)]
    details = [*causes, *notes(result)]
    return "\n".join([printable(f"{name}: {verdict(result)}"), *(indent(d) for d in details if d)])


def verdict(result: Forensics) -> str:
    """The first line, without the run's name."""
    if result.same is None:
        return f"the files cannot tell whether the last layer is the model's own prediction: {result.reason}"
    if result.same:
        return f"the last layer is the model's own prediction ({evidence(result)})"
    what = f"the last layer is not the model's own prediction: {explanation(result)}"
    return f"{what} ({evidence(result)}{rivals(result)})"


def explanation(result: Forensics) -> str:
    """What the layer lacks, or why nothing is claimed."""
    if result.claim is not None:
        return CLAIMS[result.claim.cause].format(shown(result.claim.value, result))
    if result.reason:
        return result.reason
    fitting = [
        NAMES[h.cause]
        for h in result.hypotheses
        if h.misfit is not None and h.misfit <= result.fit_tolerance
    ]
    return f"{' and '.join(fitting)} fit alike" if len(fitting) > 1 else "no cause is shown"


def evidence(result: Forensics) -> str:
    """On how many numbers a verdict rests, and what it leaves."""
    judged = result.claim or next((h for h in result.hypotheses if h.cause == Cause.NOTHING), None)
    if judged is None or judged.misfit is None:
        return f"no list, KL at most {result.divergence:.2g} bits"
    numbers = f"{result.numbers} number{'s' * (result.numbers != 1)}"
    return f"{numbers}, worst misfit {judged.misfit:.2g} nats"


def rivals(result: Forensics) -> str:
    """What the causes that are not claimed leave, where the lists differ."""
    if result.reason:
        return ""
    claimed = result.claim.cause if result.claim else None
    others = [
        h
        for h in result.hypotheses
        if h.misfit is not None and h.cause not in (Cause.NOTHING, claimed)
    ]
    return "".join(f"; {h.cause} leaves {h.misfit:.2g}" for h in others)


def shown(value: float | None, result: Forensics) -> str:
    """A fitted value, with the digits that the precision of the model allows; empty where nothing is fitted."""
    if value is None:
        return ""
    return f"{value:.2f}" if result.fit_tolerance == FIT_ATOL else f"{value:.2g}"


def causes_table(result: Forensics) -> str:
    """What each cause leaves, a line each."""
    header = ("cause", "value", "misfit in nats")
    lines = [cause_line(hypothesis) for hypothesis in result.hypotheses]
    return aligned(header, lines, left=1) if lines else ""


def cause_line(hypothesis: Hypothesis) -> tuple[str, str, str]:
    value = "" if hypothesis.value is None else f"{hypothesis.value:.5g}"
    misfit = "not judged" if hypothesis.misfit is None else f"{hypothesis.misfit:.2g}"
    return NAMES[hypothesis.cause], value, misfit


def notes(result: Forensics) -> list[str]:
    """Tolerance, KL, the range of the cap, and bases."""
    lines = [f"the same within {result.tolerance:g} nats of ln p"]
    if result.divergence is not None:
        lines.append(f"KL of the last layer: at most {result.divergence:.3g} bits in any pass")
    if result.claim is not None and result.claim.between is not None:
        least, largest = result.claim.between
        lines.append(f"caps from {least:.5g} to {largest:.5g} fit")
    return [*lines, *base_lines(result.bases)]


def norm_notes(result: Forensics) -> list[str]:
    """What the files cannot show of norms."""
    lines = ["a norm applied twice, or by another formula, does not show in files"]
    if result.misfit(Cause.NORM) is None:
        lines.append("a norm left out does not show: no raw lens of the last layer")
    return lines


def base_lines(bases: Sequence[Base]) -> list[str]:
    """One line for all places in the contract's base, then each other place."""
    regular = [base for base in bases if base.base == STATED]
    lines = []
    if regular:
        count = sum(base.numbers for base in regular)
        least = {name: min(b.misfits[name] for b in regular) for name in BASES if name != STATED}
        leaves = ", ".join(f"base {name} at least {misfit:.2g}" for name, misfit in least.items())
        lines.append(
            f"logarithms of base {STATED} in {len(regular)} places ({count:,} numbers, "
            f"worst misfit {max(b.misfits[STATED] for b in regular):.2g} nats; {leaves})"
        )
    return lines + [base_line(base) for base in bases if base.base != STATED]


def base_line(base: Base) -> str:
    misfits = ", ".join(f"base {name} leaves {m:.2g}" for name, m in base.misfits.items())
    which = "of no single base" if base.base is None else f"of base {base.base}, not {STATED}"
    return f"{base.place}: logarithms {which} ({base.numbers:,} numbers; {misfits} nats)"


def machine(results: Results) -> str:
    """Everything, as one JSON object."""
    whole = {
        "same": all(result.same for _, result in results),
        "runs": [run_object(folder, result) for folder, result in results],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def run_object(folder: Path, result: Forensics) -> dict[str, Any]:
    return {
        "directory": str(folder),
        "run": result.file_stem,
        "verdict": verdict(result),
        "same": result.same,
        "numbers": result.numbers,
        "tolerance_nats": result.tolerance,
        "fit_tolerance_nats": result.fit_tolerance,
        "kl_bits": result.divergence,
        "claim": hypothesis_object(result.claim) if result.claim else None,
        "hypotheses": [hypothesis_object(hypothesis) for hypothesis in result.hypotheses],
        "reason": result.reason,
        "bases": [
            {
                "place": base.place,
                "base": base.base,
                "numbers": base.numbers,
                "refuting": base.refuting,
                "misfit_nats": {name: finite(m) for name, m in base.misfits.items()},
            }
            for base in result.bases
        ],
    }


def hypothesis_object(hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        "cause": NAMES[hypothesis.cause],
        "value": hypothesis.value,
        "between": hypothesis.between,
        "misfit_nats": hypothesis.misfit,
    }
