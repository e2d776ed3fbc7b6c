"""Saved residuals compare by the size of their vector, and no further."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from spec.compare.recorder import Recorder, Statistic
from spec.compare.residuals import compare_tensor
from spec.compare.runs import compare
from spec.compare.tolerance import FP32, Bound, Tolerance
from spec.runs.places import Element, Place
from spec.runs.run import read_run

NAME = "Keep-residuals_02_resid.pt"


def mismatches(
    capture: Callable[..., Path], change: Callable[[torch.Tensor], torch.Tensor]
) -> list[str]:
    folder = capture("keep-residuals")
    expected = read_run(folder, "Keep-residuals")
    torch.save(change(torch.load(folder / NAME, weights_only=True)), folder / NAME)
    differing = compare(expected, read_run(folder, "Keep-residuals"), FP32).mismatches
    return [f"{m.file} {m.place.row_text}" for m in differing]


def moved(by: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """The smallest component of position 5, where the relative part of its own size would allow nothing."""

    def move(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.clone()
        smallest = changed[0, 5].abs().argmin()
        changed[0, 5, smallest] += by * float(tensor[0, 5].square().mean().sqrt())
        return changed

    return move


def test_a_component_near_zero_may_be_as_uncertain_as_its_neighbours(
    capture: Callable[..., Path],
) -> None:
    assert mismatches(capture, moved(0.9e-4)) == []


@pytest.mark.parametrize("by", [1.2e-4, -1e-2])
def test_beyond_that_it_is_reported_and_located(capture: Callable[..., Path], by: float) -> None:
    (line,) = mismatches(capture, moved(by))
    assert line.startswith(f"{NAME} pos 5 component ")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t * 1.001,
        lambda t: t.flip(-1),
        lambda t: t[:, :-1],
        lambda t: t.double(),
        lambda t: t * torch.nan,
    ],
)
def test_scaled_permuted_cut_widened_and_nan_tensors_are_reported(
    capture: Callable[..., Path], change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    assert mismatches(capture, change)


def test_every_element_is_counted_with_its_error() -> None:
    """The worst one is off by as much as is allowed."""
    recorder = Recorder("x.pt", Tolerance("half", Bound(0.0, 0.5)))
    expected = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    compare_tensor(recorder, "value", expected, torch.tensor([[1.0, 2.25], [4.5, 8.0]]))
    assert recorder.mismatches == []
    worst = Place("x.pt", Element(1, 0), "value")
    assert recorder.statistics == [Statistic("x.pt", "value", 4, 2, 0.5, 1.0, worst)]
