"""The device and dtype of a model, by the contract's policy; its memory is estimated and never underestimated."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from ..errors import LensError
from ..options import RunOptions
from .checkpoint import billions, count_parameters
from .families import half_precision

GIB = 2**30
# device: (share of the weights on top of them, GiB on top of that)
OVERHEAD = {"cuda": (0.30, 1.5), "mps": (0.35, 3.5), "cpu": (0.20, 4.0)}
BIG_B = 30.0  # billions of parameters from which the CPU computes in bfloat16


@dataclass(frozen=True)
class Placement:
    """A device, a compute dtype, and notes and warnings about the choice.

    `max_memory` are the bytes of weights that each GPU may hold where `device_map` shards the model.
    """

    device: str
    dtype: torch.dtype
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    device_map: str | Mapping[str, str] | None = None
    max_memory: Mapping[int, int] | None = None


@dataclass(frozen=True)
class Need:
    """Bytes that a model takes on a kind of device: weights, and on top the contract's share of them and base.

    The first device of a sharded model gets a `copy` of W_U, which takes the place of a share that does not hold it.
    """

    kind: str
    parameters: int
    counted_by: str
    dtype: torch.dtype
    copy: float

    @property
    def weights(self) -> float:
        return float(self.parameters * self.dtype.itemsize)

    @property
    def base(self) -> float:
        return OVERHEAD[self.kind][1] * GIB

    @property
    def bytes(self) -> float:
        return self.weights + max(OVERHEAD[self.kind][0] * self.weights, self.copy) + self.base

    def holds(self, free: int) -> float:
        """Bytes of weights that a device with so much free memory can take; below 0 for none."""
        return min((free - self.base) / (1 + OVERHEAD[self.kind][0]), free - self.base - self.copy)

    def __str__(self) -> str:
        share = OVERHEAD[self.kind][0]
        more = (
            f"{share:.0%} on top"
            if share * self.weights >= self.copy
            else f"{gib(self.copy)} for a copy of W_U"
        )
        size = f"{self.parameters:,} parameters ({self.counted_by}) × {self.dtype.itemsize} bytes"
        return f"{size} + {more} + {gib(self.base)} = {gib(self.bytes)} needed"


def gib(size: int | float) -> str:
    return f"{size / GIB:.1f} GiB"


def compute_dtype(device: str, model_id: str, family: str) -> torch.dtype:
    """float16 on cuda and mps, bfloat16 for Gemma on cuda; float32 on cpu, bfloat16 from 30B on."""
    if device == "cpu":
        return torch.bfloat16 if billions(model_id) >= BIG_B else torch.float32
    return half_precision(family, model_id) if device == "cuda" else torch.float16


def available(device: str) -> bool:
    if device == "mps":
        return torch.backends.mps.is_available()
    return device == "cpu" or torch.cuda.is_available()


def free_memory(kind: str) -> dict[str, int]:
    """Bytes free now on every device of a kind, by name; mps shares the machine's."""
    if kind != "cuda":
        return {kind: int(psutil.virtual_memory().available)}
    free_bytes = [int(torch.cuda.mem_get_info(i)[0]) for i in range(torch.cuda.device_count())]
    return (
        {"cuda": free_bytes[0]}
        if len(free_bytes) == 1
        else {f"cuda:{i}": free for i, free in enumerate(free_bytes)}
    )


def place(options: RunOptions, config: Any) -> Placement:
    """The wanted device, or for `auto` the first of cuda, mps, cpu whose free memory holds the model.

    Of several GPUs the emptiest one. A wanted device that is absent falls back to cpu with a warning. Raises LensError
    when nothing fits, and when a model is to be sharded without GPUs.
    """
    if options.device_map != "none":
        return shard(options, config)
    if (requested := options.device) != "auto":
        device = requested if available(requested) else "cpu"
        absent = f"device {requested} was asked for but is not available: running on cpu"
        return Placement(
            device, dtype_on(device, options, config), (), () if device == requested else (absent,)
        )
    notes: tuple[str, ...] = ()
    for need in needs(options, config):
        free = free_memory(need.kind)
        device = max(free, key=free.__getitem__)
        fits = free[device] > need.bytes
        notes += (
            f"{device}: {need}, {gib(free[device])} free: {'taken' if fits else 'too little'}",
        )
        if fits:
            return Placement(device, need.dtype, notes)
    raise LensError(
        f"{options.model_id} fits on no device ({'; '.join(notes)}); free memory or name a --device"
    )


def shard(options: RunOptions, config: Any) -> Placement:
    """All GPUs together, each with as many weights as leave it room to work."""
    if not available("cuda"):
        raise LensError(
            "device_map auto shards a model over GPUs, and no CUDA device is available; use --device"
        )
    need, free = next(needs(options, config)), free_memory("cuda")
    budgets = {device: max(0, int(need.holds(bytes_))) for device, bytes_ in free.items()}
    room = ", ".join(
        f"{device} {gib(budget)} of {gib(free[device])} free" for device, budget in budgets.items()
    )
    note = f"weights of {gib(need.weights)} ({need.counted_by}), room for weights: {room}"
    if sum(budgets.values()) < need.weights:
        raise LensError(
            f"{options.model_id} does not fit on the GPUs together ({note}); free memory or use more"
        )
    return Placement(
        "cuda", need.dtype, (note,), (), options.device_map, dict(enumerate(budgets.values()))
    )


def dtype_on(kind: str, options: RunOptions, config: Any) -> torch.dtype:
    if options.dtype != "auto":
        return getattr(torch, options.dtype)
    return compute_dtype(kind, options.model_id, str(config.model_type))


def needs(options: RunOptions, config: Any, kinds: Iterable[str] = ()) -> Iterator[Need]:
    """What the model takes on some kinds of device, by default on all that are there, in the contract's order."""
    counted = count_parameters(options.model, options.model_id, config)
    text, sharded = config.get_text_config(), options.device_map != "none"
    head = float(getattr(text, "vocab_size", 0) * getattr(text, "hidden_size", 0))
    for kind in kinds or filter(available, OVERHEAD):
        dtype = dtype_on(kind, options, config)
        yield Need(kind, *counted, dtype, head * dtype.itemsize if sharded else 0.0)
