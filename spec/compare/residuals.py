"""Saved tensors: dtype, shape, then every element by the size of its vector."""

from collections.abc import Mapping
from typing import Any

from ..runs import columns
from ..runs.places import Element, Place
from .kinds import Kind
from .recorder import Recorder, absolute_error
from .tables import KEY, compare_names

RESIDUAL = "value"  # the column of a file that holds one tensor


def compare_residual(recorder: Recorder, expected: Any, obtained: Any) -> None:
    """The residual of a layer in two runs."""
    compare_tensor(recorder, RESIDUAL, expected, obtained)


def compare_tensors(
    recorder: Recorder, expected: Mapping[str, Any], obtained: Mapping[str, Any]
) -> None:
    """Two files of tensors by name."""
    names = sorted(expected), sorted(obtained)
    compare_names(recorder, KEY, names, lambda name: Place(recorder.file, key=(name,)))
    for name in names[0]:
        if name in obtained:
            compare_tensor(recorder, name, expected[name], obtained[name])


def compare_tensor(recorder: Recorder, name: str, expected: Any, obtained: Any) -> None:
    """Two tensors: dtype, shape, then every element by the size of its vector; the worst one is named."""
    file = recorder.file
    prefix = "" if name == RESIDUAL else f"{name} "
    for aspect, kind in (("dtype", Kind.DTYPE), ("shape", Kind.SHAPE)):
        a, b = getattr(expected, aspect), getattr(obtained, aspect)
        if a != b:
            recorder.mismatch(Place(file, column=prefix + aspect), str(a), str(b), kind)
            return
    width = expected.shape[-1] if expected.dim() and expected.numel() else 1
    sizes = expected.double().reshape(-1, width).square().mean(-1).sqrt().tolist()
    values = zip(expected.flatten().tolist(), obtained.flatten().tolist(), strict=True)
    beyond: list[tuple[float, int, float, float]] = []
    for i, (a, b) in enumerate(values):
        alike = a == b or (a != a and b != b)  # what is no number in both is no difference
        measured = recorder.tolerance.fraction(columns.RESIDUAL, a, b, sizes[i // width])
        fraction = 0.0 if alike else measured
        error = 0.0 if alike else absolute_error(a, b)
        recorder.tally(element(file, name, i, width), name, error, fraction, alike)
        if not fraction <= 1:
            beyond.append((fraction, i, a, b))
    if beyond:
        _, i, a, b = max(beyond)
        more = f" (and {len(beyond) - 1} more elements)" if len(beyond) > 1 else ""
        recorder.mismatch(element(file, name, i, width), repr(a), repr(b) + more, Kind.VALUE)


def element(file: str, name: str, index: int, width: int) -> Place:
    """The place of an element of a tensor […, d], such as the residual [1, S, d]."""
    return Place(file, Element(index // width, index % width), name)
