"""Deterministic settings, applied by a run and restored after it, never at import."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

SEED = 316
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # cuBLAS reads it when it starts


@contextmanager
def deterministic(threads: int = 0) -> Iterator[None]:
    """Seed 316, deterministic algorithms, float32 in full (no TF32) and so many CPU threads for the time of a run.

    0 threads leaves as many as there are. The caller's settings and random states return afterwards, those of CUDA
    devices where CUDA was in use before.
    """
    workspace, full, count = (
        os.environ.get(WORKSPACE),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
    )
    strict, warn = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        try:
            os.environ.setdefault(WORKSPACE, ":4096:8")
            torch.manual_seed(SEED)
            torch.use_deterministic_algorithms(True)
            torch.set_float32_matmul_precision("highest")
            if threads:
                torch.set_num_threads(threads)
            yield
        finally:
            if threads:
                torch.set_num_threads(count)
            torch.set_float32_matmul_precision(full)
            torch.use_deterministic_algorithms(strict, warn_only=warn)
            if workspace is None:
                os.environ.pop(WORKSPACE, None)


def settings() -> dict[str, Any]:
    """The settings in force, for the manifest."""
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cublas_workspace_config": os.environ.get(WORKSPACE),
        "threads": torch.get_num_threads(),
    }
