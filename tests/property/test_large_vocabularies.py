"""Every bounded quantity with vocabularies of 262,144 and 1,000,000 tokens, against the float64 oracle.

Bound: RELATIVE of the exact value. Below FLOOR the exact value itself is a difference of numbers near 1, which
float64 resolves to 1e-16 each; probabilities below the least normal float32 lose digits as they are written.
Ranges hold exactly, on the numbers as a run writes them.
"""

import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from math import exp, log, log2
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from lenses_min.core import decode, distribution, last_layer, metrics, probes
from lenses_min.core.distribution import Distribution, softmax
from lenses_min.core.host import to_host
from lenses_min.core.types import Rows
from lenses_min.fit.logits import kls_of_logits
from lenses_min.model import proof
from lenses_min.pipeline.answers import model_log_p
from lenses_min.prompts.suite import TEMPERATURES
from spec import oracle

from .strategies import logits

V = 262_144
RELATIVE, FLOOR, LEAST_P = 1e-6, 1e-12, 2.0**-126


def flat(seed: int, v: int) -> torch.Tensor:
    return torch.full((v,), seed % 100 - 50.3)


def nearly_flat(seed: int, v: int) -> torch.Tensor:
    return logits(seed, v, scale=0.01) + seed % 100


def spread(seed: int, v: int) -> torch.Tensor:
    return logits(seed, v, scale=3.0)


def peaked(seed: int, v: int) -> torch.Tensor:
    z = logits(seed, v, scale=0.5)
    z[seed % v] = (20.1, 33.3, 80.7)[seed % 3]
    return z


def tied(seed: int, v: int) -> torch.Tensor:
    """A dozen different values."""
    return logits(seed, v, scale=3.0).round() / 3


def tied_below_a_peak(seed: int, v: int) -> torch.Tensor:
    z = torch.full((v,), -9.1)
    z[seed % v] = seed % 10 + 0.7
    return z


def tied_at_the_top(seed: int, v: int) -> torch.Tensor:
    z = logits(seed, v, scale=2.0)
    z[[seed % v, (seed + 7) % v, (seed + 77) % v]] = 15.3
    return z


SHAPES = (flat, nearly_flat, spread, peaked, tied, tied_below_a_peak, tied_at_the_top)
SEEDS = st.integers(0, 2**32 - 10)
few = settings(max_examples=3)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)


def near(exact: Any, floor: float = FLOOR, relative: float = RELATIVE) -> Any:
    return pytest.approx(exact, rel=relative, abs=floor)


def wide(z: torch.Tensor) -> oracle.Array:
    return z.double().numpy()


def inside(numbers: Mapping[str, np.ndarray], v: int) -> None:
    """The ranges of a row, of numbers as the host has them."""
    for name in ("top_p", "p_top5", "p_answer"):
        assert (numbers[name] >= 0).all(), name
        assert (numbers[name] <= 1).all(), name
    assert (numbers["entropy"] >= 0).all()
    assert (numbers["entropy"] <= log2(v)).all()
    assert (numbers["kl"] >= 0).all()
    assert (np.abs(numbers["cos"]) <= 1).all()
    assert (numbers["log_p_answer"] <= 0).all()
    assert ((numbers["rank"] >= 1) & (numbers["rank"] <= v)).all()


def hold_against_the_oracle(z: torch.Tensor, final: torch.Tensor, answer: int) -> None:
    """Every number of `measure`, of one row."""
    v = len(z)
    numbers = vars(to_host(metrics.measure(z[None], final, [answer], 20)))
    inside(numbers, v)
    row, q = wide(z), oracle.softmax(wide(final))
    p = oracle.softmax(row)
    sorted_p = np.sort(p)[::-1]
    assert numbers["top_p"][0] == near(sorted_p[:20], LEAST_P)
    assert (row[numbers["top_id"][0]] == np.sort(row)[::-1][:20]).all()
    assert numbers["p_top5"][0] == near(sorted_p[:5].sum())
    assert numbers["entropy"][0] == near(oracle.entropy_bits(row))
    assert numbers["kl"][0] / log(2) == near(oracle.kl_bits(p, q))
    assert numbers["cos"][0] == near(oracle.cosine(row, wide(final)), 1e-9)
    assert numbers["p_answer"][0, 0] == near(p[answer], LEAST_P)
    assert numbers["log_p_answer"][0, 0] == near(oracle.log_softmax(row)[answer])
    rounded = p.astype(np.float32)
    assert numbers["rank"][0, 0] == 1 + (rounded > rounded[answer]).sum()


@every_shape
@given(SEEDS, st.sampled_from(SHAPES))
@few
def test_the_numbers_of_a_row_are_exact(shape: Any, seed: int, other: Any) -> None:
    hold_against_the_oracle(shape(seed, V), other(seed + 1, V), seed % V)


