"""Random tiny models and prompts through the whole runner: no crash, no broken contract, the last layer proven.

    python scripts/fuzz.py [--examples N] [--seed S] [--first I]

Example I of a seed is always the same: family, width, heads, layers, vocabulary, tokenizer, weights, contract, lenses,
options, prompts of any Unicode. Its run is saved, read back by lenses_min.load and held to the schema of spec/. Right
outcomes are a whole run, or one LensError about prompts that the model cannot read. Exit status 1: something else.
"""

import argparse
import io
import json
import logging
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import lenses_min
from lenses_min import LensError, RunOptions, pipeline
from lenses_min.process import configure_logging, silence_transformers
from spec.recipe import FAMILIES, TinyModel, build, tokenizer_files
from spec.recipe.model import BYTES, WORDS
from spec.recipe.tokenizer import PUNCTUATION, SPECIALS, VOCABULARY
from spec.runs.run import read_run
from spec.schema.validate import validate

ODD = (
    *(
        "",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\t",
        "\0",
        "\x1b",
        "\x85",
        "\u2028",
        "\ufeff",
        "\u200b",
        "\u202e",
        "\ufffd",
    ),
    *(
        '"',
        '""',
        '"a',
        "'",
        ",",
        "\\",
        "\\n",
        "a\\",
        ";",
        "⟨NEXT⟩",
        "nan",
        "NaN",
        "NA",
        "None",
        "null",
        "True",
        "false",
    ),
    *(
        "1",
        "1e5",
        "-0",
        "inf",
        "0x1F",
        "1_0",
        "=1+1",
        "<b>",
        "北京",
        "👩\u200d👧",
        "é",
        "e\u0301",
        "ß",
        "İ",
        "شيء",
        "𐍈",
    ),
)
EACH_CHARACTER = {
    "type": "Split",
    "pattern": {"Regex": r"[\s\S]"},
    "behavior": "Isolated",
    "invert": False,
}
NAMES = ("m", "Tiny-7B", "big-34B", "a b", "Ünï,cödé", "v1.5_x", "北京", "-", "x'y\"z", "output-m")
TOO_LONG = "use another prompt or a model with a longer context"


@dataclass(frozen=True)
class Example:
    """A tiny model, its tokenizer's files, the options of its run, and the prompts, None for the built-in ones."""

    model: TinyModel
    tokenizer: Mapping[str, Any]
    options: Mapping[str, Any]
    prompts: Mapping[str, Any] | None
    form: str

    @property
    def description(self) -> str:
        settings = {
            "family": self.model.family,
            **self.model.overrides,
            "spread": self.model.spread,
            **self.options,
        }
        return (
            ", ".join(f"{key}={value!r}" for key, value in settings.items())
            + f"\n    prompts {self.prompts!r}"
        )


