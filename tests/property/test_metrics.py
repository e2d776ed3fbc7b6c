"""Every metric: its bounds, its invariances, and the float64 oracle of the contract."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from lenses_min.core import decode as row_decoder
from lenses_min.core import last_layer, metrics, raw_lens
from lenses_min.core.distribution import softmax
from lenses_min.core.host import to_host
from spec import oracle

from .strategies import SCALES, SEEDS, SIZES, logits

RTOL, ATOL = 1e-4, 2e-6


def measured(
    z: torch.Tensor, final: torch.Tensor, answers: list[int], k: int = 20
) -> dict[str, np.ndarray]:
    return vars(to_host(metrics.measure(z, final, answers, k)))


@given(SEEDS, SIZES, SCALES, st.data())
def test_every_metric_equals_the_oracle(
    seed: int, v: int, scale: float, data: st.DataObject
) -> None:
    answer = data.draw(st.integers(0, v - 1))
    z, final = logits(seed, 3, v, scale=scale), logits(seed + 1, v, scale=scale)
    result = measured(z, final, [answer])
    q = oracle.softmax(final.double().numpy())
    for i, row in enumerate(z.double().numpy()):
        p = oracle.softmax(row)
        expected = {
            "entropy": oracle.entropy_bits(row),
            "kl": oracle.kl_bits(p, q) * math.log(2),
            "cos": oracle.cosine(row, final.double().numpy()),
            "p_top5": oracle.p_top5(p),
        }
        for name, value in expected.items():
            assert result[name][i] == pytest.approx(value, rel=RTOL, abs=ATOL), name
        assert result["p_answer"][i, 0] == pytest.approx(p[answer], rel=RTOL, abs=ATOL)
        assert result["top_p"][i] == pytest.approx(p[oracle.top_k(p, 20)], rel=RTOL, abs=ATOL)
        if np.diff(np.sort(row)).min() > 1e-5 * scale and p.min() > 1e-30:
            assert result["top_id"][i].tolist() == oracle.top_k(p, 20)
            assert result["rank"][i, 0] == oracle.answer_rank(p, answer)


@given(SEEDS, SIZES, SCALES)
@example(seed=0, v=2, scale=60.0)
def test_bounds(seed: int, v: int, scale: float) -> None:
    z, final = logits(seed, 4, v, scale=scale), logits(seed + 1, v, scale=scale)
    result = measured(z, final, [0])
    assert (result["entropy"] >= 0).all()
    assert (result["entropy"] <= math.log2(v) + 1e-5).all()
    assert (result["kl"] >= -1e-6).all()
    assert (np.abs(result["cos"]) <= 1 + 1e-6).all()
    assert ((result["rank"] >= 1) & (result["rank"] <= v)).all()
    assert (np.diff(result["top_p"], axis=1) <= 0).all()
    assert result["top_p"].shape == (4, min(v, 20))


@given(SIZES)
def test_uniform_logits_have_full_entropy_and_no_divergence(v: int) -> None:
    result = measured(torch.full((1, v), 3.0), torch.zeros(v), [v - 1])
    assert result["entropy"][0] == pytest.approx(math.log2(v), rel=1e-6)
    assert result["kl"][0] == pytest.approx(0, abs=1e-6)
    assert result["rank"][0, 0] == 1, "ties share the better rank"


@given(SEEDS, SIZES)
def test_an_impossible_token_adds_nothing(seed: int, v: int) -> None:
    z = logits(seed, 1, v)
    more = torch.cat([z, torch.full((1, 1), -torch.inf)], -1)
    result, without = (metrics.entropy_bits(softmax(one)).tolist() for one in (more, z))
    assert result == pytest.approx(without, rel=1e-5, abs=1e-6)


@given(SEEDS, SIZES)
def test_rank_one_is_top_one(seed: int, v: int) -> None:
    z = logits(seed, 1, v)
    result = measured(z, z[0], list(range(v)))
    assert [i for i in range(v) if result["rank"][0, i] == 1] == [result["top_id"][0, 0]]
    assert result["kl"][0] == 0
    assert result["cos"][0] == pytest.approx(1, abs=1e-6)


@given(SEEDS, SIZES, st.floats(-50, 50))
def test_softmax_shift_changes_probabilities_nowhere(seed: int, v: int, shift: float) -> None:
    z, final = logits(seed, 2, v), logits(seed + 1, v)
    plain, moved = measured(z, final, [1]), measured(z + shift, final + shift, [1])
    for name in ("entropy", "kl", "top_p", "p_top5", "p_answer"):
        assert moved[name] == pytest.approx(plain[name], rel=1e-4, abs=1e-5), name


@given(SEEDS, SIZES)
def test_a_permuted_vocabulary_permutes_nothing_but_ids(seed: int, v: int) -> None:
    order = np.random.RandomState(seed).permutation(v)
    z, final = logits(seed, 2, v), logits(seed + 1, v)
    plain, moved = (
        measured(z, final, [0]),
        measured(z[:, order], final[order], [int(np.argwhere(order == 0)[0, 0])]),
    )
    assert (order[moved["top_id"]] == plain["top_id"]).all()
    for name in ("entropy", "kl", "cos", "top_p", "p_top5", "p_answer", "rank"):
        assert moved[name] == pytest.approx(plain[name], rel=1e-5, abs=1e-6), name


@given(SEEDS, st.integers(1, 50), st.integers(0, 7))
def test_chunks_and_sections_change_nothing(seed: int, chunk: int, split: int) -> None:
    from unittest.mock import patch

    from lenses_min.core.types import Rows

    z, final = logits(seed, 7, 5), logits(seed + 1, 5)
    rows = Rows(z, list(range(7)), [0] * 7)
    lenses = {"x": lambda x, layers: x * (1 + layers[:, None])}
    sections = [
        row_decoder.RowBlock(rows[:split], final, [2]),
        row_decoder.RowBlock(rows[split:], "x", [1]),
    ]
    expected = [measured(z[:split] * torch.arange(1, split + 1)[:, None], final, [2])]
    after = z[split:] * torch.arange(split + 1, 8)[:, None]
    expected.append(
        {key: value.numpy() for key, value in vars(metrics.measure(after, after, [1], 5)).items()}
    )
    with patch.object(row_decoder, "CHUNK_ELEMENTS", chunk):
        results = row_decoder.decode_rows(lenses, sections, 5, 5)
    for result, wanted in zip(results, expected, strict=True):
        for name, value in wanted.items() if wanted["rank"].size else ():
            numbers = getattr(result.by_lens["x"], name).numpy()
            assert numbers == pytest.approx(value, rel=1e-5, abs=1e-6), name
    last = results[1].last_logits
    assert torch.allclose(last["x"], after[-1]) if split < 7 else last == {}


@given(SEEDS, SIZES, SCALES)
def test_temperature_estimate_equals_the_oracle(seed: int, v: int, scale: float) -> None:
    z, final = logits(seed, v, scale=scale), logits(seed + 1, v, scale=scale)
    block = last_layer.last_layer_consistency(
        to_host(last_layer.compare_logits(z, final, [0])), [0]
    )
    q = oracle.softmax(final.double().numpy())
    best, kl = oracle.temperature_estimate(z.double().numpy(), q)
    assert block["kl_after_temp_bits"] == pytest.approx(kl, rel=RTOL, abs=ATOL)
    assert block["kl_to_final_bits"] == pytest.approx(
        oracle.kl_bits(oracle.softmax(z.double().numpy()), q), rel=RTOL, abs=ATOL
    )
    kls = sorted(
        oracle.kl_bits(oracle.softmax(z.double().numpy() / s), q) for s in oracle.TEMPERATURES
    )
    if kls[1] - kls[0] > 1e-3 * kls[0] + 1e-5:
        assert block["temp_est"] == pytest.approx(best, rel=1e-6)
    assert block["top1_agree"] == (int(z.argmax()) == int(final.argmax()))
    assert block["warn_high_last_layer_kl"] == (block["kl_to_final_bits"] > 0.5)


@given(SEEDS, SIZES, st.sampled_from([0.5, 2.0]))
def test_a_scaled_copy_is_recognised_by_its_temperature(seed: int, v: int, factor: float) -> None:
    final = logits(seed, v, scale=3.0)
    scaled = final * float(last_layer.TEMPERATURES[15 if factor == 2.0 else 9])
    block = last_layer.last_layer_consistency(
        to_host(last_layer.compare_logits(scaled, final, [])), []
    )
    assert block["kl_after_temp_bits"] == pytest.approx(0, abs=1e-5)
    assert block["p_answer_lens"] is None
    assert block["answer_rank_lens"] is None


@given(st.integers(1, 100), st.sampled_from(["off", "sample", "full"]))
def test_sampled_layers_equal_the_oracle(n_layers: int, mode: str) -> None:
    assert raw_lens.sampled_layers(mode, n_layers) == oracle.raw_lens_layers(n_layers, mode)


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_risk_equals_the_oracle(samples: list[tuple[float, bool, bool]]) -> None:
    entries = [
        {"layer": i, "kl_norm_vs_raw_bits": kl, "is_answer_norm": norm, "is_answer_raw": raw}
        for i, (kl, norm, raw) in enumerate(samples)
    ]
    summary = raw_lens.raw_lens_check("full", entries)["summary"]
    alone = [i for i, (_, norm, raw) in enumerate(samples) if norm and not raw]
    assert summary["first_norm_only_semantic_layer"] == (alone[0] if alone else None)
    assert summary["lens_artifact_risk"] == oracle.raw_lens_risk(
        max(kl for kl, _, _ in samples), bool(alone)
    )


@given(SEEDS, SIZES, SCALES)
def test_divergences_equal_the_oracle_and_keep_their_bounds(
    seed: int, v: int, scale: float
) -> None:
    z = logits(seed, 4, v) * scale
    p, q = softmax(z[:3]), softmax(z[3:])
    result = metrics.diverge(p, q)
    for i in range(3):
        a, b = oracle.softmax(z[i].double().numpy()), oracle.softmax(z[3].double().numpy())
        assert float(result.kl_bits[i]) == pytest.approx(oracle.kl_bits(a, b), rel=1e-6, abs=1e-12)
        assert float(result.js_bits[i]) == pytest.approx(oracle.js_bits(a, b), rel=1e-6, abs=1e-12)
        assert float(result.tv[i]) == pytest.approx(oracle.total_variation(a, b), rel=1e-6)
        assert bool(result.top1_agree[i]) == (a.argmax() == b.argmax())
    js, tv = result.js_bits, result.tv
    assert (js >= 0).all()
    assert (js <= tv).all()
    assert (tv <= 1).all()
    assert (result.kl_bits * (1 + 1e-6) + 1e-12 >= 2 * tv**2 / math.log(2)).all(), "Pinsker"
    turned = metrics.diverge(q, p)
    assert torch.allclose(turned.js_bits, result.js_bits, atol=1e-6)
    assert torch.allclose(turned.tv, result.tv, atol=1e-6)


def test_pairs_are_held_against_each_other_at_the_last_position_alone() -> None:
    from lenses_min.core.types import Rows

    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    rows = Rows(x, [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])
    lenses = {"a": lambda x, layers: x, "b": lambda x, layers: -x}
    section = row_decoder.RowBlock(rows, x[0], [1], pairs=[("a", "b"), ("b", "model")])
    (result,) = row_decoder.decode_rows(lenses, [section], 5, 2)
    assert [*result.by_lens] == ["a", "b"]
    assert [*result.by_pair] == section.pairs
    ends = x[[2, 5]]
    expected = metrics.diverge(softmax(ends), softmax(-ends))
    assert torch.allclose(result.by_pair["a", "b"].kl_bits, expected.kl_bits)
    expected = metrics.diverge(softmax(-ends), softmax(x[:1]))
    assert torch.allclose(result.by_pair["b", "model"].js_bits, expected.js_bits)


@given(SEEDS, st.sampled_from([640, 1280, 1290]), st.integers(1, 3), st.booleans())
def test_the_largest_are_listed_as_topk_lists_them(seed: int, v: int, k: int, ties: bool) -> None:
    """Ids and their order, also of equal logits and of a vocabulary that is no multiple of a group."""
    z = logits(seed, 4, v)
    z = (z * 3).round() if ties else z
    assert torch.equal(metrics.top_ids(z, k), z.topk(k).indices)
    z[:, -k - 3 :] = 99.0
    assert torch.equal(metrics.top_ids(z, k), z.topk(k).indices)


@given(SEEDS, st.integers(1, 7), st.integers(1, 7))
def test_any_cut_into_blocks_gives_the_same_numbers(seed: int, rows: int, other: int) -> None:
    """Of one reference for all rows and of one for each."""
    from unittest.mock import patch

    from lenses_min.core import distribution

    z, final = logits(seed, 7, 320), logits(seed + 1, 7, 320)
    for reference in (final[0], final):
        result = []
        for size in (rows, other):
            with patch.dict(distribution.BLOCK, cpu=size * 320):
                result.append(vars(to_host(metrics.measure(z, reference, [3, 5], 4))))
        for name, numbers in result[0].items():
            assert numbers == pytest.approx(result[1][name], rel=1e-6, abs=1e-12), name
