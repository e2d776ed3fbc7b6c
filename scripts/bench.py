"""Compare the runner with the bare cost of its forwards, TransformerLens's logit lens and nnterp's, interleaved.

    python scripts/bench.py [--rounds N] [--threads N] [--process] [--json FILE]
    python scripts/bench.py --battery [--prompts N] [--memory]   many prompts, see bench_battery.py
    python scripts/bench.py --shape small|llama-8b|gemma-2-9b|smollm2 [--positions N] [--device cuda] [--dtype bfloat16]
                                                         one long prompt, every layer, see bench_shapes.py

Two models: SmolLM2-135M, and a random Llama of 12 layers with 128,000 tokens. Each subject runs untimed first, then
once per round, in turn; the table has medians, and the median of the ratios to the bare cost. Peak memory is what a
subject adds to the resident set while it runs; a transfer is a call that copies numbers to the host.

    all     bare: a forward per distinct prompt and one product of all decoded rows with W_U; lenses-min: everything
            after loading, files included
    rows    the three passes alone: top-20, entropy and answer rank of the same rows by every tool

nnterp is measured where it can be imported: pip install nnterp "nnsight<0.7" ipython.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import bench_battery
import bench_shapes
import torch
from bench_subjects import Subjects, peak_memory, random_llama, smollm2

from lenses_min.core import records
from lenses_min.output.run import Run
from lenses_min.pipeline import analysis, passes


@contextmanager
def count_calls(subjects: Subjects) -> Iterator[Counter[str]]:
    """Count the forwards of either model, and the calls that copy numbers to the host."""
    counts: Counter[str] = Counter()
    methods = {name: getattr(torch.Tensor, name) for name in ("cpu", "tolist", "item")}
    layers = (subjects.plain.model.layers[0], subjects.model.bridge.blocks[0])
    handles = [
        layer.register_forward_pre_hook(lambda *_: counts.update(["forwards"])) for layer in layers
    ]

    def wrap(name: str) -> Callable[..., Any]:
        def call(tensor: torch.Tensor, *args: Any) -> Any:
            counts.update(["transfers"])
            return methods[name](tensor, *args)

        return call

    try:
        for name in methods:
            setattr(torch.Tensor, name, wrap(name))
        yield counts
    finally:
        for name, method in methods.items():
            setattr(torch.Tensor, name, method)
        for handle in handles:
            handle.remove()


def compare(
    functions: dict[str, Callable[[], Any]], rounds: int, subjects: Subjects
) -> dict[str, dict[str, float]]:
    """Return each function's seconds, ratio to the first function, peak MiB, forwards and transfers."""
    results: dict[str, dict[str, float]] = {}
    for name, function in functions.items():
        with count_calls(subjects) as counts:
            function()
        with peak_memory() as peak_mib:
            function()
        results[name] = {
            "peak_mib": round(peak_mib[0], 1),
            "forwards": counts["forwards"],
            "transfers": counts["transfers"],
        }
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    bare_seconds = next(iter(times.values()))
    for name, seconds in times.items():
        ratio = median(a / b for a, b in zip(seconds, bare_seconds, strict=True))
        results[name]["seconds"] = round(median(seconds), 4)
        results[name]["ratio_to_bare"] = round(ratio, 3)
    return results


def time_stages(subjects: Subjects, rounds: int) -> dict[str, float]:
    """Return the median seconds of each stage of the default run."""
    seconds: dict[str, list[float]] = {}
    stages: dict[str, list[tuple[Any, str]]] = {
        "forward": [(passes, "capture_batch"), (analysis, "last_logits")],
        "lens and metrics": [
            (passes.PassRunner, "decode"),
            (passes.PassRunner, "metrics"),
        ],
        "transfer": [(passes, "to_host")],
        "records": [(records.RowContext, "records"), (records.RowContext, "pure")],
        "files": [(Run, "save")],
    }
    originals = [
        (owner, name, getattr(owner, name)) for owners in stages.values() for owner, name in owners
    ]

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **more)
            finally:
                seconds[stage][-1] += time.perf_counter() - started

        return call

    try:
        for stage, owners in stages.items():
            for owner, name in owners:
                setattr(owner, name, timed(stage, getattr(owner, name)))
        for _ in range(rounds):
            for stage in (*stages, "whole"):
                seconds.setdefault(stage, []).append(0.0)
            timed("whole", subjects.runner)()
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)
    return {stage: round(median(values), 4) for stage, values in seconds.items()}