def divergences(a: torch.Tensor, b: torch.Tensor) -> dict[str, np.ndarray]:
    """Numbers of the agreement table of two lenses, and of the first with the model."""
    rows = Rows(torch.zeros(1, 1), [0], [0])
    section = decode.RowBlock(rows, b, [], pairs=[("a", "b"), ("a", "model")])
    lenses = {"a": lambda x, layers: a[None], "b": lambda x, layers: b[None]}
    by_pair = to_host(decode.decode_rows(lenses, [section], len(a), 1)[0].by_pair)
    numbers, of_model = vars(by_pair["a", "b"]), vars(by_pair["a", "model"])
    for name in numbers:
        assert of_model[name] == pytest.approx(numbers[name], rel=RELATIVE)
    return numbers


@every_shape
@given(SEEDS, st.sampled_from(SHAPES))
@few
def test_divergences_are_exact_and_stay_in_their_range(shape: Any, seed: int, other: Any) -> None:
    a, b = shape(seed, V), other(seed + 1, V)
    result = divergences(a, b)
    kl, js, tv = (float(result[name][0]) for name in ("kl_bits", "js_bits", "tv"))
    p, q = oracle.softmax(wide(a)), oracle.softmax(wide(b))
    assert kl == near(oracle.kl_bits(p, q))
    assert js == near(oracle.js_bits(p, q))
    assert tv == near(oracle.total_variation(p, q))
    assert kl >= 0
    assert 0 <= js <= tv <= 1


@pytest.mark.parametrize("step", [1e-3, 1e-5, 1e-6])
def test_nearly_equal_distributions_diverge_by_no_less_than_nothing(step: float) -> None:
    """Most of the difference cancels: KL here is 1e-6, 1e-10 and about 1e-12 bits."""
    a = logits(1, V)
    b = a + step * logits(2, V)
    result = divergences(a, b)
    p, q = oracle.softmax(wide(a)), oracle.softmax(wide(b))
    assert result["kl_bits"][0] == near(oracle.kl_bits(p, q), 1e-14)
    assert result["js_bits"][0] == near(oracle.js_bits(p, q), 1e-14)
    same = divergences(a, a + 7)
    assert {name: same[name][0] for name in ("kl_bits", "tv")} == near(
        {"kl_bits": 0, "tv": 0}, RELATIVE
    )
    assert all(same[name][0] >= 0 for name in ("kl_bits", "js_bits", "tv"))


