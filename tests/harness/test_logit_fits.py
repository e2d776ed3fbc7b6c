"""The fits of a temperature and of a soft cap to numbers that a formula makes, and their bounds."""

from math import inf, nextafter, tanh

import pytest

from spec.compare import logit_fits
from spec.compare.logit_fits import (
    CAPS,
    LOG_ATOL,
    STEPS,
    VISIBLE,
    LogRow,
    bend,
    best_soft_cap,
    best_temperature,
    cap_error,
    cap_range,
    contracts,
    enough,
    fit_soft_cap,
    fit_temperature,
    nearest_cap,
    width,
)

STEP = (CAPS[1] / CAPS[0]) ** (1 / STEPS)  # from one cap of the grid to the next
NOISE = (0.0, 1e-5, -1e-5, 1e-5, 0.0, -1e-5, 1e-5, 0.0)


def capped(cap: float, *logits: float) -> LogRow:
    return [(x, cap * tanh(x / cap)) for x in logits]


NOISY = [(x, y + e) for (x, y), e in zip(capped(30.0, *range(5, 45, 5)), NOISE, strict=True)]


def test_a_temperature_is_one_over_the_slope_where_the_change_can_be_seen() -> None:
    """At T = 1/2 a logit grows by its own size, here by as much as can just be seen."""
    logits = VISIBLE, -VISIBLE, VISIBLE / 2, -VISIBLE / 2, 0.0
    assert fit_temperature([[(x, 2 * x) for x in logits]]) == 0.5
    assert fit_temperature([[(0.99 * x, 1.98 * x) for x in logits]]) is None
    assert fit_temperature([[(x, x / 2) for x in logits]]) is None


def test_one_side_that_stays_the_same_has_no_temperature() -> None:
    assert best_temperature([[(float(x), 1.0) for x in range(6)]]) is None
    assert best_temperature([[(float(x), -float(x)) for x in range(6)]]) is None


def test_a_temperature_may_be_off_by_the_bound_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[(float(x), 2.0 * x + e) for x, e in enumerate(NOISE)]]
    fit = best_temperature(rows)
    assert fit is not None
    monkeypatch.setattr(logit_fits, "LOG_ATOL", fit.misfit)
    assert fit_temperature(rows) == fit.value == pytest.approx(0.5, rel=1e-4)
    monkeypatch.setattr(logit_fits, "LOG_ATOL", nextafter(fit.misfit, 0))
    assert fit_temperature(rows) is None


def test_a_soft_cap_may_be_off_by_the_bound_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = best_soft_cap([NOISY])
    assert fit is not None
    monkeypatch.setattr(logit_fits, "LOG_ATOL", fit.misfit)
    assert fit_soft_cap([NOISY]) == fit.value == pytest.approx(30.0, rel=1e-3)
    monkeypatch.setattr(logit_fits, "LOG_ATOL", nextafter(fit.misfit, 0))
    assert fit_soft_cap([NOISY]) is None


def test_a_soft_cap_needs_a_bend_that_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logit_fits, "VISIBLE", bend(NOISY))
    assert fit_soft_cap([NOISY]) is not None
    monkeypatch.setattr(logit_fits, "VISIBLE", nextafter(bend(NOISY), inf))
    assert fit_soft_cap([NOISY]) is None


def test_a_cap_is_fitted_to_the_widest_rows() -> None:
    """Nine rows: the wide one is first in order, and a narrow one, without a bend, fits any cap."""
    wide = capped(30.0, 5.0, 20.0, 30.0, 50.0, 70.0)
    narrow = [[(z, z / 2) for z in (x, x + 0.001, x + 0.002)] for x in range(100, 108)]
    fit = best_soft_cap([wide, *narrow])
    assert fit is not None
    assert fit.value == pytest.approx(30.0, rel=1e-4)


def test_half_of_the_numbers_are_enough() -> None:
    row = [(float(x), 0.0) for x in range(5)]
    assert enough([row, *[[(0.0, 0.0)]] * 5], constants=1)
    assert not enough([row, *[[(0.0, 0.0)]] * 6], constants=1)
    assert not enough([row[:4]], constants=1)


@pytest.mark.parametrize(
    ("change", "whether"), [(-0.25, True), (-0.3, False), (1.25, True), (1.3, False)]
)
def test_two_numbers_may_change_their_distance_by_the_bound(
    change: float, whether: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their order by as much, and no more than that over the distance that they had."""
    monkeypatch.setattr(logit_fits, "LOG_ATOL", 0.25)
    assert contracts([(1.0, 2.0 + change), (0.0, 2.0)]) is whether


def test_the_width_and_the_bend_of_a_row() -> None:
    assert width([(1.0, 7.0), (4.0, 9.5), (2.0, 3.0)]) == 3.0
    assert bend([(0.0, 1.0), (1.0, 3.0), (2.0, 3.0)]) == 1.0
    assert bend([(1.0, 2.0), (1.0, 5.0)]) == 3.0
    assert bend([(1.0, 2.0)]) == 0.0


@pytest.mark.parametrize("cap", [1.5, 30.0, -30.0, 250.0])
def test_a_planted_cap_is_fitted_to_eleven_digits(cap: float) -> None:
    """Of logits over zero, and under zero where the number is negative."""
    row = capped(abs(cap), *(share * cap for share in (0.25, 0.5, 1.0, 1.5, 2.5)))
    assert nearest_cap([row]) == pytest.approx(abs(cap), rel=1e-11)


def test_the_search_ends_one_step_beyond_the_largest_cap() -> None:
    straight = [(float(x), float(x)) for x in range(-200, 201, 50)]
    assert nearest_cap([straight]) == pytest.approx(CAPS[1] * STEP, rel=1e-9)


def test_of_caps_that_fit_alike_the_search_takes_the_larger() -> None:
    """Every cap fits a row of one number: the result is a step above the first cap of the grid."""
    assert nearest_cap([[(0.0, 0.0)]]) == pytest.approx(CAPS[0] * STEP, rel=1e-9)


@pytest.mark.parametrize(
    "logits", [(-20.0, 5.0, 20.0), (2.0, 30.0, 55.0), (-55.0, -30.0, -2.0), (-40.0, 0.0, 10.0)]
)
def test_the_right_cap_has_no_error(logits: tuple[float, ...]) -> None:
    assert cap_error(capped(30.0, *logits), 30.0) == pytest.approx(0.0, abs=1e-9)
    assert cap_error(capped(30.0, *logits), 20.0) > LOG_ATOL


def test_the_error_of_a_row_whose_ends_are_equal_on_one_side() -> None:
    assert cap_error([(0.0, 1.0), (1.0, 1.0)], 30.0) == 0.0
    assert cap_error([(0.0, 1.0), (1.0, 0.75)], 30.0) == 0.25
    assert cap_error([(1.0, 2.0), (1.0, 5.0)], 30.0) == 3.0


def test_numbers_that_any_cap_fits_leave_the_whole_range() -> None:
    assert cap_range([[(0.0, 0.0)]], 30.0, 0.0) == pytest.approx(CAPS)
