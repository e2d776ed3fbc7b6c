"""`python -m spec validate DIR …`: validate runs by the schema alone, without a capture."""

import argparse
from pathlib import Path
from typing import Any

from .allow import EXTENDED, add_allow


def add(commands: Any) -> None:
    validate = commands.add_parser(
        "validate",
        help="validate runs by the schema alone",
        epilog="Exit status: 0 every run keeps the contract, 3 some have more than it (0 with --allow extended), "
        "1 some break it, 2 the command line is wrong.",
    )
    validate.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="holds runs, or folders that hold runs; all are judged",
    )
    validate.add_argument(
        "--json", action="store_true", help="print one JSON object instead of tables"
    )
    add_allow(validate)
    validate.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..report import validate as render_validate
    from ..runs.directory import runs_of
    from ..schema.validating import judge

    places = [place for folder in args.folders for place in runs_of(folder)]
    results = [judge(folder, file_stem) for folder, file_stem in dict.fromkeys(places)]
    print(render_validate.machine(results) if args.json else render_validate.text(results))
    if not all(result.valid for result in results):
        return 1
    return 3 if any(result.further for result in results) and args.allow != EXTENDED else 0
