"""The numbers of the proof on both sides of each bound, and what a run makes of the numbers of its parts."""

from dataclasses import replace
from math import log, nan
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from lenses_min import LensError, RunOptions
from lenses_min.model import proof, verify
from lenses_min.model.last_token import LastToken
from lenses_min.model.load import LoadedModel

CONTRACTS = ("reference", "corrected")


@pytest.mark.parametrize(("lowest", "step"), [(-20.0, 2.0**-6), (-20.5, 2.0**-7)])
def test_a_logit_of_30_nats_below_the_top_counts_and_a_lower_one_does_not(
    lowest: float, step: float
) -> None:
    """float16 has steps of 2⁻⁶ from 16 on, and of 2⁻⁷ from 8 on; the top logit is 10."""
    assert proof.step(np.array([10.0, lowest]), "float16") == step


def reading(logit: float = 1.0, stream: np.ndarray | None = None) -> LastToken:
    return LastToken((1,), stream, None, None, np.array([logit, 0.0]))


@pytest.mark.parametrize(("rows", "roundings"), [(0, 1), (2, 3), (3, 5)])
def test_the_bridge_rounds_the_logits_once_and_the_stream_twice_a_block(
    rows: int, roundings: int
) -> None:
    """Neighbours of 1 are 2⁻⁷ apart in bfloat16; without a stream the logits alone are compared."""
    of_run = reading(stream=np.ones((rows, 2)) if rows else None)
    error = proof.bridge_error(of_run, of_run, "bfloat16")
    bound = pytest.approx(roundings * 2.0**-14 / 8 / log(2))
    assert error == {
        "kl_bits": 0.0,
        "max_logit_error": 0.0,
        "bound_bits": bound,
        "parts_at": None,
    }


@pytest.mark.parametrize(
    ("kl_bits", "parts_at"), [(0.0, None), (0.5, None), (0.51, "the head"), (nan, "the head")]
)
def test_a_deviation_within_rounding_is_named_where_the_error_is_beyond_its_bound(
    kl_bits: float, parts_at: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "compare", lambda *_: {"kl_bits": kl_bits, "bound_bits": 0.5})
    error = proof.bridge_error(reading(), reading(1 + 1e-6), "float32")
    assert error["parts_at"] == parts_at


def test_the_place_of_an_error_beyond_its_bound_is_off_by_a_tenth_of_the_worst() -> None:
    worst = ("b", 1e-5)
    for share, place in ((0.95e-6, worst), (1.05e-6, ("a", 1.05e-6))):
        assert proof.first_deviation([("a", share), worst], "float32", True) == place
    assert proof.first_deviation([worst], "float32", False) is None


def test_readings_are_compared_at_every_place_that_both_have() -> None:
    """By the largest difference over the largest value; without an unembedding the logits are the head's."""
    own = LastToken(
        (1,), None, np.array([0.5, 0.25]), np.array([0.5, -0.25, 0.0]), np.array([1.0, 0.0, 0.0])
    )
    other = LastToken(
        (1,), None, np.array([0.5, 0.5]), np.array([0.375, -0.25, 0.0]), np.array([0.875, 0.0, 0.0])
    )
    norm = ("the final norm", 0.5)
    whole = [norm, ("the head", 0.25), ("the output transform", 0.125)]
    assert proof.deviations(own, other) == whole
    bare_own, bare_other = replace(own, unembedded=None), replace(other, unembedded=None)
    for one, two in ((own, bare_other), (bare_own, other), (bare_own, bare_other)):
        assert proof.deviations(one, two) == [norm, ("the head", 0.125)]


def error_of(kl_bits: float) -> dict[str, float]:
    return {"kl_bits": kl_bits, "max_logit_error": 1.0, "bound_bits": 0.5}


BRIDGE = {"kl_bits": 0.0, "parts_at": None}


def block(kl_bits: float, holds: bool, parts_at: str | None = None) -> dict[str, Any]:
    return {
        **error_of(kl_bits),
        "dtype": "bfloat16",
        "holds": holds,
        "parts_at": parts_at,
        "transformers": BRIDGE,
    }


@pytest.mark.parametrize(("kl_bits", "holds"), [(0.25, True), (0.5, True), (0.51, False)])
def test_a_proof_holds_up_to_its_bound(kl_bits: float, holds: bool) -> None:
    errors = [error_of(0.125), error_of(kl_bits)]
    assert proof.proof(errors, "bfloat16", BRIDGE) == block(kl_bits, holds)


def prove(kl_bits: float, contract: str) -> dict[str, Any]:
    """The proof of a run of two parts, of which the second has the prompt that transformers read."""
    model = Mock(spec=LoadedModel, facts=SimpleNamespace(dtype="bfloat16"))
    parts = [
        proof.Measured(error_of(kl_bits), (5,), {}),
        proof.Measured(error_of(0.125), (6,), BRIDGE),
    ]
    return verify.prove(model, parts, RunOptions("m", contract=contract))


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_proof_of_a_run_is_of_its_worst_part_and_of_the_part_that_transformers_read(
    contract: str,
) -> None:
    """No prompt is read again."""
    assert prove(0.25, contract) == block(0.25, holds=True)


def test_a_proof_that_fails_is_an_error_under_the_corrected_contract_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def placed(model: Any, failed: dict[str, Any], ids: tuple[int, ...]) -> dict[str, Any]:
        return failed | {"parts_at": f"the place of {ids}"}

    monkeypatch.setattr(verify, "with_place", placed)
    failed = block(1.0, holds=False, parts_at="the place of (5,)")
    assert prove(1.0, "reference") == failed
    with pytest.raises(LensError) as caught:
        prove(1.0, "corrected")
    assert str(caught.value) == proof.sentence(failed)
