"""What is built around a model of transformers, and where and how its parts are read."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent
from transformer_lens.model_bridge.generalized_components.normalization import (
    NormalizationBridge,
)

from lenses_min.model import bridge as bridges
from lenses_min.model import load, pretrained
from lenses_min.model.placement import Placement


class LlamaForCausalLM(nn.Module):
    """Embeddings on a device of their own, and a head on the host."""

    config = "config"

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(2, 2, device="meta")
        self.head = nn.Linear(2, 2)

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings


@pytest.mark.parametrize(("sharded", "home", "devices"), [(False, "cpu", 1), (True, "meta", 2)])
def test_the_bridge_reads_tokens_where_the_model_does(
    sharded: bool, home: str, devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model on one device is where it was placed, one on several begins where its embeddings are."""
    made: list[tuple[Any, str, dict[str, Any]]] = []
    bridge = SimpleNamespace(
        cfg=SimpleNamespace(), modules=lambda: iter(()), original_model=nn.Module()
    )

    def build(model: Any, architecture: str, **more: Any) -> Any:
        made.append((model, architecture, more | {"device": str(more["device"])}))
        return bridge

    monkeypatch.setattr(bridges, "build_bridge_from_module", build)
    model: Any = LlamaForCausalLM()
    if sharded:
        model.hf_device_map = {"embeddings": 0, "head": "cpu"}
    placement = Placement("cpu", torch.bfloat16, device_map="auto" if sharded else None)
    assert bridges.boot(model, placement, "org/m") is bridge
    given = {"hf_config": "config", "dtype": torch.bfloat16, "device": home, "model_name": "org/m"}
    assert made == [(model, "LlamaForCausalLM", given)]
    assert (model.training, bridge.cfg.n_devices) == (False, devices)


def test_each_norm_computes_with_the_eps_of_its_own_module() -> None:
    """What is no norm, and a norm whose module has no eps, keep the configuration, which they share."""
    shared = SimpleNamespace(eps=9.0, uses_rms_norm=False)
    parts: list[Any] = [NormalizationBridge("norm", shared) for _ in range(3)]
    parts.append(GeneralizedComponent("other", shared))
    eps = [0.25, 0.5, None, 0.75]
    for part, value in zip(parts, eps, strict=True):
        part.set_original_component(
            nn.Linear(1, 1) if value is None else nn.LayerNorm(1, eps=value)
        )
    bridges.set_own_eps(nn.ModuleList(parts))
    assert [part.config.eps for part in parts] == [0.25, 0.5, 9.0, 9.0]
    assert [part.config is shared for part in parts] == [False, False, True, True]
    assert vars(shared) == {"eps": 9.0, "uses_rms_norm": False}


def doubled(logits: Tensor) -> Tensor:
    return 2 * logits


def of_head(linear: nn.Linear, home: str) -> Any:
    return SimpleNamespace(
        unembed=SimpleNamespace(original_component=linear),
        adapter=SimpleNamespace(apply_output_logits_transform=doubled),
        cfg=SimpleNamespace(device=home),
    )


@pytest.mark.parametrize("transforms", [False, True])
def test_a_head_has_the_model_s_weight_and_bias_and_its_transform_where_asked(
    transforms: bool,
) -> None:
    """The bias in float32, the weight as the model has it."""
    linear = nn.Linear(2, 3).bfloat16()
    head = load.read_head(of_head(linear, "cpu"), transforms)
    assert head.bias is not None
    assert (head.weight.dtype, head.bias.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(head.weight, linear.weight)
    assert torch.equal(head.bias, linear.bias.float())
    assert head.transform is (doubled if transforms else None)


def test_head_and_norms_are_where_the_bridge_reads_tokens() -> None:
    """Norms with a weight and without one, and a layer without a norm."""
    head = load.read_head(of_head(nn.Linear(2, 3), "meta"), False)
    plain = SimpleNamespace(original_component=SimpleNamespace(eps=0.5))
    weighted = SimpleNamespace(original_component=nn.LayerNorm(2))
    bridge: Any = SimpleNamespace(
        cfg=SimpleNamespace(d_model=2, device="meta", rmsnorm_uses_offset=False),
        blocks=[SimpleNamespace(ln1=plain), SimpleNamespace(ln1=weighted)],
    )
    norms = load.read_norms(bridge)
    tensors: list[Any] = [head.weight, head.bias, norms.scale, norms.eps, norms.identity]
    assert [str(tensor.device) for tensor in tensors] == ["meta"] * 5


def test_a_model_on_one_device_is_moved_there(monkeypatch: pytest.MonkeyPatch) -> None:
    info: dict[str, Any] = {"missing_keys": (), "mismatched_keys": ()}
    kind = SimpleNamespace(from_pretrained=lambda name, **more: (nn.Linear(1, 1), info))
    monkeypatch.setattr(pretrained, "model_class", lambda config, model: (kind, None))
    monkeypatch.setattr(pretrained, "check_source", lambda *given: ["unread"])
    placement = Placement("meta", torch.float32)
    model, unread = pretrained.read_model("folder", {}, None, placement, "org/m")
    assert (str(model.weight.device), unread) == ("meta", ["unread"])
