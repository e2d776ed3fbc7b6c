"""Where a model runs and in which dtype, by the contract's policy."""

import re
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from .errors import LensError

GIB = 2**30
WEIGHT_FILES = ("*.safetensors", "*.bin")
# device: (share of the weights on top of them, GiB on top of that)
OVERHEAD = {"cuda": (0.30, 1.5), "mps": (0.35, 3.5), "cpu": (0.20, 4.0)}
BIG_B = 30.0  # billions of parameters from which the CPU computes in bfloat16


@dataclass(frozen=True)
class Placement:
    """A device, a compute dtype, and what to tell the user about the choice."""

    device: str
    dtype: torch.dtype
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def billions(model_id: str) -> float:
    """Parameters in billions that the id names, `…-34B` or `…-1.5b`; 0 where it names none."""
    return max(map(float, re.findall(r"(?<![\d.A-Za-z])(\d+(?:\.\d+)?)[bB](?![A-Za-z])", model_id)), default=0.0)


def compute_dtype(device: str, model_id: str, family: str) -> torch.dtype:
    """float16 on cuda and mps, bfloat16 for Gemma on cuda; float32 on cpu, bfloat16 from 30B on."""
    if device == "cpu":
        return torch.bfloat16 if billions(model_id) >= BIG_B else torch.float32
    is_gemma = "gemma" in f"{family} {model_id}".lower()
    return torch.bfloat16 if device == "cuda" and is_gemma else torch.float16


def count_parameters(model: str, model_id: str, stored: torch.dtype) -> float:
    """Parameters by the checkpoint's file sizes (a .gguf file: 4 bits each), else by its name; 0 when unknown."""
    path = Path(model)
    if path.is_file():
        return path.stat().st_size * 2.0
    sizes = next((s for kind in WEIGHT_FILES if (s := [f.stat().st_size for f in path.glob(kind)])), [])
    return sum(sizes) / stored.itemsize or (billions(model_id) or billions(model)) * 1e9


def need(device: str, parameters: float, dtype: torch.dtype) -> float:
    """Bytes that a model of so many parameters needs on a device."""
    share, base = OVERHEAD[device]
    return parameters * dtype.itemsize * (1 + share) + base * GIB


def available(device: str) -> bool:
    if device == "mps":
        return torch.backends.mps.is_available()
    return device == "cpu" or torch.cuda.is_available()


def free_bytes(device: str) -> int:
    """Free memory now; mps shares the machine's."""
    return int(torch.cuda.mem_get_info()[0]) if device == "cuda" else int(psutil.virtual_memory().available)


def place(wanted: str, model: str, model_id: str, family: str, stored: torch.dtype) -> Placement:
    """The wanted device, or for `auto` the first of cuda, mps, cpu whose free memory holds the model.

    A wanted device that is absent falls back to cpu with a warning. Raises LensError when nothing fits.
    """
    if wanted != "auto":
        device = wanted if available(wanted) else "cpu"
        absent = f"device {wanted} was asked for but is not available: running on cpu"
        return Placement(device, compute_dtype(device, model_id, family), (), () if device == wanted else (absent,))
    parameters = count_parameters(model, model_id, stored)
    notes: tuple[str, ...] = ()
    for device in OVERHEAD:
        if available(device):
            dtype = compute_dtype(device, model_id, family)
            needed, free = need(device, parameters, dtype), free_bytes(device)
            notes += (f"{device}: needs {needed / GIB:.1f} GiB, {free / GIB:.1f} GiB free",)
            if free > needed:
                return Placement(device, dtype, notes)
    raise LensError(f"{model_id} fits on no device ({'; '.join(notes)}); free memory or name a --device")
