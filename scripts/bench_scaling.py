"""How the cost grows with layers, positions and vocabulary, and how much memory a long prompt needs.

    python scripts/bench_scaling.py [--threads N] [--json FILE]      exponents of the time, random tiny Llamas
    python scripts/bench_scaling.py --memory [--tokens 4096]         peak of a run on SmolLM2 over its forward alone

Exponents are slopes of log time over log size by least squares, 1 = linear. `forward` is the model's own, attention and
all; `analysis` is everything else of a run with records at every position (--contract corrected), files included.
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
from bench_subjects import peak, random_llama, smollm2

from lenses_min import RunOptions, pipeline
from lenses_min.core import forward
from lenses_min.model.load import load
from lenses_min.pipeline import passes
from lenses_min.prompts.suite import Prompt, Suite

SWEEPS = {
    "layers": (6, 12, 24, 48),
    "positions": (16, 64, 256, 1024, 4096),
    "vocab": (1_000, 4_000, 16_000, 64_000, 256_000),
}
BASE = {"layers": 6, "positions": 64, "vocab": 1_000}


def prompt_of(tokens: int) -> Suite:
    """One pass of about so many tokens of the tiny models' tokenizer, BOS included, with records everywhere."""
    return Suite(
        (Prompt("p", "orig", "the" + " capital" * (tokens - 2), "Berlin", True),), (), frozenset()
    )


def timed(layers: int, positions: int, vocab: int) -> tuple[float, float]:
    """(forward, analysis) in seconds, the best of three runs after one that is not counted."""
    spent = [0.0]

    def capture(*args: Any) -> Any:
        started = time.perf_counter()
        found = forward.capture_batch(*args)
        spent[0] += time.perf_counter() - started
        return found

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
        model, found = load(options), []
        for _ in range(4):
            spent[0], started = 0.0, time.perf_counter()
            with patch.object(passes, "capture_batch", capture):
                pipeline.analyse(model, prompt_of(positions), options, started).save()
            found.append((spent[0], time.perf_counter() - started - spent[0]))
    return min(f for f, _ in found[1:]), min(a for _, a in found[1:])


def exponents() -> dict[str, Any]:
    told = {}
    for axis, sizes in SWEEPS.items():
        times = [timed(**(BASE | {axis: size})) for size in sizes]
        print(f"\n| {axis} | forward s | analysis s |\n|--:|--:|--:|")
        for size, (ahead, rest) in zip(sizes, times):
            print(f"| {size} | {ahead:.4f} | {rest:.4f} |")
        logs = np.log(sizes)
        slopes = [float(np.polyfit(logs, np.log([t[i] for t in times]), 1)[0]) for i in (0, 1)]
        last = [math.log(times[-1][i] / times[-2][i]) / float(logs[-1] - logs[-2]) for i in (0, 1)]
        told[axis] = {"sizes": sizes, "seconds": times, "exponents": slopes, "last_step": last}
        print(
            f"exponents: forward {slopes[0]:.2f}, analysis {slopes[1]:.2f}; last step {last[0]:.2f}, {last[1]:.2f}"
        )
    return told


def peak_mib(what: str, tokens: int, threads: int) -> float:
    """Peak resident set of a process that loads SmolLM2 and does `what`, over what it had after loading."""
    command = [
        sys.executable,
        __file__,
        "--child",
        what,
        "--tokens",
        str(tokens),
        "--threads",
        str(threads),
    ]
    return float(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    )


def child(what: str, tokens: int) -> None:
    """forward: the model alone, logits of every position, without a hook; run: a corrected run with its files."""
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
        suite = prompt_of(tokens)
        ids = model.tokens.model_input(suite.passes[0].text)
        with peak() as most:
            if what == "forward":
                with torch.no_grad():
                    model.bridge(torch.tensor([ids]), return_type="logits")
            else:
                pipeline.analyse(model, suite, options, time.perf_counter()).save()
    print(len(ids), most[0])


def memory(tokens: int, threads: int) -> dict[str, float]:
    told = {what: peak_mib(what, tokens, threads) for what in ("forward", "run")}
    told["more"] = told["run"] - told["forward"]
    print(
        f"{tokens} tokens on SmolLM2, MiB over the loaded model:",
        {key: round(value) for key, value in told.items()},
    )
    return told


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
        child(args.child, args.tokens)
        return 0
    told = memory(args.tokens, args.threads) if args.memory else exponents()
    if args.json:
        args.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
