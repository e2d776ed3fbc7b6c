"""Deterministic settings, applied by a run and taken back after it, never at import."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SEED = 316


@contextmanager
def deterministic() -> Iterator[None]:
    """Seed 316 and deterministic algorithms for the time of a run; the caller's setting returns afterwards."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it starts
    before = torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
