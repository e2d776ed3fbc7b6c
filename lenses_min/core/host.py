"""Tensors of a device → arrays of the host: all numbers of a pass in one transfer, in a tree of any shape."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import LensError

A = TypeVar("A")  # Tensor on the device, np.ndarray on the host
REMEDY = "get a sound checkpoint, or let it compute in a wider dtype"


def to_host(tree: Any) -> Any:
    """The same tree of dataclasses and mappings with an array in place of each tensor, by one transfer.

    Float32 and integers travel together as 32-bit words; floats arrive as float64 (exact), integers as int32. Raises
    LensError that names the first leaf with a value that is not finite.
    """
    leaves = [*tensors(tree, ())]
    wide = [t if t.is_floating_point() else t.int() for _, t in leaves]
    words = [t.contiguous().view(torch.int32).flatten() for t in wide]
    packed = torch.cat(words).cpu().numpy()
    arrays, start = [], 0
    for path, tensor in leaves:
        part = packed[start : start + tensor.numel()].reshape(tensor.shape)
        start += tensor.numel()
        arrays.append(checked(part, tensor.is_floating_point(), path))
    return rebuilt(tree, iter(arrays))


def checked(words: np.ndarray, is_float: bool, path: tuple[str, ...]) -> np.ndarray:
    array = words.view(np.float32).astype(np.float64) if is_float else words
    if not np.isfinite(array).all():
        name = " of ".join(reversed(path[-2:]))
        raise LensError(f"{name} is not finite: the model overflows; {REMEDY}")
    return array


def tensors(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Every tensor of a tree with the names that lead to it, in the tree's order."""
    if isinstance(tree, Tensor):
        yield path, tree
        return
    for name, part in parts(tree):
        yield from tensors(part, (*path, name))


def rebuilt(tree: Any, arrays: Iterator[np.ndarray]) -> Any:
    """The tree with the next array in place of each tensor."""
    if isinstance(tree, Tensor):
        return next(arrays)
    if isinstance(tree, Mapping):
        return {key: rebuilt(part, arrays) for key, part in tree.items()}
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{name: rebuilt(part, arrays) for name, part in parts(tree)})
    return tree


def parts(tree: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a mapping or the fields of a dataclass, by name; nothing else has parts."""
    if isinstance(tree, Mapping):
        yield from ((str(key), part) for key, part in tree.items())
    elif is_dataclass(tree):
        yield from ((field.name, getattr(tree, field.name)) for field in fields(tree))
