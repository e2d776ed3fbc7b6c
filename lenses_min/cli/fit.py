"""`lenses-min fit tuned|prism MODEL --text FILE… --out DIR`: the options, and one fit from model to files."""

import argparse
import importlib
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import LensError
from ..fit.options import FitOptions, PrismOptions, TunedOptions
from ..options import CHOICES, RunOptions
from ..process import silence_transformers

LENSES: dict[str, tuple[type[FitOptions], str]] = {
    "tuned": (
        TunedOptions,
        "translators of a tuned lens; started again, it goes on where it stopped",
    ),
    "prism": (PrismOptions, "whitening and rotation of a Prism lens"),
}
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
    "prompts": "a file of prompts to read as well, as run --prompts takes it",
    "k": "directions to align, at most the model's width",
    "samples": "residuals kept for the principal directions",
}


def add(commands: Any) -> None:
    fit = commands.add_parser("fit", help="fit a lens to a model").add_subparsers(
        dest="lens", required=True
    )
    for name, (kind, told) in LENSES.items():
        command = fit.add_parser(name, help=told)
        command.set_defaults(perform=run)
        command.add_argument(
            "model", metavar="MODEL", help="a Hugging Face id, a checkpoint folder or a .gguf file"
        )
        command.add_argument(
            "--text", nargs="+", default=[], metavar="FILE", help="plain text to learn from"
        )
        out = f"writes DIR/<name>/, which --{name}-dir DIR finds"
        command.add_argument("--out", required=True, metavar="DIR", help=out)
        command.add_argument(
            "--model-id", default="", help="recorded name (default: the id, or the file's name)"
        )
        command.add_argument(
            "--device", choices=CHOICES["device"], default="auto", help="default: %(default)s"
        )
        default = "corrected" if name == "tuned" else "reference"
        norms = "whose norms are read: the reference's formula or the model's own modules (default: %(default)s)"
        command.add_argument("--contract", choices=CHOICES["contract"], default=default, help=norms)
        for field in (field for field in fields(kind) if field.name in HELP):
            flag, told = (
                f"--{field.name.replace('_', '-')}",
                f"{HELP[field.name]} (default: %(default)s)",
            )
            command.add_argument(flag, type=type(field.default), default=field.default, help=told)


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 fitted, 1 the fit failed, 2 the command line is wrong."""
    kind, _ = LENSES[args.lens]
    try:
        options = RunOptions(args.model, args.model_id, device=args.device, contract=args.contract)
        asked = {
            field.name: getattr(args, field.name) for field in fields(kind) if field.name in HELP
        }
        settings = kind(tuple(args.text), str(Path(args.out) / options.clean), **asked)
    except LensError as error:
        print(f"lenses-min: error: {error}", file=sys.stderr)
        return 2
    with silence_transformers():
        from ..model.load import load

        fitting = importlib.import_module(f"..fit.{args.lens}", __package__)
        try:
            told = fitting.fit(load(options), settings)
        except (LensError, OSError) as error:
            print(f"lenses-min: error: {options.model_id}: {error}", file=sys.stderr)
            return 1
    print(f"{options.model_id}: {fitting.sentence(told)}", settings.out, sep="\n")
    return 0
