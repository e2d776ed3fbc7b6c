"""What is read from a model once: its head."""

from pathlib import Path

import torch

from lenses_min import RunOptions
from lenses_min.loading import load
from spec.recipe import build, new_model


def test_the_bias_of_the_unembedding_is_read(tmp_path: Path) -> None:
    """No capture holds a model whose unembedding has a bias; Phi has one."""
    model = load(RunOptions(str(build(new_model("phi", seed=5), tmp_path / "phi")), device="cpu"))
    bias = model.bridge.unembed.original_component.bias
    assert model.head.bias is not None
    assert torch.equal(model.head.bias, bias)
    assert bias.abs().max() > 0.1


def test_the_head_is_float32_in_half_precision(models: Path) -> None:
    model = load(RunOptions(str(models / "rms-rope"), model_id="tiny/rms-rope-34B", device="cpu"))
    assert model.facts.dtype == "bfloat16"
    assert model.head.weight.dtype == torch.float32
