"""`python -m spec new-case NAME …`: make a case for capture from a recipe or a checkpoint."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from ..errors import SpecError


def add(commands: Any) -> None:
    command = commands.add_parser(
        "new-case", help="make a case for capture from a recipe or a checkpoint"
    )
    command.add_argument(
        "name", metavar="NAME", help="the case's name, lower-case words joined by hyphens"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="LIBRARY", help="a folder for new cases"
    )
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--recipe", metavar="NAME", help="a model of golden/, or a family to draw a new one of"
    )
    source.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="a saved model with its tokenizer"
    )
    command.add_argument("--seed", type=int, help="seed of the weights of a new model")
    command.add_argument("--model-id", metavar="ID", help="recorded name (default: tiny/NAME)")
    command.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the run"
    )
    command.add_argument("--raw-lens", metavar="MODE", help="LOGOS_RAW_LENS: off, sample or full")
    command.add_argument("--prism", type=Path, metavar="DIR", help="Prism artifacts of this model")
    command.add_argument(
        "--tolerance", default="fp32", help="tolerance class (default: %(default)s)"
    )
    command.set_defaults(run=run)


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """Parse KEY=VALUE pairs; a value that is no JSON is text. Raises SpecError for a pair without `=`."""
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise SpecError(
                f"--option takes KEY=VALUE, got {pair!r}; for example --option copy_threshold=0.5"
            )
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def run(args: argparse.Namespace) -> int:
    from ..lifecycle.new_case import add_case, make_entry

    with tempfile.TemporaryDirectory() as folder:
        model, checkpoint = find_model(args, Path(folder))
        case = make_entry(
            args.name,
            model,
            args.model_id or f"tiny/{args.name}",
            parse_options(args.option),
            args.raw_lens,
            args.tolerance,
        )
        add_case(args.out, args.name, case, checkpoint, args.prism)
    print(f"{args.name} is ready in {args.out}; capture it with")
    print(
        f"    python -m spec capture --cases {args.out} --run-py PATH --python INTERPRETER --out DIR {args.name}"
    )
    return 0


def find_model(args: argparse.Namespace, folder: Path) -> tuple[str, Path]:
    """Return the name of the case's model and its checkpoint; a new model is built in `folder`."""
    from ..golden import GOLDEN

    if args.checkpoint:
        if args.seed is not None:
            raise SpecError("--seed draws a model of a recipe; leave it out with --checkpoint")
        return args.name, args.checkpoint
    committed = GOLDEN / "models" / args.recipe
    if args.seed is None and committed.is_dir():
        return args.recipe, committed
    return args.name, build_model(args.recipe, args.seed, folder)


def build_model(recipe: str, seed: int | None, folder: Path) -> Path:
    """Build the checkpoint of a new model: a recipe of golden/ with another seed, or one of a family.

    Raises SpecError where there is no such recipe, or no seed for it.
    """
    from dataclasses import replace

    from ..golden import GOLDEN
    from ..recipe import RECIPES, RecipeError, build, new_model

    if recipe not in RECIPES and (GOLDEN / "models" / recipe).is_dir():
        raise SpecError(f"{recipe} was built by hand, no seed draws it; leave out --seed")
    try:
        if seed is None:
            new_model(recipe, 0)
            raise SpecError(f"--recipe {recipe} draws a new model and needs --seed")
        known = recipe in RECIPES
        model = replace(RECIPES[recipe], seed=seed) if known else new_model(recipe, seed)
        build(model, folder)
    except RecipeError as error:
        models = ", ".join(sorted(path.name for path in (GOLDEN / "models").iterdir()))
        raise SpecError(f"{error}; or a model of golden/: {models}") from error
    return folder