def whole_process(rounds: int, threads: int) -> dict[str, float]:
    """Time the command `run` on SmolLM2 and a process that only imports and loads, in turn."""
    path = smollm2()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    load_code = (
        "from lenses_min import RunOptions; from lenses_min.model.load import load; "
        f"load(RunOptions({path!r}, device='cpu'))"
    )
    times: dict[str, list[float]] = {"load": [], "run": []}
    with tempfile.TemporaryDirectory() as out:
        run = [sys.executable, "-m", "lenses_min", "run", path]
        run += ["--device", "cpu", "--quiet", "--out-dir", out]
        load = [sys.executable, "-c", load_code]
        for round_number in range(rounds + 1):
            for name, command in (("load", load), ("run", run)):
                started = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=environment)
                if round_number > 0:  # the first round only fills the caches
                    times[name].append(time.perf_counter() - started)
    ratio = median(a / b for a, b in zip(times["run"], times["load"], strict=True))
    return {
        "load_s": round(median(times["load"]), 2),
        "run_s": round(median(times["run"]), 2),
        "ratio": round(ratio, 3),
    }


def print_tables(name: str, results: dict[str, Any]) -> None:
    for group in ("all", "rows"):
        print(f"\n{name}, {group}\n\n| subject | s | to bare | peak MiB | forwards | transfers |")
        print("|---|--:|--:|--:|--:|--:|")
        for subject, result in results[group].items():
            numbers = (
                f"{result['seconds']:.3f}",
                f"{result['ratio_to_bare']:.2f}",
                result["peak_mib"],
                result["forwards"],
                result["transfers"],
            )
            print(f"| {subject} |", " | ".join(map(str, numbers)), "|")
    print(
        "\nstages:",
        ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in results["stages"].items()),
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--process", action="store_true", help="also time whole processes on SmolLM2"
    )
    parser.add_argument("--battery", action="store_true", help="many prompts of SmolLM2")
    parser.add_argument("--prompts", type=int, default=2000, help="of --battery")
    parser.add_argument("--batch-size", type=int, default=8, help="of --battery")
    parser.add_argument(
        "--memory", action="store_true", help="of --battery: also the peak of whole processes"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shape", choices=[*bench_shapes.SHAPES, bench_shapes.OWN_WEIGHTS])
    parser.add_argument("--positions", type=int, default=512, help="of --shape")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of --shape")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="of --shape",
    )
    parser.add_argument("--without-transformer-lens", action="store_true", help="of --shape")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    return parser.parse_args()


def measure_tools(args: argparse.Namespace) -> dict[str, Any]:
    """Compare the tools on both models, and whole processes where that is asked for."""
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        llama = random_llama(Path(folder) / "llama-128k")
        for path, name in ((smollm2(), "SmolLM2-135M"), (llama, "llama-128k")):
            subjects = Subjects(path, name, Path(folder) / "out")
            report[name] = {
                group: compare(functions, args.rounds, subjects)
                for group, functions in subjects.groups().items()
            }
            report[name]["stages"] = time_stages(subjects, args.rounds)
            print_tables(name, report[name])
    if args.process:
        report["process"] = whole_process(max(3, args.rounds // 3), args.threads)
        print("\nwhole process on SmolLM2:", report["process"])
    return report


def main() -> int:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    if args.child:
        bench_battery.print_child(args.prompts, smollm2())
        return 0
    report = {"threads": args.threads, "rounds": args.rounds, "torch": torch.__version__}
    if args.battery:
        report |= bench_battery.measure(args)
    elif args.shape:
        report |= bench_shapes.run(args)
    else:
        report |= measure_tools(args)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
