"""Measure how the cost grows with layers, positions and vocabulary, and how much memory a long prompt needs.

    python scripts/bench_scaling.py [--threads N] [--json FILE]      exponents of the time, random tiny Llamas
    python scripts/bench_scaling.py --memory [--tokens 4096]         peak of a run on SmolLM2 over its forward alone

Exponents are slopes of log time over log size by least squares, 1 = linear. `forward` is the whole forward pass of the
model; `analysis` is everything else of a run with records at every position (--contract corrected), files included.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import torch
from bench_subjects import long_prompt, peak_memory, random_llama, smollm2

from lenses_min import RunOptions, pipeline
from lenses_min.core import forward
from lenses_min.model.load import load
from lenses_min.pipeline import passes

SWEEPS = {
    "layers": (6, 12, 24, 48),
    "positions": (16, 64, 256, 1024, 4096),
    "vocab": (1_000, 4_000, 16_000, 64_000, 256_000),
}
BASE = {"layers": 6, "positions": 64, "vocab": 1_000}


def time_run(layers: int, positions: int, vocab: int) -> tuple[float, float]:
    """Return the seconds of forward and of analysis, each the best of three runs after a warm-up run."""
    forward_seconds = [0.0]

    def capture(*args: Any) -> Any:
        started = time.perf_counter()
        residuals = forward.capture_batch(*args)
        forward_seconds[0] += time.perf_counter() - started
        return residuals

    with tempfile.TemporaryDirectory() as folder:
        path = random_llama(Path(folder) / "model", layers, 64, vocab)
        options = RunOptions(
            path,
            "m",
            device="cpu",
            contract="corrected",
            out_dir=folder,
            prompts="own",
            raw_lens="off",
        )
        model = load(options)
        times = []
        for _ in range(4):
            forward_seconds[0] = 0.0
            started = time.perf_counter()
            with patch.object(passes, "capture_batch", capture):
                pipeline.analyse(model, long_prompt(positions), options, started).save()
            total = time.perf_counter() - started
            times.append((forward_seconds[0], total - forward_seconds[0]))
    return min(f for f, _ in times[1:]), min(a for _, a in times[1:])


def measure_exponents() -> dict[str, Any]:
    """Time every sweep, print its table and exponents, and return all numbers."""
    report = {}
    for axis, sizes in SWEEPS.items():
        times = [time_run(**(BASE | {axis: size})) for size in sizes]
        print(f"\n| {axis} | forward s | analysis s |\n|--:|--:|--:|")
        for size, (forward_s, analysis_s) in zip(sizes, times, strict=True):
            print(f"| {size} | {forward_s:.4f} | {analysis_s:.4f} |")
        logs = np.log(sizes)
        slopes = [float(np.polyfit(logs, np.log([t[i] for t in times]), 1)[0]) for i in (0, 1)]
        last_step = [
            math.log(times[-1][i] / times[-2][i]) / float(logs[-1] - logs[-2]) for i in (0, 1)
        ]
        report[axis] = {
            "sizes": sizes,
            "seconds": times,
            "exponents": slopes,
            "last_step": last_step,
        }
        print(
            f"exponents: forward {slopes[0]:.2f}, analysis {slopes[1]:.2f}; "
            f"last step {last_step[0]:.2f}, {last_step[1]:.2f}"
        )
    return report


def peak_mib(what: str, tokens: int, threads: int) -> float:
    """Return the peak resident set of a process that loads SmolLM2 and does `what`, minus its size after loading."""
    command = [sys.executable, __file__, "--child", what]
    command += ["--tokens", str(tokens), "--threads", str(threads)]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(process.stdout.split()[-1])


def print_peak(what: str, tokens: int) -> None:
    """Print the number of tokens and the peak MiB, in the child process.

    forward: the model alone, logits of every position, without a hook; run: a corrected run with its files.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(
            smollm2(),
            "smollm2",
            device="cpu",
            contract="corrected",
            out_dir=folder,
            prompts="own",
            raw_lens="off",
        )
        model = load(options)
        suite = long_prompt(tokens)
        ids = model.tokens.model_input(suite.passes[0].text)
        with peak_memory() as peak:
            if what == "forward":
                with torch.no_grad():
                    model.bridge(torch.tensor([ids]), return_type="logits")
            else:
                pipeline.analyse(model, suite, options, time.perf_counter()).save()
    print(len(ids), peak[0])


def measure_memory(tokens: int, threads: int) -> dict[str, float]:
    """Print and return the peak MiB of a forward, of a run, and their difference (`more`)."""
    report = {what: peak_mib(what, tokens, threads) for what in ("forward", "run")}
    report["more"] = report["run"] - report["forward"]
    print(
        f"{tokens} tokens on SmolLM2, MiB over the loaded model:",
        {key: round(value) for key, value in report.items()},
    )
    return report


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--child", choices=("forward", "run"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.child:
        print_peak(args.child, args.tokens)
        return 0
    report = measure_memory(args.tokens, args.threads) if args.memory else measure_exponents()
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
