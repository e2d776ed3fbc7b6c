"""Tiny models of every causal family that transformers and TransformerLens share, each held against plain transformers.

    python scripts/fuzz_families.py [--examples N] [--seed S] [--first I] [--family NAME]

Example I of a seed is always the same: family (they take turns), options of its configuration, weights, prompts,
contract, lenses. Right outcomes are a run whose numbers are those that transformers gives by itself, and one LensError
that says why the model cannot be read, without the name of an error of Python. The last lines have the counts of every
family and the texts of its refusals. Exit status 1: numbers that differ, or any other error.
"""

import argparse
import json
import logging
import random
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fuzz_configs
import fuzz_plain
import numpy as np
from transformers import PreTrainedTokenizerFast

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.process import configure_logging, silence_transformers
from spec.recipe.tokenizer import VOCABULARY

ATTEMPTS = 30  # configurations that are drawn until transformers has such a model
P_TOLERANCE, BITS_TOLERANCE = (
    2e-4,
    2e-3,
)  # float32 sums in two orders, on random weights of any spread
RAW_ERROR = re.compile(r"\b[A-Z]\w*Error\b|Traceback")
USUAL_RANGE = 30.0  # nats from the top logit to the lowest
LENSES = ("norm", "final", "raw")


@dataclass(frozen=True)
class Example:
    family: str
    given: Mapping[str, Any]
    seed: int
    spread: float
    options: Mapping[str, Any]
    prompts: Mapping[str, Any]

    def __str__(self) -> str:
        return (
            f"{self.family} {json.dumps(self.given)}\n"
            f"    seed {self.seed}, spread {self.spread}, {dict(self.options)}, {dict(self.prompts)}"
        )


class Draw(random.Random):
    """Everything about one example, from one seed."""

    def example(self, family: str) -> Example:
        given = fuzz_configs.configuration(family, self)
        spread = self.choice((0.1, 0.3, 0.3, 0.6))
        return Example(family, given, self.randrange(2**32), spread, self.options(), self.prompts())

    def options(self) -> dict[str, Any]:
        return {
            "contract": self.choice(("corrected",) * 5 + ("reference",)),
            "lenses": LENSES,
            "batch_size": self.choice((1, 3, 8)),
        }

    def prompts(self) -> dict[str, Any]:
        """Passes and test prompts of several lengths, so that short ones share a forward with long ones."""
        passes = [
            {"id": f"p{i}", "context": self.words(12), "answer": self.words(2), "records": True}
            for i in range(self.randint(1, 3))
        ]
        return {"passes": passes, "test_prompts": [self.words(20) for _ in range(2)]}

    def words(self, most: int) -> str:
        return " ".join(self.choices(VOCABULARY, k=self.randint(1, most)))


@dataclass
class Tally:
    """Outcomes by family."""

    runs: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    refusals: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    unbuilt: Counter[str] = field(default_factory=Counter)

    def print(self, families: Sequence[str]) -> None:
        for family in families:
            refused = self.refusals[family]
            counts = {"runs": self.runs, "failures": self.failures, "unbuilt": self.unbuilt}
            parts = [f"{counted[family]} {name}" for name, counted in counts.items()]
            print(f"{family}: {', '.join(parts)}, {refused.total()} refusals")
            for reason, count in refused.most_common():
                print(f"    {count} x {reason}")


def perform(example: Example, folder: Path) -> list[str]:
    """Run one example whose checkpoint is in `folder` / model, and hold it against transformers: the differences."""
    prompts = folder / "prompts.json"
    prompts.write_text(json.dumps(example.prompts), encoding="utf-8")
    model = folder / "model"
    run = pipeline.run(
        RunOptions(str(model), device="cpu", prompts=str(prompts), **example.options)
    )
    net = fuzz_plain.load(model)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    before = run.manifest["bos"]["ids"]

    def read(text: str) -> fuzz_plain.Plain:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return fuzz_plain.read(net, [*before, *ids])

    labels = [tokenizer.decode([i]) for i in range(fuzz_configs.vocabulary(net))]
    differences = []
    for block in run.document["passes"]:
        name, plain = block["prompt_id"], read(block["context_prompt"])
        differences += distribution(f"{name} model", block["final_prediction"], plain.p[-1], labels)
        if run.rules.every_record:
            differences += lens_differences(run, name, plain, labels)
    for block in run.document["test_prompts"]:
        differences += distribution("test prompt", block, read(block["prompt"]).p[-1], labels)
    return differences


