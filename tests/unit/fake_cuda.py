"""A CUDA that is not there: device memory is torch's FakeTensor, host memory real; every crossing between them is kept.

FakeTensorMode refuses what mixes devices and what needs a number of the device on the host (.item(), bool(), nonzero).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import EllipsisType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


class FakeCuda(FakeTensorMode):
    """`down`: operators that brought something to the host; `waits`: uploads for which the host waits."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.down: list[str] = []
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        device = torch.device(kwargs.get("device") or "cpu")
        if device.type == "cpu" and not any(isinstance(t, FakeTensor) for t in tensors):
            return func(*args, **kwargs)  # the host's own work
        made: Any = super().__torch_dispatch__(func, types, args, kwargs)
        from_device = any(t.is_cuda for t in tensors)
        here = [t.is_cuda for t in tree_leaves(made) if isinstance(t, Tensor)]
        if from_device and not all(here) and func.namespace == "aten":
            self.down.append(str(func))
            made = torch.zeros(
                made.shape, dtype=made.dtype
            )  # something real, so that the host can go on
        waiting = not (kwargs.get("non_blocking") or func.namespace == "prims")
        if any(here) and waiting and any(t.numel() and t.dim() and not t.is_cuda for t in tensors):
            self.waits.append(str(func))
        return made


def unguarded(name: str, instead: Callable[..., Tensor]) -> Any:
    """A method of Tensor by its operators: Python's own asks for a device guard, which a torch for CPU lacks."""
    own = getattr(Tensor, name)

    def method(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return instead(x, *args, **kwargs) if isinstance(x, FakeTensor) else own(x, *args, **kwargs)

    return patch.object(Tensor, name, method)


def contiguous(x: Tensor) -> Tensor:
    return x if x.is_contiguous() else aten.clone(x, memory_format=torch.contiguous_format)


def pick(x: Tensor, index: Any) -> Tensor:
    index = index if isinstance(index, tuple) else (index,)
    at: list[Tensor | None] = []
    for n, i in enumerate(index):
        if i is None:
            x = x.unsqueeze(len(at))
        elif isinstance(i, EllipsisType):
            at += [None] * (x.dim() - len(at) - sum(j is not None for j in index[n + 1 :]))
            continue
        elif isinstance(i, int):
            x = x.select(len(at), i)
            continue
        elif isinstance(i, slice):
            x = aten.slice(x, len(at), i.start, i.stop, i.step or 1)
        at.append(None if i is None or isinstance(i, slice) else torch.as_tensor(i))
    return x if all(i is None for i in at) else aten.index(x, at)


def move(module: nn.Module, device: Callable[[str], str]) -> None:
    """Parameters and buffers to the device of their module's name, tied ones once; nn.Module.to cannot do it."""
    moved: dict[int, Tensor] = {}
    for name, part in module.named_modules():
        for tensors, kind in ((part._parameters, nn.Parameter), (part._buffers, torch.Tensor)):
            for key, tensor in tensors.items():
                if tensor is not None and not isinstance(tensor, FakeTensor):
                    target = moved.setdefault(id(tensor), tensor.detach().to(device(name)))
                    tensors[key] = (
                        nn.Parameter(target, requires_grad=False)
                        if kind is nn.Parameter
                        else target
                    )


@contextmanager
def fake_cuda() -> Iterator[FakeCuda]:
    own: dict[str, Callable[..., Tensor]] = {
        "__getitem__": pick,
        "contiguous": contiguous,
        "copy_": aten.copy_,
    }
    with ExitStack() as stack:
        for name, instead in own.items():
            stack.enter_context(unguarded(name, instead))
        mode = stack.enter_context(FakeCuda())
        yield mode
