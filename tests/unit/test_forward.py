"""Step 2: one residual lookup. R8: no hook is left behind."""

import pytest
import torch

from lenses_min import LensError
from lenses_min.forward import capture, hook_name, lookup
from lenses_min.loading import LoadedModel


def live_hooks(model: LoadedModel) -> int:
    return sum(len(point.fwd_hooks) for point in model.bridge.hook_dict.values())


def test_lookup_lists_nearby_keys() -> None:
    captured = {hook_name(layer): torch.zeros(1, 2) for layer in range(3)}
    with pytest.raises(LensError, match=r"no residual was captured at 'blocks.7.hook_out'; nearby keys: .*blocks.1"):
        lookup(captured, "blocks.7.hook_out")
    with pytest.raises(LensError, match="nearby keys: none"):
        lookup({}, "blocks.0.hook_in")


def test_full_layers_keep_every_position_and_others_the_last(fact_model: LoadedModel) -> None:
    ids = fact_model.tokens.model_input("The capital of Germany")
    every, final = capture(fact_model.bridge, ids, 6, range(7))
    some, same = capture(fact_model.bridge, ids, 6, [0])
    assert torch.equal(final, same)
    for layer in range(7):
        assert every.at(layer).shape == (len(ids), 128)
        assert torch.equal(some.at(layer), every.at(layer) if layer == 0 else every.at(layer)[-1:])
    rows = some.rows({0})
    assert list(zip(rows.layer, rows.pos)) == [(0, p) for p in range(len(ids))] + [
        (y, len(ids) - 1) for y in range(1, 7)
    ]


def test_no_hook_stays_behind(fact_model: LoadedModel) -> None:
    before = live_hooks(fact_model)
    capture(fact_model.bridge, [1, 2, 3], 6, [0])
    assert live_hooks(fact_model) == before
    with pytest.raises(IndexError):
        capture(fact_model.bridge, [1, 10**6], 6, [0])
    assert live_hooks(fact_model) == before


def test_layer_zero_holds_learned_positions(models, monkeypatch) -> None:
    from lenses_min import RunOptions
    from lenses_min.loading import load

    model = load(RunOptions(str(models / "layernorm-learned-pos"), device="cpu"))
    residuals, _ = capture(model.bridge, [5, 5, 5], 4, [0])
    weights = model.bridge.original_model.transformer
    expected = weights.wte.weight[5] + weights.wpe.weight[:3]
    assert torch.allclose(residuals.at(0), expected)


@pytest.mark.parametrize(
    ("key", "nearby"),
    [
        ("blocks.9.hook_out", [f"blocks.{i}.hook_out" for i in (7, 6, 5, 4, 3)]),
        ("hook", ["blocks.0.hook_in", *(f"blocks.{i}.hook_out" for i in (7, 6, 5, 4))]),
        ("zzz", ["blocks.0.hook_in", *(f"blocks.{i}.hook_out" for i in range(4))]),
    ],
)
def test_five_nearby_keys_are_listed(key: str, nearby: list[str]) -> None:
    captured = {hook_name(layer): torch.zeros(1, 2) for layer in range(9)}
    with pytest.raises(LensError) as caught:
        lookup(captured, key)
    assert str(caught.value) == f"no residual was captured at {key!r}; nearby keys: {', '.join(nearby)}"