def lens_differences(run: Any, name: str, plain: Any, labels: Sequence[str]) -> list[str]:
    """Rows of the lenses at every layer and position, and the KL of the last layer."""
    last = max(row.layer for row in run.pure())
    differences = []
    for lens in LENSES:
        by_layer = plain.lenses.get(lens)
        for row in run.records(lens) if by_layer is not None else ():
            if row.prompt_id == name:
                differences += row_differences(row, lens, by_layer[row.layer, row.pos], labels)
    for lens in ("norm", "final"):
        ends = [row for row in run.pure(lens) if row.prompt_id == name and row.layer == last]
        for row in ends:
            differences += row_differences(row, lens, plain.p[-1], labels)
        kl = max(row.kl_to_final_bits for row in ends)
        differences += [] if kl <= 1e-5 else [f"{name} {lens}: KL {kl} at the last layer"]
    return differences


def row_differences(row: Any, lens: str, p: np.ndarray, labels: Sequence[str]) -> list[str]:
    block = {"topk": [list(each) for each in row.top], "entropy": row.entropy}
    return distribution(f"{row.prompt_id} {lens} layer {row.layer} pos {row.pos}", block, p, labels)


def distribution(
    place: str, block: Mapping[str, Any], p: np.ndarray, labels: Sequence[str]
) -> list[str]:
    """Top-k with texts and probabilities, and entropy in bits, against probabilities in float64.

    Logits of a wide range are rounded in wide steps: the tolerances grow with it.
    """
    differences = []
    steps = max(1.0, -float(np.log(max(p.min(), 1e-300))) / USUAL_RANGE)
    entropy = float(-(p * np.log2(np.maximum(p, 1e-300))).sum())
    if not abs(block["entropy"] - entropy) <= BITS_TOLERANCE * steps:
        differences.append(f"{place}: entropy {block['entropy']}, transformers {entropy}")
    for (text, value), i in zip(block["topk"], np.argsort(-p, kind="stable"), strict=False):
        close = [
            labels[j] for j in np.flatnonzero(np.abs(p - p[i]) <= P_TOLERANCE * steps).tolist()
        ]
        if not abs(value - p[i]) <= P_TOLERANCE * steps or text not in close:
            values = f"{text!r} {value}, transformers {labels[i]!r} {p[i]}"
            return [*differences, f"{place}: {values}"]
    return differences


def built(
    family: str, seed: str, folder: Path, given: Mapping[str, Any] | None = None
) -> Example | str:
    """The first example whose model transformers can build and run by itself, else why the last cannot.

    Options that are `given` take the place of those drawn.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        drawn = Draw(f"{seed}/{attempt}").example(family)
        example = replace(drawn, given=fuzz_configs.merged(drawn.given, given or {}))
        model = folder / str(attempt) / "model"
        try:
            fuzz_configs.build(family, example.given, example.seed, example.spread, model)
            fuzz_plain.read(fuzz_plain.load(model), [1, 5, 6, 7])
        except (
            Exception
        ) as error:  # whatever a configuration that does not fit makes transformers raise
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            continue
        (folder / "model").symlink_to(model)
        return example
    return reason


def outcome_of(index: int, family: str, seed: str, tally: Tally) -> None:
    """Run one example and note what became of it; a failure is printed."""
    with tempfile.TemporaryDirectory() as name:
        example = built(family, seed, Path(name))
        if isinstance(example, str):
            tally.unbuilt[family] += 1
            tally.refusals[family][f"transformers alone: {example}"] += 0
            return
        try:
            differences = perform(example, Path(name))
        except LensError as error:
            text = str(error).replace(f"{name}/model", "MODEL")
            if RAW_ERROR.search(text) is None:
                tally.refusals[family][text] += 1
                return
            differences = [f"a raw error in a refusal: {text}"]
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            differences = [f"{type(error).__name__} at {where.name}: {error}"]
    tally.runs[family] += 1
    if differences:
        tally.failures[family] += 1
        shown = "\n    ".join(differences[:4])
        print(f"example {index}: {shown}\n    {example}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the example to begin with")
    parser.add_argument("--family", help="this family alone (default: all in turn)")
    args = parser.parse_args()
    families = [args.family] if args.family else fuzz_configs.shared_families()
    tally, started = Tally(), time.perf_counter()
    with configure_logging(logging.CRITICAL), silence_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(args.first, args.first + args.examples):
            outcome_of(i, families[i % len(families)], f"{args.seed}/{i}", tally)
    tally.print(families)
    refused = sum(counted.total() for counted in tally.refusals.values())
    print(
        f"{args.examples} examples of seed {args.seed}, {len(families)} families: "
        f"{tally.runs.total()} runs, {refused} refusals, {tally.unbuilt.total()} unbuilt, "
        f"{tally.failures.total()} failures; {time.perf_counter() - started:.0f} s"
    )
    return int(tally.failures.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
