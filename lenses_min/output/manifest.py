"""The manifest of a run: what was run, with which versions, on which weights, and how long it took."""

import datetime
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from platform import python_version
from typing import Any

import torch

from ..core.types import ModelInfo
from ..model.determinism import SEED
from ..options import RunOptions
from ..version import __version__
from .digest import Digest
from .firmness import firmness
from .inputs import inputs
from .run import Run

PACKAGES = ("torch", "transformer-lens", "transformers", "numpy")


def manifest(
    facts: ModelInfo,
    options: RunOptions,
    passes: Digest,
    settings: Mapping[str, Any],
    checks: Mapping[str, Any],
    started: float,
) -> dict[str, Any]:
    """`run-<name>.manifest.json`; `settings`: the BOS, the arithmetic of `--device auto`, and what torch is set to.

    `checks` has the `last_layer_proof` and the `warnings`.
    `elapsed_s` are seconds since `started` on the performance counter.
    """
    return {
        "model_id": options.model_id,
        "contract": options.contract,
        **asdict(facts),
        "options": asdict(options),
        "inputs": inputs(options),
        "versions": versions(),
        "seed": SEED,
        **settings,
        "prompts": passes.prompts,
        "lenses": passes.lenses,
        "last_layer_proof": checks["last_layer_proof"],
        "last_layer_agreement": passes.agreement,
        "warnings": checks["warnings"],
        "finished_at": now(),
        "elapsed_s": round(time.perf_counter() - started, 3),
        "peak_memory": peak_memory(),
    }


def versions() -> dict[str, str]:
    """Of this package, Python, and the packages that make the numbers."""
    return {"lenses-min": __version__, "python": python_version()} | {
        p: version(p) for p in PACKAGES
    }


def peak_memory() -> dict[str, int]:
    """Bytes that this process held at most so far: resident on the host, allocated on its GPUs."""
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    gpus = range(torch.cuda.device_count())
    return {"host": resident, "cuda": sum(map(torch.cuda.max_memory_allocated, gpus))}


def margins(run: Run) -> dict[str, dict[str, dict[str, Any]]]:
    """How firm each milestone is, by lens and pass; `Run.firmness_of` gives the same of the run's files."""
    prompts, thresholds = run.prompts, run.thresholds
    return {
        lens: {
            name: {
                key: asdict(firm)
                for key, firm in firmness(rows, prompts.get(name, ("", ""))[0], thresholds).items()
            }
            for name, rows in run.passes(lens).items()
        }
        for lens in run.lenses
    }


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def error_report(options: RunOptions, error: BaseException) -> dict[str, Any]:
    """`output-<name>.error.json` of a run that failed."""
    details = {"error_type": type(error).__name__, "message": str(error), "time": now()}
    return {"model": options.model_id, "options": asdict(options)} | details
