"""`lenses-min fit tuned|prism MODEL --text FILE… --out DIR`: the options, and one fit from model to files."""

import argparse
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import LensError
from ..fit.options import FitOptions, PrismOptions, TunedOptions
from ..options import RunOptions, options_of
from ..process import silence_transformers
from .arguments import add_model, add_option, add_options

LENSES: dict[str, tuple[type[FitOptions], str]] = {
    "tuned": (
        TunedOptions,
        "translators of a tuned lens; started again, it goes on where it stopped",
    ),
    "prism": (PrismOptions, "whitening and rotation of a Prism lens"),
}


def add(commands: Any) -> None:
    fit = commands.add_parser("fit", help="fit a lens to a model").add_subparsers(
        dest="lens", required=True
    )
    for name, (kind, about) in LENSES.items():
        command = fit.add_parser(name, help=about)
        command.set_defaults(perform=run)
        add_model(command, "the id, or the file's name")
        command.add_argument(
            "--text", nargs="+", default=[], metavar="FILE", help="plain text to learn from"
        )
        out = f"writes DIR/<name>/, which --{name}-dir DIR finds"
        command.add_argument("--out", required=True, metavar="DIR", help=out)
        run_options = {option: rest for option, *rest in options_of(RunOptions)}
        add_option(command, "device", *run_options["device"])
        _, contract = run_options["contract"]
        norms = "whose norms are read: the reference's formula or the model's own modules (default: %(default)s)"
        default = "corrected" if name == "tuned" else "reference"
        add_option(command, "contract", default, replace(contract, help=norms))
        add_options(command, kind)


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 fitted, 1 the fit failed, 2 the command line is wrong."""
    kind, _ = LENSES[args.lens]
    try:
        options = RunOptions(args.model, args.model_id, device=args.device, contract=args.contract)
        given = {name: getattr(args, name) for name, *_ in options_of(kind)}
        settings = kind(tuple(args.text), str(Path(args.out) / options.file_stem), **given)
    except LensError as error:
        print(f"lenses-min: error: {error}", file=sys.stderr)
        return 2
    with silence_transformers():
        from rich.console import Console

        from ..model.load import load

        fitting = importlib.import_module(f"..fit.{args.lens}", __package__)
        try:
            with Console(stderr=True).status(f"loading {options.model}"):
                model = load(options)
            provenance = fitting.fit(model, settings)
        except (LensError, OSError) as error:
            print(f"lenses-min: error: {options.model_id}: {error}", file=sys.stderr)
            return 1
    print(f"{options.model_id}: {fitting.sentence(provenance)}", settings.out, sep="\n")
    return 0
