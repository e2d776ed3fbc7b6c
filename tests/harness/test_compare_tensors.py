"""Two tensors: dtype, shape, every element, and the worst one named."""

from math import inf

import pytest
import torch

from spec.compare.recorder import Recorder
from spec.compare.residuals import compare_tensor
from spec.compare.tolerance import FP32


def recorded(expected: torch.Tensor, obtained: torch.Tensor, name: str = "value") -> list[str]:
    recorder = Recorder("x.pt", FP32)
    compare_tensor(recorder, name, expected, obtained)
    return [f"{m.place} {m.kind}: {m.expected}, {m.obtained}" for m in recorder.mismatches]


def test_what_is_no_number_on_both_sides_is_no_error() -> None:
    tensor = torch.tensor([[float("nan"), float("inf"), 1.0]])
    recorder = Recorder("x.pt", FP32)
    compare_tensor(recorder, "value", tensor, tensor.clone())
    assert recorder.mismatches == []
    assert [s.worst_error for s in recorder.statistics] == [0.0]


@pytest.mark.parametrize("obtained", [[torch.nan, 1.5, 1.0], [1.5, torch.nan, 1.0]])
def test_what_is_no_number_on_one_side_is_an_infinite_error(obtained: list[float]) -> None:
    """Wherever it stands among the elements."""
    recorder = Recorder("x.pt", FP32)
    compare_tensor(recorder, "value", torch.ones(1, 3), torch.tensor([obtained]))
    assert [(s.differing, s.worst_error) for s in recorder.statistics] == [(2, inf)]


def test_two_tensors() -> None:
    tensor = torch.tensor([[[1.0, -2.0], [4.0, 8.0]]])
    assert recorded(tensor, tensor.double()) == ["x.pt, dtype dtype: torch.float32, torch.float64"]
    assert recorded(tensor, tensor[:, :1], "w") == [
        "x.pt, w shape shape: torch.Size([1, 2, 2]), torch.Size([1, 1, 2])"
    ]
    changed = torch.tensor([[[1.0, -2.5], [4.5, 8.0]]])
    assert recorded(tensor, changed) == [
        "x.pt, pos 0 component 1, value value: -2.0, -2.5 (and 1 more elements)"
    ]
    assert recorded(tensor, changed, "w") == [
        "x.pt, pos 0 component 1, w value: -2.0, -2.5 (and 1 more elements)"
    ]
    nothing = torch.tensor([[[torch.nan, 1.0]]])
    assert recorded(nothing, nothing.clone()) == []
    assert recorded(nothing, torch.ones(1, 1, 2)) == [
        "x.pt, pos 0 component 0, value value: nan, 1.0"
    ]
    assert recorded(torch.tensor(3.0), torch.tensor(4.0)) == [
        "x.pt, pos 0 component 0, value value: 3.0, 4.0"
    ]
    assert recorded(torch.zeros(0), torch.zeros(0)) == []
