"""The oracle against numbers worked out by hand."""

from math import log2
from typing import Any

import numpy as np
import pytest

from spec import oracle

Cells = dict[str, Any]


def test_distributions_by_hand() -> None:
    z = np.log([0.5, 0.25, 0.125, 0.125])
    assert oracle.softmax(z + 1000.0) == pytest.approx([0.5, 0.25, 0.125, 0.125])
    assert oracle.log_softmax(z) == pytest.approx(z)
    known = [oracle.entropy_bits(v) for v in (z, np.zeros(8), np.array([0.0, -np.inf]))]
    assert known == pytest.approx([1.75, 3.0, 0.0])  # uniform: log2 V
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    assert oracle.kl_bits(p, q) == pytest.approx(1 - 0.5 * log2(3))
    assert oracle.kl_bits(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(log2(1e30))
    assert oracle.cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0])) == pytest.approx(0.96)
    assert oracle.cosine(np.zeros(2), p) == 0.0
    s = float(oracle.TEMPERATURES[17])
    assert oracle.temperature_estimate(s * z, np.exp(z)) == pytest.approx((10 ** (5 / 12), 0.0))
    assert len(oracle.TEMPERATURES) == 25
    assert oracle.TEMPERATURES[[0, 12, 24]] == pytest.approx([0.1, 1.0, 10.0])


@pytest.mark.parametrize("v", [3, 7, 115, 49_152, 262_144])
def test_what_is_bounded_stays_there_to_the_last_bit(v: int) -> None:
    """Sums of float64 end above 1, below 0 or above log2 V by a last bit; every range is exact all the same."""
    draw = np.random.RandomState(v)
    rows = [
        np.full(v, 0.1),
        draw.standard_normal(v),
        1e-9 * draw.standard_normal(v),
        np.eye(1, v)[0] * 900,
    ]
    for z in rows:
        p = oracle.softmax(z)
        assert 0 <= oracle.entropy_bits(z) <= log2(v)
        assert 0 <= oracle.p_top5(p) <= 1
        for other in rows:
            q = oracle.softmax(other)
            assert oracle.kl_bits(p, q) >= 0
            assert 0 <= oracle.js_bits(p, q) <= oracle.total_variation(p, q) <= 1
            assert -1 <= oracle.cosine(z, other * 3) <= 1
        assert oracle.surprisal_bits([z, z], [0, 1]) >= 0


def test_ranks_and_sums_by_hand() -> None:
    p = np.array([0.05, 0.3, 0.1, 0.3, 0.2, 0.05])
    assert [oracle.answer_rank(p, i) for i in (1, 3, 4, 0, None)] == [1, 1, 3, 5, None]
    assert (oracle.top_k(p, 3), oracle.top_k(p, 20)) == ([1, 3, 4], [1, 3, 4, 2, 0, 5])
    assert oracle.p_top5(p) == pytest.approx(0.95)
    assert (oracle.answer_probability(p, 2), oracle.answer_probability(p, None)) == (0.1, None)
    assert (oracle.rest_mass([0.5, 0.25]), oracle.rest_mass([0.9, 0.2])) == (0.25, 0.0)
    assert oracle.control_margin(p, 0, 1) == pytest.approx(-0.25)
    assert oracle.control_margin(p, None, 1) is None
    assert oracle.first_layer([None, 3, 1, 0], lambda rank: rank <= 1) == 2
    assert oracle.first_layer([None, 3], lambda rank: rank <= 1) is None


@pytest.mark.parametrize(
    ("changed", "copies"),
    [
        ({}, True),
        ({"window": [9, 7]}, False),
        ({"window": [7, 5]}, False),
        ({"window": []}, False),
        ({"p": (0.95, 0.01)}, False),
        ({"p": (1.0, 0.875)}, True),
        ({"p": (1.0, 0.875), "limits": (0.95, 0.125)}, False),
        ({"top1_text": " ."}, False),
        ({"top1_text": " \n"}, False),
        ({"top1_text": ""}, False),
    ],
)
def test_copy_collapse_by_hand(changed: Cells, copies: bool) -> None:
    usual: Cells = {"window": [7, 9], "ctx_ids": [5, 7, 9, 5], "p": (0.96, 0.01)}
    usual |= {"limits": (0.95, 0.1), "top1_text": " a."}
    assert oracle.copy_collapse(**{**usual, **changed}) is copies


def test_flags_and_layers_by_hand() -> None:
    assert [oracle.entropy_collapse(h) for h in (0.0, 1.0, 1.001)] == [True, True, False]
    answers = [(1, "Rome"), (2, "Berlin"), (None, " Berlin\n"), (None, "Berlin.")]
    assert [oracle.is_answer(rank, text, "Berlin") for rank, text in answers] == [
        True,
        False,
        True,
        False,
    ]
    assert [oracle.raw_lens_risk(*pair) for pair in ((0.1, True), (1.0, False))] == ["high", "high"]
    assert [oracle.raw_lens_risk(kl, False) for kl in (0.999, 0.5, 0.499)] == [
        "medium",
        "medium",
        "low",
    ]
    assert [oracle.raw_lens_layers(4, mode) for mode in ("off", "full")] == [[], [0, 1, 2, 3, 4]]
    assert [oracle.raw_lens_layers(n, "sample") for n in (1, 12)] == [[0, 1], [0, 4, 7, 10]]
    assert [oracle.norm_name(layer, 2) for layer in (0, 1, 2)] == [
        "blocks.0.ln1",
        "blocks.1.ln1",
        "ln_final",
    ]
    with pytest.raises(ValueError, match=r"layer must be in 0\.\.2, got 3"):
        oracle.norm_name(3, 2)


def test_norms_and_lenses_by_hand() -> None:
    x, scale, b = np.array([1.0, 7.0]), np.array([2.0, 3.0]), np.array([0.5, -0.5])
    for norm in (oracle.rms_norm, oracle.reference_norm):
        assert norm(x, scale, 11.0) == pytest.approx([1 / 3, 3.5])  # mean square 25, root of 36
    assert oracle.layer_norm(x, scale, b, 7.0) == pytest.approx(
        [-1.0, 1.75]
    )  # variance 9, root of 16
    W_U = np.array([[1.0, 0.0], [2.0, 1.0]])
    assert oracle.raw_lens(x, W_U, b) == pytest.approx([15.5, 6.5])
    assert oracle.norm_lens(x, scale, 11.0, W_U, b) == pytest.approx([1 / 3 + 7.5, 3.0])
    assert oracle.final_lens(x, lambda y: y - 1, W_U, b) == pytest.approx([12.5, 5.5])
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    whitened = oracle.prism_lens(x, (np.array([0.0, 1.0]), np.array([0.0, 3.0]), 1.0), swap, W_U, b)
    assert whitened == pytest.approx([5.5, 0.5])  # ((1, 6) / (1, 2)) swapped: (3, 1)
    assert oracle.output_transform(x, 2.0) == pytest.approx([2.0, 14.0])
    assert oracle.output_transform(x, 2.0, 4.0) == pytest.approx(
        [4 * np.tanh(0.5), 4 * np.tanh(3.5)]
    )
