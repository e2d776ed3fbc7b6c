"""The scale and the soft cap of the output transform, measured from what it makes of two logits."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_cuda import fake_cuda
from torch import Tensor

from lenses_min.model.readout import transform_of


def bridge(transform: Callable[[Tensor], Tensor], device: str = "cpu") -> Any:
    weight = torch.zeros(2, 2, device=device)
    return SimpleNamespace(
        unembed=SimpleNamespace(original_component=SimpleNamespace(weight=weight)),
        adapter=SimpleNamespace(apply_output_logits_transform=transform),
    )


def capped(by: float, scale: float = 1.0) -> Callable[[Tensor], Tensor]:
    return lambda z: by * torch.tanh(scale * z / by)


def limited(to: float) -> Callable[[Tensor], Tensor]:
    return lambda z: z.clamp(-to, to)


@pytest.mark.parametrize(
    ("transform", "scale", "cap"),
    [
        (lambda z: z, None, None),
        (lambda z: z * 0.5, 0.5, None),
        (lambda z: z * 2, 2.0, None),
        (lambda z: z / 3, 0.333333, None),  # as many digits as float32 has
        (capped(30), None, 30.0),
        (capped(30, 0.0625), 0.0625, 30.0),
        (capped(50, 4), 4.0, 50.0),
    ],
)
def test_a_scale_and_a_cap_are_measured(
    transform: Callable[[Tensor], Tensor], scale: float | None, cap: float | None
) -> None:
    assert transform_of(bridge(transform)) == (scale, cap)


@pytest.mark.parametrize(("limit", "cap"), [(4e8, 4e8), (5e8, None)])
def test_a_cap_holds_a_logit_of_a_billion_below_its_half(limit: float, cap: float | None) -> None:
    assert transform_of(bridge(limited(limit))) == (None, cap)


def test_the_logits_are_made_where_the_unembedding_is() -> None:
    devices = []

    def transform(z: Tensor) -> Tensor:
        devices.append(str(z.device))
        return torch.zeros(1, 2)  # a fake has no numbers

    with fake_cuda():
        transform_of(bridge(transform, "cuda:0"))
    assert devices == ["cuda:0"]
