"""The runner against the bare cost of its forwards, TransformerLens's logit lens and nnterp's, interleaved in one run.

    python scripts/bench.py [--rounds N] [--threads N] [--process] [--json FILE]

Two models: SmolLM2-135M, and a random Llama of 12 layers with 128,000 tokens. Each subject runs uncounted, then once a
round in turn; the table has medians, and the median of the ratios to the bare cost. Peak memory is what a
subject adds to the resident set while it runs; a transfer is a call that copies numbers to the host.

    all     bare: a forward a distinct prompt and one product of all decoded rows with W_U; lenses-min: everything after
            loading, files included
    rows    the three passes alone: top-20, entropy and answer rank of the same rows by every tool

nnterp takes part where it can be imported: pip install nnterp "nnsight<0.7" ipython.
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

import torch
from bench_subjects import Subjects, peak, random_llama, smollm2

from lenses_min import pipeline
from lenses_min.core import records
from lenses_min.output.run import Run
from lenses_min.pipeline import passes


@contextmanager
def counted(subjects: Subjects) -> Iterator[Counter[str]]:
    """Forwards of either model, and calls that copy numbers to the host."""
    found: Counter[str] = Counter()
    kept = {name: getattr(torch.Tensor, name) for name in ("cpu", "tolist", "item")}
    layers = (subjects.plain.model.layers[0], subjects.model.bridge.blocks[0])
    handles = [
        layer.register_forward_pre_hook(lambda *_: found.update(["forwards"])) for layer in layers
    ]

    def wrap(name: str) -> Callable[..., Any]:
        def call(tensor: torch.Tensor, *args: Any) -> Any:
            found.update(["transfers"])
            return kept[name](tensor, *args)

        return call

    try:
        for name in kept:
            setattr(torch.Tensor, name, wrap(name))
        yield found
    finally:
        for name, method in kept.items():
            setattr(torch.Tensor, name, method)
        for handle in handles:
            handle.remove()


def compare(
    subjects: dict[str, Callable[[], Any]], rounds: int, of: Subjects
) -> dict[str, dict[str, float]]:
    """Interleaved rounds; seconds, ratio to the first subject, peak MiB, forwards and transfers of each."""
    told: dict[str, dict[str, float]] = {}
    for name, subject in subjects.items():
        with counted(of) as counts:
            subject()
        with peak() as most:
            subject()
        told[name] = {
            "peak_mib": round(most[0], 1),
            "forwards": counts["forwards"],
            "transfers": counts["transfers"],
        }
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            started = time.perf_counter()
            subject()
            times[name].append(time.perf_counter() - started)
    first = next(iter(times.values()))
    for name, found in times.items():
        ratio = median(a / b for a, b in zip(found, first))
        told[name] |= {"seconds": round(median(found), 4), "ratio_to_bare": round(ratio, 3)}
    return told


def stages(subjects: Subjects, rounds: int) -> dict[str, float]:
    """Seconds of each stage of the default run, medians."""
    found: dict[str, list[float]] = {}
    named = {
        "forward": [(passes, "capture_batch"), (pipeline, "last_logits")],
        "lens and metrics": [
            (passes.PassRunner, "decode"),
            (passes.PassRunner, "metrics"),
        ],
        "transfer": [(passes, "to_host")],
        "records": [(records.RowContext, "records"), (records.RowContext, "pure")],
        "files": [(Run, "save")],
    }
    kept = [
        (place, name, getattr(place, name)) for places in named.values() for place, name in places
    ]

    def timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **more)
            finally:
                found[stage][-1] += time.perf_counter() - started

        return call

    try:
        for stage, places in named.items():
            for place, name in places:
                setattr(place, name, timed(stage, getattr(place, name)))
        for _ in range(rounds):
            for stage in (*named, "whole"):
                found.setdefault(stage, []).append(0.0)
            timed("whole", subjects.runner)()
    finally:
        for place, name, function in kept:
            setattr(place, name, function)
    return {stage: round(median(values), 4) for stage, values in found.items()}


def whole_process(rounds: int, threads: int) -> dict[str, float]:
    """The command `run` on SmolLM2 against a process that only imports and loads, in turn."""
    path, file_stem = smollm2(), {**os.environ, "OMP_NUM_THREADS": str(threads)}
    loads = f"from lenses_min import loading, options; loading.load(options.RunOptions({path!r}, device='cpu'))"
    times: dict[str, list[float]] = {"load": [], "run": []}
    with tempfile.TemporaryDirectory() as out:
        run = [
            sys.executable,
            "-m",
            "lenses_min",
            "run",
            path,
            "--device",
            "cpu",
            "--quiet",
            "--out-dir",
            out,
        ]
        for counting in range(-1, rounds):
            for name, command in (("load", [sys.executable, "-c", loads]), ("run", run)):
                started = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=file_stem)
                times[name] += [time.perf_counter() - started] if counting >= 0 else []
    ratio = median(a / b for a, b in zip(times["run"], times["load"]))
    return {
        "load_s": round(median(times["load"]), 2),
        "run_s": round(median(times["run"]), 2),
        "ratio": round(ratio, 3),
    }


def show(name: str, told: dict[str, Any]) -> None:
    for group in ("all", "rows"):
        print(f"\n{name}, {group}\n\n| subject | s | to bare | peak MiB | forwards | transfers |")
        print("|---|--:|--:|--:|--:|--:|")
        for subject, t in told[group].items():
            numbers = (
                f"{t['seconds']:.3f}",
                f"{t['ratio_to_bare']:.2f}",
                t["peak_mib"],
                t["forwards"],
                t["transfers"],
            )
            print(f"| {subject} |", " | ".join(map(str, numbers)), "|")
    print(
        "\nstages:",
        ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in told["stages"].items()),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--process", action="store_true", help="also time whole processes on SmolLM2"
    )
    parser.add_argument("--json", type=Path, help="write all numbers here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    told: dict[str, Any] = {
        "threads": args.threads,
        "rounds": args.rounds,
        "torch": torch.__version__,
    }
    with tempfile.TemporaryDirectory() as folder:
        random = random_llama(Path(folder) / "llama-128k")
        for path, name in ((smollm2(), "SmolLM2-135M"), (random, "llama-128k")):
            subjects = Subjects(path, name, Path(folder) / "out")
            told[name] = {
                group: compare(part, args.rounds, subjects)
                for group, part in subjects.all().items()
            }
            told[name]["stages"] = stages(subjects, args.rounds)
            show(name, told[name])
    if args.process:
        told["process"] = whole_process(max(3, args.rounds // 3), args.threads)
        print("\nwhole process on SmolLM2:", told["process"])
    if args.json:
        args.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
