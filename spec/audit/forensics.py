"""Whether the last layer of the lens is the model's own prediction, and what it lacks if not. Pure: files only.

An explanation is a function that turns the lens's log-probabilities of layer n into the model's. It is claimed where it
leaves no more than the tolerance, where every simpler one leaves far more, and where no other one does as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import log

from ..compare.logit_fits import (
    LOG_ATOL,
    VISIBLE,
    Fit,
    LogRow,
    best_soft_cap,
    best_temperature,
    cap_range,
)
from ..runs.run import Run
from .last_layer import PREDICTION, Evidence, LastRow, Listed, evidence, paired, unpaired
from .log_bases import Base, bases

LOW_PRECISION = 0.1  # of a logit, in half precision: as compare/tolerance.py derives it
FIT_ATOL = 5e-5  # of a logit up to 100 that float32 rounds, through a fit; two forward passes differ by LOG_ATOL
LEAST_NUMBERS = 2  # that show a function without parameters


class Cause(StrEnum):
    """What may make layer n other than the model's own prediction."""

    NOTHING = "nothing"
    NORM = "a norm left out"
    TEMPERATURE = "a temperature"
    SOFT_CAP = "a soft cap"


SIMPLICITY = {Cause.NOTHING: 0, Cause.NORM: 0, Cause.TEMPERATURE: 1, Cause.SOFT_CAP: 2}


@dataclass(frozen=True)
class Hypothesis:
    """One cause, its fitted value, and the largest error that it leaves of a log-probability, in nats.

    The misfit is None where too few numbers judge the cause, and of the norm where no raw lens shows it.
    `between` are the least and the largest cap that leave at most twice the tolerance.
    """

    cause: Cause
    value: float | None
    misfit: float | None
    between: tuple[float, float] | None = None


@dataclass(frozen=True)
class Forensics:
    """The verdict on one run. `same` is None where the files cannot tell, and `reason` says why.

    `numbers` are the tokens that both lists share, over all passes; `divergence` is the largest KL of layer n, in bits.
    The lists are the same within `tolerance`, and after a fitted cause within `fit_tolerance`, both in nats of ln p.
    """

    file_stem: str
    same: bool | None
    numbers: int
    tolerance: float
    fit_tolerance: float
    divergence: float | None
    hypotheses: tuple[Hypothesis, ...] = ()
    claim: Hypothesis | None = None
    reason: str = ""
    bases: tuple[Base, ...] = ()

    def misfit(self, cause: Cause) -> float | None:
        """What a cause leaves; None where nothing judges it."""
        return next((h.misfit for h in self.hypotheses if h.cause == cause), None)


def examine(run: Run) -> Forensics:
    """The verdict on a run."""
    seen = evidence(run)
    low = seen.low_precision
    tolerance, fit_tolerance = (LOW_PRECISION, LOW_PRECISION) if low else (LOG_ATOL, FIT_ATOL)
    hypotheses = hypotheses_of(seen.rows)
    same, reason = sameness(seen, hypotheses, tolerance)
    if same is None:
        reason = f"{run.document_name} has no {PREDICTION}, and no KL of the last layer is written"
    claim = claimed(hypotheses, fit_tolerance) if same is False else None
    if claim is not None and claim.cause == Cause.SOFT_CAP and claim.value is not None:
        logs = [log_row(row.lens, row.model) for row in seen.rows]
        claim = replace(claim, between=cap_range(logs, claim.value, 2 * fit_tolerance))
    return Forensics(
        run.file_stem,
        same,
        sum(len(paired(row.lens, row.model)) for row in seen.rows),
        tolerance,
        fit_tolerance,
        max(seen.divergences, default=None),
        hypotheses,
        claim,
        reason,
        bases(run),
    )


