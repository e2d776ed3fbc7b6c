"""`lenses-min fit tuned MODEL --text FILE… --out DIR`: the options, and one fit from model to files."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import LensError
from ..options import CHOICES, RunOptions
from .options import TunedOptions

HELP = {
    "tokens": "tokens to learn from, validation included",
    "length": "tokens of a sequence",
    "steps": "training steps after the closed-form start",
    "positions": "positions drawn from a sequence a step",
    "lr": "learning rate at the start of its cosine",
    "ridge": "penalty of the closed-form start, in shares of the mean square",
    "minutes": "end the training after so long",
    "patience": "end it after so many evaluations without gain",
    "evaluate_every": "steps between evaluations on held-out text",
}


def add(commands: Any) -> None:
    fit = commands.add_parser("fit", help="fit a lens to a model").add_subparsers(dest="lens", required=True)
    tuned = fit.add_parser("tuned", help="translators of a tuned lens; started again, it goes on where it stopped")
    tuned.add_argument("model", metavar="MODEL", help="a Hugging Face id, a checkpoint folder or a .gguf file")
    tuned.add_argument("--text", nargs="+", required=True, metavar="FILE", help="plain text to learn from")
    tuned.add_argument("--out", required=True, metavar="DIR", help="writes DIR/<name>/, which --tuned-dir DIR finds")
    tuned.add_argument("--model-id", default="", help="recorded name (default: the id, or the folder's or file's name)")
    tuned.add_argument("--device", choices=CHOICES["device"], default="auto", help="default: %(default)s")
    for field in fields(TunedOptions):
        if field.name in HELP:
            flag, told = f"--{field.name.replace('_', '-')}", f"{HELP[field.name]} (default: %(default)s)"
            tuned.add_argument(flag, type=type(field.default), default=field.default, help=told)


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 fitted, 1 the fit failed, 2 the command line is wrong."""
    try:
        options = RunOptions(args.model, args.model_id, device=args.device, contract="corrected")
        asked = {name: getattr(args, name) for name in HELP}
        settings = TunedOptions(tuple(args.text), str(Path(args.out) / options.clean), **asked)
    except LensError as error:
        print(f"lenses-min: error: {error}", file=sys.stderr)
        return 2
    from ..loading import load
    from .tuned import fit, mean

    try:
        told = fit(load(options), settings)
    except (LensError, OSError) as error:
        print(f"lenses-min: error: {options.model_id}: {error}", file=sys.stderr)
        return 1
    kls = {name: mean(values) for name, values in told["held_out_kl_bits"].items()}
    print(f"{options.model_id}: mean KL to the final output over layers, held-out text, bits")
    print(*(f"  {name:<6} {value:8.4f}" for name, value in kls.items()), f"{settings.out}", sep="\n")
    return 0
