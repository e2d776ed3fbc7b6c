"""A battery of prompts: prompts a second against bare forwards of the same batches, and memory by their number.

bench.py --battery calls it. Prompts are windows of 8 to 64 tokens of Python's own documentation, drawn by a seed; the
answer of each is the word that follows, of one token. Subjects take other prompts in each round, in turn:

    bare              forwards of plain transformers on the batches of lenses-min, with its padding; logits everywhere
    forward, product  the same with logits of one position a prompt, and the product of all decoded rows with W_U
    lenses-min        norm and final lens, everything after loading: forwards, metrics, statistics, files, by segments

Seconds are processor seconds, where other programs do not count; give one thread, as threads that wait count too.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median
from typing import Any

import psutil
import torch
from bench_subjects import peak_memory, plain_model, smollm2

from lenses_min import RunOptions, pipeline
from lenses_min.core.decode import CHUNK_ELEMENTS
from lenses_min.core.forward import batches
from lenses_min.core.tokens import Tokens
from lenses_min.model.load import LoadedModel, load
from lenses_min.pipeline import segmented
from lenses_min.pipeline.analysis import prepare
from lenses_min.prompts.suite import Prompt, suite_of

LENSES = ("norm", "final")
SHORTEST, LONGEST = 8, 64  # tokens of a prompt, BOS included
TRIES = 200  # windows drawn for a prompt, at most


def documentation() -> str:
    """Return the topics of pydoc, one after the other."""
    return "\n\n".join(topics[name] for name in sorted(topics))


def draw_prompts(tokens: Tokens, count: int, text: str, seed: int = 0) -> list[dict[str, str]]:
    """Return `count` entries of a file of prompts, windows of a text whose next word is one token.

    Raises ValueError where the text has too few of them.
    """
    generator = random.Random(seed)
    ids = tokens.context(text)
    entries: list[dict[str, str]] = []
    for _ in range(TRIES * count):
        length = generator.randint(SHORTEST, LONGEST) - len(tokens.bos.ids)
        start = generator.randrange(len(ids) - length)
        *window, next_id = ids[start : start + length + 1]
        context, answer = tokens.tokenizer.decode(window), tokens.tokenizer.decode([next_id])
        word = answer.strip()
        if (
            word.isalpha()
            and ends_word(tokens, ids[start + length + 1 :])
            and tokens.context(context) == window
        ):
            prompt = Prompt("p", "orig", context, word)
            if tokens.align(prompt, mended=True).answer_ids == (next_id,):
                entries.append({"id": f"p{len(entries)}", "context": context, "answer": word})
        if len(entries) == count:
            return entries
    raise ValueError(f"the text has too few prompts: {len(entries)} of {count}")


def ends_word(tokens: Tokens, rest: Sequence[int]) -> bool:
    """Whether a word ends before the ids that follow it."""
    return not tokens.tokenizer.decode([*rest[:1]])[:1].isalpha()


def write_prompts(entries: Sequence[dict[str, str]], file: Path) -> str:
    """Write entries as JSON Lines and return the path."""
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return str(file)


def analyse(model: LoadedModel, options: RunOptions) -> None:
    """Do all of a run of a battery but loading, as the command `run` does it."""
    suite = suite_of(options.prompts)
    analysis = prepare(model, suite, options, time.perf_counter())
    if len(segmented.parts_of(suite, options)) > 1:
        segmented.write(analysis, Path(options.out_dir))
    else:
        pipeline.whole(analysis).save()


def padded_batches(model: LoadedModel, options: RunOptions) -> list[torch.Tensor]:
    """Return the token ids of every forward of a run, filled up on the right as the run does."""
    filled = []
    for part in segmented.parts_of(suite_of(options.prompts), options):
        prompts = [[*model.tokens.model_input(prompt.text)] for prompt in part]
        for members in batches([*map(len, prompts)], options.batch_size):
            rows = [prompts[i] for i in members]
            width = max(map(len, rows))
            filled.append(torch.tensor([[*row, *[row[-1]] * (width - len(row))] for row in rows]))
    return filled


def bare(plain: Any, inputs: Sequence[torch.Tensor]) -> None:
    """Run plain transformers over batches."""
    with torch.no_grad():
        for ids in inputs:
            plain(ids, use_cache=False)


def forward_and_product(plain: Any, inputs: Sequence[torch.Tensor], model: LoadedModel) -> None:
    """Run the same batches with logits of one position, and multiply the rows that two lenses decode with W_U."""
    rows = len(LENSES) * (model.facts.n_layers + 1)
    step = CHUNK_ELEMENTS // model.facts.d_vocab
    with torch.no_grad():
        for ids in inputs:
            plain(ids, use_cache=False, logits_to_keep=1)
            for start in range(0, rows * len(ids), step):
                size = min(step, rows * len(ids) - start)
                model.head.product(torch.ones(size, model.facts.d_model))


def compare_rounds(
    path: str, entries: Sequence[dict[str, str]], size: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Time the subjects on `size` other prompts in each round; return a `summary` of each."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = [
            write_prompts(entries[start : start + size], Path(folder) / f"{start}.jsonl")
            for start in range(0, len(entries), size)
        ]
        jobs = [
            RunOptions(path, "m", out_dir=f"{folder}/{i}", prompts=file, **options)
            for i, file in enumerate(files)
        ]
        model, plain = load(jobs[0]), plain_model(path)
        for job in jobs:
            inputs = padded_batches(model, job)
            subjects: dict[str, Callable[[], None]] = {
                "bare": partial(bare, plain, inputs),
                "forward, product": partial(forward_and_product, plain, inputs, model),
                "lenses-min": partial(analyse, model, job),
            }
            for name, subject in subjects.items():
                started = time.process_time()
                subject()
                seconds.setdefault(name, []).append(time.process_time() - started)
    return {name: summary(each, seconds["bare"], len(entries)) for name, each in seconds.items()}


def summary(seconds: list[float], bare: list[float], prompts: int) -> dict[str, Any]:
    """Return prompts a second, and the median and the least of the ratios to bare by round."""
    ratios = [a / b for a, b in zip(seconds, bare, strict=True)]
    return {
        "seconds": [round(s, 2) for s in seconds],
        "prompts_per_s": round(prompts / sum(seconds), 2),
        "ratio_to_bare": round(median(ratios), 3),
        "least_ratio": round(min(ratios), 3),
    }


def print_child(count: int, path: str) -> None:
    """Run `count` prompts after loading and print the peak of the resident set and its size after loading, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(path, "m", device="cpu", out_dir=f"{folder}/out", lenses=LENSES)
        model = load(options)
        entries = draw_prompts(model.tokens, count, documentation())
        file = write_prompts(entries, Path(folder) / "prompts.jsonl")
        job = replace(options, prompts=file)
        loaded = psutil.Process().memory_info().rss / 2**20
        with peak_memory() as peak:
            analyse(model, job)
        print(loaded + peak[0], loaded)


