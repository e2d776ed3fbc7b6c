"""The manifest of a run: what was run, with which versions, on which weights, and how long it took."""

import datetime
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .determinism import SEED
from .options import RunOptions
from .types import Facts, PassResult

PACKAGES = ("lenses-min", "torch", "transformer-lens", "transformers", "numpy")


def versions() -> dict[str, str | None]:
    """Installed versions; None for what runs from a checkout without being installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def manifest(
    facts: Facts, options: RunOptions, passes: Sequence[PassResult], warnings: Sequence[str], started: float
) -> dict[str, Any]:
    """`run-<clean>.manifest.json`; `elapsed_s` are seconds since `started` on the performance counter."""
    prompts = [
        {
            "prompt_id": p.encoded.prompt.id,
            "prompt_variant": p.encoded.prompt.variant,
            "token_ids": list(p.encoded.token_ids),
        }
        for p in passes
    ]
    return {
        "contract": "reference",
        **asdict(facts),
        "options": asdict(options),
        "versions": versions(),
        "seed": SEED,
        "prompts": prompts,
        "warnings": list(warnings),
        "finished_at": now(),
        "elapsed_s": round(time.perf_counter() - started, 3),
    }


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def error_report(options: RunOptions, error: BaseException) -> dict[str, Any]:
    """`output-<clean>.error.json` of a run that failed."""
    return {
        "model": options.model_id,
        "options": asdict(options),
        "error_type": type(error).__name__,
        "message": str(error),
        "time": now(),
    }