@every_shape
def test_the_blocks_of_temperatures_are_exact(shape: Any) -> None:
    z, final = shape(3, V), spread(4, V)
    compared = to_host(last_layer.compare_logits(z, final, [5]))
    top = to_host(probes.at_temperatures(z))
    block = last_layer.last_layer_consistency(compared, [5])
    q = oracle.softmax(wide(final))
    best, kl = oracle.temperature_estimate(wide(z), q)
    assert block["temp_est"] == near(best, relative=1e-5)
    assert block["kl_after_temp_bits"] == near(kl)
    assert (compared.kl_at_temperatures >= 0).all()
    for i, t in enumerate((1.0, *TEMPERATURES)):
        assert top.entropy[i] == near(oracle.entropy_bits(wide(z) / t))
        assert 0 <= top.entropy[i] <= log2(V)
        exact = np.sort(oracle.softmax(wide(z) / t))[::-1][:20]
        assert top.top_p[i] == near(exact, LEAST_P)
        assert (top.top_p[i] <= 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_test_prompts_say_is_exact_but_for_the_models_dtype(dtype: torch.dtype) -> None:
    z = torch.stack([shape(5, V) for shape in SHAPES]).to(dtype)
    result = vars(to_host(probes.summarise(z, dtype, 10)))
    for i, row in enumerate(map(wide, z)):
        exact = np.sort(oracle.softmax(row))[::-1][:10]
        info = torch.finfo(dtype)
        assert result["top_p"][i] == near(exact, info.tiny, max(info.eps, RELATIVE))
        assert result["entropy"][i] == near(oracle.entropy_bits(row))
        assert (result["top_p"] <= 1).all()


@every_shape
def test_the_errors_of_fits_and_proofs_are_exact(shape: Any) -> None:
    z, final = shape(6, V), nearly_flat(7, V)
    exact = oracle.kl_bits(oracle.softmax(wide(z)), oracle.softmax(wide(final)))
    rows = [softmax(row[None]) for row in (final, z)]  # a row a block, as below: sums round alike
    model = Distribution(*(torch.cat([getattr(r, name) for r in rows]) for name in ("p", "log_p")))
    of_fit, back = kls_of_logits(torch.stack([z, z]), model)
    assert (of_fit / log(2)).tolist() == [near(exact), 0]
    assert back[1] == 0
    for logits_of_model, bits in ((final, exact), (z, 0)):
        logits = last_layer.LastLogits(wide(z), wide(logits_of_model))
        error = proof.last_layer_error(logits, "float32")
        assert error["kl_bits"] == near(bits)
        assert error["kl_bits"] >= 0


@every_shape
def test_whole_answers_are_exact(shape: Any) -> None:
    ids, z = [3, 5, 8], torch.stack([shape(seed, V) for seed in (3, 4, 5)])
    result = to_host({"log_p": model_log_p(z, ids)})
    exact = oracle.surprisal_bits(map(wide, z), ids)
    assert -result["log_p"].sum() / log(2) == near(exact)
    assert (result["log_p"] <= 0).all()
    assert 0 <= exp(result["log_p"].sum()) <= 1


def test_a_million_tokens() -> None:
    v = 1_000_000
    for shape, other in ((flat, spread), (spread, peaked), (peaked, tied_at_the_top)):
        z, final = shape(11, v), other(12, v)
        hold_against_the_oracle(z, final, 11)
    result = divergences(z, final)
    p, q = oracle.softmax(wide(z)), oracle.softmax(wide(final))
    assert result["js_bits"][0] == near(oracle.js_bits(p, q))
    assert result["tv"][0] == near(oracle.total_variation(p, q))


@every_shape
def test_without_float64_every_number_stays_in_its_range(shape: Any) -> None:
    """As on MPS: float32 throughout, summed pairwise. The differences of logits are rounded, up to 4e-6 of 64."""
    z, final = shape(8, V), spread(9, V)
    with patch.object(distribution, "WITHOUT_FLOAT64", {"cpu"}):
        numbers = vars(to_host(metrics.measure(z[None], final, [5], 20)))
        apart = divergences(z, final)
    inside(numbers, V)
    assert 0 <= apart["js_bits"][0] <= apart["tv"][0] <= 1
    p, q = oracle.softmax(wide(z)), oracle.softmax(wide(final))
    rough = {"floor": 1e-6, "relative": 1e-5}
    assert numbers["entropy"][0] == near(oracle.entropy_bits(wide(z)), **rough)
    assert numbers["top_p"][0] == near(np.sort(p)[::-1][:20], **rough)
    assert numbers["kl"][0] / log(2) == near(oracle.kl_bits(p, q), **rough)
    assert apart["tv"][0] == near(oracle.total_variation(p, q), **rough)


class Memory(TorchDispatchMode):
    """The bytes of all tensors made while it is on, as far as they live, and the most of them at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # TorchDispatchMode is not annotated
        self.users: Counter[int] = Counter()
        self.sizes: dict[int, int] = {}
        self.most = 0

    def forget(self, place: int) -> None:
        self.users[place] -= 1
        if not self.users[place]:
            self.sizes.pop(place, None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        known = {t.untyped_storage().data_ptr() for t in args if isinstance(t, torch.Tensor)}
        for t in made if isinstance(made, tuple | list) else [made]:
            place = t.untyped_storage().data_ptr() if isinstance(t, torch.Tensor) else 0
            if place in self.sizes or (place and place not in known):
                self.sizes[place] = t.untyped_storage().nbytes()
                self.users[place] += 1
                weakref.finalize(t, self.forget, place)
        self.most = max(self.most, sum(self.sizes.values()))
        return made


@pytest.fixture
def memory() -> Iterator[Memory]:
    mode = Memory()
    yield mode
    mode.sizes.clear()


@pytest.mark.parametrize("v", [49_152, V, 1_000_000])
def test_float64_takes_no_second_copy_of_the_logits(v: int, memory: Memory) -> None:
    """Beside 32 MiB of logits: less than half of that, or, of a million tokens, a few float64 rows of 8 MB."""
    z = torch.randn(decode.CHUNK_ELEMENTS // v, v, generator=torch.Generator().manual_seed(0))
    with memory:
        metrics.measure(z, z[0] / 2, [1, 2], 20)
    assert memory.most < z.nbytes * (0.5 if v <= V else 2)


@pytest.mark.parametrize("shape", [(7,), (3, 8), (2, 3, 5), (4, 1), (2, 0, 3)])
def test_a_float32_sum_is_over_the_vocabulary_whatever_stands_before(
    shape: tuple[int, ...],
) -> None:
    """Whole numbers, which float32 adds exactly in any order."""
    x = torch.arange(float(np.prod(shape))).reshape(shape)
    assert torch.equal(distribution.total(x), x.sum(-1))
    assert torch.equal(distribution.total(x.double()), x.double().sum(-1))
