"""A whole model in half precision on the CPU against the same model and lens in float64, with the bounds it keeps.

u is the unit roundoff, 2⁻⁸ for bfloat16 and 2⁻¹¹ for float16. Measured on the eleven tiny models: residuals are off by
at most 18.4 u of their length, lens logits by 16.3 u of the largest; entropy by 0.009 bits in float16 and 0.059 in
bfloat16, KL by 0.023 and 0.122 bits.
"""

from pathlib import Path

import numpy as np
import oracle_forward as plain
import pytest
import torch

from lenses_min import RunOptions
from lenses_min.core.metrics import measure
from lenses_min.lenses.norm import NormLens
from lenses_min.model import load
from lenses_min.model.verify import capture
from spec import oracle

ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
ENTROPY = {"float16": 0.02, "bfloat16": 0.1}  # bits
KL = {"float16": 0.05, "bfloat16": 0.2}  # bits
STEPS = 25  # roundings of one direction, in u


@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize("name", ["fact", "rms-rope", "layernorm-parallel", "softcap-postnorm"])
def test_half_precision_stays_near_float64(name: str, dtype: str, models: Path) -> None:
    exact, tiny, u = plain.run(name, plain.GERMANY), plain.load(name), ROUNDOFF[dtype]
    model = load.load(RunOptions(str(models / name), device="cpu", dtype=dtype))
    assert (model.facts.dtype, model.head.weight.dtype) == (dtype, getattr(torch, dtype))
    n = model.facts.n_layers
    residuals, final = capture(model.bridge, exact.input_ids, n, range(n + 1))
    q = oracle.softmax(exact.final_logits)
    for layer in range(n + 1):
        x, expected = residuals.at(layer).double().numpy(), exact.residuals[layer]
        assert residuals.at(layer).dtype == getattr(torch, dtype)
        assert np.linalg.norm(x - expected) <= STEPS * u * np.linalg.norm(expected)
        norm = tiny.norms[oracle.norm_name(layer, n)]
        z = oracle.norm_lens(expected[-1], norm.scale, norm.eps, tiny.W_U, tiny.b_U)
        decoded = NormLens(model.norms, model.head).decode(
            residuals.at(layer)[-1:], torch.tensor([layer])
        )
        assert np.abs(decoded[0].numpy() - z).max() <= STEPS * u * np.abs(z).max()
        metrics = measure(decoded, final, [], 1)
        assert float(metrics.entropy) == pytest.approx(oracle.entropy_bits(z), abs=ENTROPY[dtype])
        kl = oracle.kl_bits(oracle.softmax(z), q)
        assert float(metrics.kl) / np.log(2) == pytest.approx(kl, abs=KL[dtype])
