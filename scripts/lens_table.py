"""Fit Prism and tuned lenses on Python's own documentation, then print the mean KL of every lens, layer by layer.

    python scripts/lens_table.py MODEL [--model-id ID] [--out DIR] [FIT OPTION …]

Every tenth topic of `pydoc_data.topics` is held out: pieces of 60 words are the prompts of the table, and KL is that of
a lens to the model's own next-token distribution after them, in bits. Further options go to `fit tuned`.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import lenses_min as lm

LENSES = ("norm", "final", "raw", "prism", "tuned")
WORDS = 60  # a prompt; the next word is its answer


def held_out(texts: list[str]) -> list[dict[str, str]]:
    """Prompts of WORDS words as they stand in the texts, and the word that follows."""
    found = []
    for i, text in enumerate(texts):
        words = [*re.finditer(r"\S+", text)]
        for first in range(0, len(words) - WORDS, WORDS + 1):
            context = text[words[first].start() : words[first + WORDS - 1].end()]
            found.append(
                {
                    "id": f"t{i}",
                    "variant": str(first),
                    "context": context,
                    "answer": words[first + WORDS][0],
                }
            )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--model-id", default="")
    parser.add_argument("--out", default="runs/lens-table", type=Path)
    args, more = parser.parse_known_args()
    args.out.mkdir(parents=True, exist_ok=True)
    texts, prompts = [topics[name] for name in sorted(topics)], args.out / "held-out.jsonl"
    training = args.out / "training.txt"
    training.write_text(
        "\n\n".join(text for i, text in enumerate(texts) if i % 10), encoding="utf-8"
    )
    prompts.write_text("\n".join(map(json.dumps, held_out(texts[::10]))) + "\n", encoding="utf-8")

    fit = [sys.executable, "-m", "lenses_min", "fit"]
    named = [args.model, "--model-id", args.model_id, "--device", "cpu", "--text", str(training)]
    for lens, extra in (("prism", []), ("tuned", more)):
        subprocess.run([*fit, lens, *named, "--out", str(args.out / lens), *extra], check=True)
    where = {
        "prism_dir": str(args.out / "prism"),
        "tuned_dir": str(args.out / "tuned"),
        "prism": "on",
    }
    run = lm.run(
        args.model,
        model_id=args.model_id,
        device="cpu",
        prompts=str(prompts),
        lenses=LENSES,
        **where,
    )
    run.save(args.out)

    rows = run.frame("agreement")
    table = rows[rows.against == "model"].pivot_table("kl_bits", "layer", "lens")[list(LENSES)]
    table.loc["mean"] = table.iloc[
        :-1
    ].mean()  # the last layer is the model itself, but under raw and prism
    print(
        f"\n{len(prompts.read_text(encoding='utf-8').splitlines())} prompts of {WORDS} words, held out; bits\n"
    )
    print("| layer |", " | ".join(LENSES), "|\n|--:|" + "--:|" * len(LENSES))
    for layer, values in table.iterrows():
        print(f"| {layer} |", " | ".join(f"{value:.2f}" for value in values), "|")
    return 0


if __name__ == "__main__":
    sys.exit(main())
