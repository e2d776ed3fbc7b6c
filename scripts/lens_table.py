"""Fit Prism and tuned lenses on Python's documentation, then print the mean KL of every lens by layer.

    python scripts/lens_table.py MODEL [--model-id ID] [--out DIR] [FIT OPTION …]

Every tenth topic of `pydoc_data.topics` is held out: its pieces of 60 words are the prompts of the table. KL is that of
a lens to the model's own next-token distribution after a prompt, in bits. Further options go to `fit tuned`.
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
WORDS = 60  # of a prompt; the next word is its answer


def held_out_prompts(texts: list[str]) -> list[dict[str, str]]:
    """Cut the texts into prompts of WORDS words; the answer is the word that follows."""
    prompts = []
    for i, text in enumerate(texts):
        words = [*re.finditer(r"\S+", text)]
        for first in range(0, len(words) - WORDS, WORDS + 1):
            context = text[words[first].start() : words[first + WORDS - 1].end()]
            prompts.append(
                {
                    "id": f"t{i}",
                    "variant": str(first),
                    "context": context,
                    "answer": words[first + WORDS][0],
                }
            )
    return prompts


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--model-id", default="")
    parser.add_argument("--out", default="runs/lens-table", type=Path)
    args, more = parser.parse_known_args()
    args.out.mkdir(parents=True, exist_ok=True)
    texts = [topics[name] for name in sorted(topics)]
    training = args.out / "training.txt"
    training_texts = [text for i, text in enumerate(texts) if i % 10]
    training.write_text("\n\n".join(training_texts), encoding="utf-8")
    prompts = held_out_prompts(texts[::10])
    prompts_file = args.out / "held-out.jsonl"
    prompts_file.write_text("\n".join(map(json.dumps, prompts)) + "\n", encoding="utf-8")

    fit = [sys.executable, "-m", "lenses_min", "fit"]
    options = [args.model, "--model-id", args.model_id, "--device", "cpu", "--text", str(training)]
    for lens, extra in (("prism", []), ("tuned", more)):
        subprocess.run([*fit, lens, *options, "--out", str(args.out / lens), *extra], check=True)
    artifacts = {
        "prism_dir": str(args.out / "prism"),
        "tuned_dir": str(args.out / "tuned"),
        "prism": "on",
    }
    run = lm.run(
        args.model,
        model_id=args.model_id,
        device="cpu",
        prompts=str(prompts_file),
        lenses=LENSES,
        **artifacts,
    )
    run.save(args.out)

    rows = run.frame("agreement")
    table = rows[rows.against == "model"].pivot_table("kl_bits", "layer", "lens")[list(LENSES)]
    # without the last layer, which is the model itself under all lenses but raw and prism
    table.loc["mean"] = table.iloc[:-1].mean()
    print(f"\n{len(prompts)} prompts of {WORDS} words, held out; bits\n")
    print("| layer |", " | ".join(LENSES), "|\n|--:|" + "--:|" * len(LENSES))
    for layer, values in table.iterrows():
        print(f"| {layer} |", " | ".join(f"{value:.2f}" for value in values), "|")
    return 0


if __name__ == "__main__":
    sys.exit(main())