class Draw(random.Random):
    """Everything about one example, from one seed."""

    def text(self, longest: int) -> str:
        """Words of the tiny tokenizers, odd pieces, and any code points but lone surrogates."""
        pieces = [self.piece() for _ in range(self.randint(0, longest))]
        return self.choice(("", " ")).join(pieces)

    def piece(self) -> str:
        kind = self.random()
        if kind < 0.4:
            return self.choice(VOCABULARY)
        if kind < 0.6:
            return self.choice((*ODD, *PUNCTUATION))
        top = self.choice((0x7F, 0x2FF, 0xFFFF, 0x10FFFF))
        return "".join(
            filter(
                lambda c: not "\ud800" <= c <= "\udfff", map(chr, self.choices(range(top + 1), k=2))
            )
        )

    def some(self, longest: int) -> str:
        """A text that is not blank."""
        return next(text for text in iter(lambda: self.text(longest), None) if text.strip())

    def name(self) -> str:
        return "".join(self.some(2).replace("/", "|").split())

    def example(self) -> Example:
        files, vocab = self.tokenizer()
        family = self.choice(sorted(FAMILIES))
        padded = vocab + self.choice((0, 0, 1, 61))
        overrides = self.sizes(family) | {
            "vocab_size": padded,
            "tie_word_embeddings": self.random() < 0.3,
        }
        spread = self.choice((0.001, 0.1, 0.3, 0.3, 1.0, 30.0))
        model = TinyModel(family, self.randrange(2**32), spread, overrides=overrides)
        prompts = self.prompts() if self.random() < 0.75 else None
        return Example(
            model, files, self.options(), prompts, self.choice(("json", "jsonl", "yaml"))
        )

    def sizes(self, family: str) -> dict[str, int]:
        """Width, heads, depth and context under the names that the family has for them."""
        heads, wide, layers = (
            self.randint(1, 5),
            self.choice((8, 8, 16, 24)),
            self.choice((1, 1, 2, 3, 4, 7)),
        )
        groups = self.choice([k for k in range(1, heads + 1) if heads % k == 0])
        named = dict.fromkeys(("hidden_size", "n_embd", "word_embed_proj_dim"), heads * wide)
        named |= dict.fromkeys(("num_hidden_layers", "n_layer"), layers)
        named |= dict.fromkeys(("num_attention_heads", "n_head"), heads)
        named |= dict.fromkeys(("intermediate_size", "ffn_dim"), self.choice((8, 40, 64)))
        named |= dict.fromkeys(
            ("max_position_embeddings", "n_positions"), self.choice((24, 128, 128, 512))
        )
        named |= {
            "num_key_value_heads": groups,
            "head_dim": wide,
            "rotary_dim": self.choice((2, 4, 8)),
        }
        return {key: value for key, value in named.items() if key in FAMILIES[family]}

    def tokenizer(self) -> tuple[Mapping[str, Any], int]:
        """Words, bytes, the first few words alone, or single characters and odd entries; and how many ids there are."""
        kind = self.choice(("words", "bytes", "few", "odd", "odd"))
        if kind == "bytes":
            return tokenizer_files("byte-bpe"), BYTES
        files = tokenizer_files(
            self.choice(("words", "words-dropped")) if kind == "words" else "words"
        )
        if kind == "words":
            return files, WORDS
        tokenizer = files["tokenizer.json"]
        entries = list(tokenizer["model"]["vocab"])
        if kind == "odd":
            drawn = [*ODD[1:], *map(chr, range(32, 127)), *(self.piece() for _ in range(60))]
            entries = list(
                dict.fromkeys((*SPECIALS, *self.sample(drawn, self.randint(1, len(drawn)))))
            )
            tokenizer |= {"pre_tokenizer": EACH_CHARACTER, "decoder": {"type": "Fuse"}}
        entries = entries[: self.randint(len(SPECIALS), len(entries))]
        tokenizer["model"]["vocab"] = {entry: i for i, entry in enumerate(entries)}
        return files, len(entries)

    def options(self) -> dict[str, Any]:
        return {
            "model_id": f"tiny/{self.choice(NAMES)}",
            "contract": self.choice(("reference", "corrected")),
            "lenses": self.choice(
                (("norm", "prism"), ("norm",), ("final",), ("raw",), ("final", "raw"))
            ),
            "raw_lens": self.choice(("off", "sample", "full")),
            "keep_residuals": self.random() < 0.3,
            "fp32_unembed": self.random() < 0.3,
            "copy_threshold": self.choice((0.95, 0.0, 0.3, 1.0)),
            "copy_margin": self.choice((0.1, 0.0, 1.0)),
            "batch_size": self.choice((1, 2, 8)),
        }

    def prompts(self) -> dict[str, Any]:
        """Passes, some the control of another, test prompts and keywords."""
        passes: list[dict[str, Any]] = []
        for i in range(self.randint(1, 5)):
            entry: dict[str, Any] = {
                "id": f"{self.name()}{i}",
                "context": self.text(8),
                "answer": self.some(3),
            }
            entry |= {"variant": self.name()} if self.random() < 0.5 else {}
            entry |= {"records": True} if self.random() < 0.5 else {}
            if passes and self.random() < 0.5:
                rival = self.choice(passes)
                entry["control"] = f"{rival['id']}/{rival.get('variant', 'orig')}"
            passes.append(entry)
        tests = [self.some(6) for _ in range(self.randint(0, 3))]
        return {
            "passes": passes,
            "test_prompts": tests,
            "keywords": [self.some(1) for _ in range(self.randint(0, 3))],
        }


def perform(example: Example, folder: Path) -> str:
    """`whole`, or `refused` where a prompt does not fit; anything that must not be is raised."""
    model = build(example.model, folder / "model")
    for name, content in example.tokenizer.items():
        (model / name).write_text(json.dumps(content), encoding="utf-8")
    given = dict(example.options)
    if example.prompts is not None:
        given["prompts"] = str(folder / f"prompts.{example.form}")
        Path(given["prompts"]).write_text(
            written(example.prompts, example.form), encoding="utf-8", newline=""
        )
    options = RunOptions(str(model), device="cpu", out_dir=str(folder / "out"), **given)
    try:
        run = pipeline.run(options)
    except LensError as error:
        if TOO_LONG in str(error):
            return "refused"
        raise
    run.save()
    if broken := validate(read_run(folder / "out", options.file_stem)):
        raise AssertionError("\n".join(map(str, broken[:5])))
    again = lenses_min.load(folder / "out", options.file_stem)
    assert {key: list(rows) for key, rows in run.tables.items()} == again.tables, (
        "the tables are read back otherwise"
    )
    assert (again.document, again.manifest) == (plain(run.document), plain(run.manifest)), (
        "JSON is read back otherwise"
    )
    assert options.contract == "reference" or run.manifest["last_layer_proof"]["holds"], (
        run.manifest["last_layer_proof"]
    )
    return "whole"


def written(prompts: Mapping[str, Any], form: str) -> str:
    """A file of prompts; JSON Lines have no keywords."""
    if form == "yaml":
        return yaml.safe_dump(prompts, allow_unicode=len(prompts["passes"]) > 2)
    if form == "json":
        return json.dumps(prompts)
    lines = [*prompts["passes"], *({"test_prompt": text} for text in prompts["test_prompts"])]
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)


def plain(document: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(document))


def outcome_of(i: int, example: Example) -> str:
    """What became of the i-th example; a failure is printed with its place."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return perform(example, Path(folder))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(
                f"example {i}: {type(error).__name__} at {where.name}: {error}\n    {example.description}",
                flush=True,
            )
    return "failed"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--first", type=int, default=0, help="the example to begin with (default: %(default)s)"
    )
    args = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    started, outcomes = time.perf_counter(), Counter[str]()
    with configure_logging(logging.CRITICAL), silence_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(args.first, args.first + args.examples):
            outcomes[outcome_of(i, Draw(f"{args.seed}/{i}").example())] += 1
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(
        f"{args.examples} examples of seed {args.seed}: {counts}; {time.perf_counter() - started:.0f} s"
    )
    return int(outcomes["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
