"""Rules of a row whose bounds are exact: the margin, the answer of a pass, and how close two numbers are."""

from math import nextafter
from typing import Any

import pytest

from spec.runs.places import TableRow
from spec.schema.cells import Row
from spec.schema.rows import TINY, DocumentContext, Pass, check_flags, margin_fits
from spec.schema.rules import Rule, close

PURE_FILE = "output-x-pure-next-token.csv"
SIDECAR = "output-x-pure-next-token-prism.csv"
KEY = TableRow("ctl", "orig", "0", "3")
CELLS: dict[str, Any] = {
    "prompt_id": "ctl",
    "prompt_variant": "orig",
    "answer_rank": None,
    "top1": " Paris ",
    "is_answer": True,
    "entropy": 1.5,
    "entropy_collapse": False,
    "copy_collapse": False,
    "p_top1": 0.5,
}
TWO_TOKENS = Pass("Paris", 4, 3, ids_known=True, control=True)
ONE_TOKEN = Pass("Paris", 3, 3, ids_known=True, control=True)


@pytest.mark.parametrize(
    ("margin", "p", "known", "fits"),
    [
        (0.0, None, TWO_TOKENS, False),
        (0.25, 0.25, TWO_TOKENS, True),
        (1e-7, 0.0, TWO_TOKENS, True),
        (nextafter(1e-7, 1), 0.0, TWO_TOKENS, False),
        (0.0, 0.5, TWO_TOKENS, True),
        (0.5 - (0.5 + TINY), 0.5, TWO_TOKENS, True),
        (-2 * TINY, 0.5, TWO_TOKENS, False),
        (0.25, 0.75, TWO_TOKENS, False),
        (0.25, 0.75, ONE_TOKEN, True),
        (-0.25, 0.25, TWO_TOKENS, True),
        (-0.25, 0.25, ONE_TOKEN, False),
        (-TINY, 0.0, ONE_TOKEN, True),
        (nextafter(-TINY, -1), 0.0, ONE_TOKEN, False),
    ],
)
def test_the_probability_of_the_other_answer_bounds_a_margin(
    margin: float, p: float | None, known: Pass, fits: bool
) -> None:
    """Two answers share 1; answers of one first token have the same probability."""
    assert margin_fits(margin, p, known) == fits


def test_a_pass_that_the_document_does_not_have_has_no_answer() -> None:
    row = Row(PURE_FILE, KEY, CELLS)
    assert DocumentContext().of(row) == Pass("", control=True)
    assert DocumentContext(passes={("ctl", "orig"): TWO_TOKENS}).of(row) == TWO_TOKENS


@pytest.mark.parametrize(
    ("corrected", "own", "file", "refused"),
    [
        (False, False, PURE_FILE, {" Paris ", "x"}),
        (False, False, SIDECAR, set()),
        (True, False, SIDECAR, {" Berlin ", "x"}),
        (False, True, SIDECAR, {" Berlin ", "x"}),
        (True, True, PURE_FILE, {" Berlin ", "x"}),
    ],
)
def test_a_control_row_without_an_id_looks_for_the_answer_of_its_pass(
    corrected: bool, own: bool, file: str, refused: set[str]
) -> None:
    """run.py looks for Berlin there, and in a sidecar it may look for either (R6)."""
    context = DocumentContext(
        passes={("ctl", "orig"): Pass("Paris", control=True)}, corrected=corrected, own=own
    )
    rules = {
        text: [v.rule for v in check_flags(Row(file, KEY, CELLS | {"top1": text}), context)]
        for text in (" Paris ", " Berlin ", "x")
    }
    assert rules == {text: [Rule.IS_ANSWER] * (text in refused) for text in rules}


def test_the_last_number_that_is_close_to_zero() -> None:
    """It is the fixed point of its own bound."""
    last = 2e-6
    for _ in range(9):
        last = 2e-6 + 1e-4 * last
    assert close(0.0, last)
    assert close(last, 0.0)
    assert not close(0.0, nextafter(last, 1))
    assert close(-3.0, -3.0)