def peaks(counts: Sequence[int], threads: int) -> Iterator[dict[str, float]]:
    """Yield the peak of a process of its own for each number of prompts."""
    for count in counts:
        command = [sys.executable, str(Path(__file__).with_name("bench.py")), "--battery"]
        command += ["--child", "--prompts", str(count), "--threads", str(threads)]
        process = subprocess.run(command, check=True, capture_output=True, text=True)
        peak, loaded = map(float, process.stdout.split()[-2:])
        yield {"prompts": count, "peak_mib": round(peak), "loaded_mib": round(loaded)}


def measure(args: Any) -> dict[str, Any]:
    """Measure SmolLM2 as bench.py asks, and print the table; with `--memory` also processes of their own."""
    options: dict[str, Any] = {"device": "cpu", "lenses": LENSES, "batch_size": args.batch_size}
    path = smollm2()
    tokens = load(RunOptions(path, "m", device="cpu")).tokens
    entries = draw_prompts(tokens, args.prompts, documentation())
    size = -(-args.prompts // args.rounds)
    report: dict[str, Any] = {"rounds": compare_rounds(path, entries, size, options)}
    print("\n| subject | prompts a second | to bare, median | least |\n|---|--:|--:|--:|")
    for name, of_subject in report["rounds"].items():
        numbers = (of_subject[key] for key in ("prompts_per_s", "ratio_to_bare", "least_ratio"))
        print(f"| {name} |", " | ".join(map(str, numbers)), "|", flush=True)
    if args.memory:
        report["memory"] = [*peaks((args.prompts // 4, args.prompts), args.threads)]
        for line in report["memory"]:
            text = "{prompts} prompts: peak RSS {peak_mib} MiB, {loaded_mib} after loading"
            print(text.format(**line))
    return report