def sameness(
    seen: Evidence, hypotheses: Sequence[Hypothesis], tolerance: float
) -> tuple[bool | None, str]:
    """Whether layer n is the model's own prediction, by the lists and by every KL, and a reason if KL tells.

    None where nothing tells. Where no log-probability is off by more than e, KL is at most e nats.
    """
    alike = next((h.misfit for h in hypotheses if h.cause == Cause.NOTHING), None)
    if alike is None and not seen.divergences:
        return None, ""
    if alike is not None and alike > tolerance:
        return False, ""
    if max(seen.divergences, default=0.0) > tolerance / log(2):
        lists = "no list shows it" if alike is None else "the listed tokens agree"
        return False, f"{lists}, but KL of layer n does not vanish"
    return True, ""


def hypotheses_of(rows: Sequence[LastRow]) -> tuple[Hypothesis, ...]:
    """Every cause with what it leaves over all passes."""
    if not rows:
        return ()
    logs = [log_row(row.lens, row.model) for row in rows]
    disorder = max(map(order_error, rows))
    fits = {Cause.TEMPERATURE: best_temperature(logs), Cause.SOFT_CAP: best_soft_cap(logs)}
    return (
        Hypothesis(Cause.NOTHING, None, worst(difference(logs), disorder)),
        *(of_fit(cause, fit, disorder) for cause, fit in fits.items()),
        Hypothesis(Cause.NORM, None, norm_error(rows)),
    )


def of_fit(cause: Cause, fit: Fit | None, disorder: float) -> Hypothesis:
    """A fit as a hypothesis."""
    value, misfit = (None, None) if fit is None else (fit.value, fit.misfit)
    return Hypothesis(cause, value, worst(misfit, disorder))


def worst(misfit: float | None, disorder: float) -> float | None:
    """The larger one: tokens out of order are a misfit of every function that keeps the order.

    None where there is no misfit and no disorder that can be seen.
    """
    if misfit is None:
        return disorder if disorder > VISIBLE else None
    return max(misfit, disorder)


def norm_error(rows: Sequence[LastRow]) -> float | None:
    """How far layer n is from the un-normalised read-out, in nats; None where some pass has no list of it."""
    if not all(row.raw for row in rows):
        return None
    pairs = [LastRow(row.pass_key, row.lens, row.raw) for row in rows]
    misfit = difference([log_row(pair.lens, pair.model) for pair in pairs])
    return worst(misfit, max(map(order_error, pairs)))


def log_row(a: Listed, b: Listed) -> LogRow:
    """The logarithms of both probabilities of the tokens in both lists."""
    return [(log(x), log(y)) for x, y in paired(a, b)]


def difference(rows: Sequence[LogRow]) -> float | None:
    """The largest |ln p − ln q|; None of too few numbers."""
    errors = [abs(x - y) for row in rows for x, y in row]
    return max(errors) if len(errors) >= LEAST_NUMBERS else None


def order_error(row: LastRow) -> float:
    """How far, in nats, a token that one list lacks stands above the least one that both have.

    A function of the logits that keeps their order leaves no such token. Where the lists share none, the least one of
    each list stands for it.
    """
    pairs = paired(row.lens, row.model)
    errors = [0.0]
    for at, (own, other) in enumerate(((row.lens, row.model), (row.model, row.lens))):
        least = min([pair[at] for pair in pairs] or [p for _, p in own])
        errors += [log(p / least) for p in unpaired(own, other)]
    return max(errors)


def claimed(hypotheses: Sequence[Hypothesis], tolerance: float) -> Hypothesis | None:
    """The one cause that the numbers show, None where none or several do."""
    fitting = [h for h in hypotheses if h.misfit is not None and h.misfit <= tolerance]
    if len(fitting) != 1 or fitting[0].cause == Cause.NOTHING:
        return None
    (best,) = fitting
    return best if all(refuted(rival, best, tolerance) for rival in hypotheses) else None


def refuted(rival: Hypothesis, best: Hypothesis, tolerance: float) -> bool:
    """Whether a rival leaves too much: far more than the tolerance where it is simpler, else more than it.

    A norm that no file shows is no rival; any other cause that too few numbers judge is one.
    """
    if rival.cause == best.cause:
        return True
    if rival.misfit is None:
        return rival.cause == Cause.NORM
    simpler = SIMPLICITY[rival.cause] < SIMPLICITY[best.cause]
    return rival.misfit > (max(VISIBLE, 2 * tolerance) if simpler else tolerance)
