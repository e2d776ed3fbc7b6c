"""`python -m spec diff DIR_A DIR_B`: what changed between two runs of one model, and where."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import SpecError


def add(commands: Any) -> None:
    diff = commands.add_parser(
        "diff",
        help="tell what changed between two runs of one model",
        epilog="Exit status: 0 equal within tolerance, 1 changed, 2 the command line is wrong.",
    )
    diff.add_argument("a", type=Path, metavar="DIR_A", help="holds the run to start from")
    diff.add_argument("b", type=Path, metavar="DIR_B", help="holds the run to hold against it")
    diff.add_argument(
        "--tolerance", default="fp32", metavar="CLASS", help="a class of tolerance (default: fp32)"
    )
    diff.add_argument(
        "--run",
        action="append",
        default=[],
        dest="names",
        metavar="NAME",
        help="the run to read where a directory holds several; given twice, the first is DIR_A's",
    )
    diff.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    diff.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from .. import render_diff
    from ..diff import diff
    from ..tolerance import by_name
    from ..verdicts import CHANGED

    if len(args.names) > 2:
        raise SpecError(
            f"--run may be given twice, got {', '.join(args.names)}; a diff has two sides"
        )
    try:
        tolerance = by_name(args.tolerance)
    except ValueError as error:
        raise SpecError(str(error)) from error
    names = (args.names * 2)[:2] if len(args.names) == 1 else args.names or [None, None]
    found = diff((args.a, args.b), names, tolerance)
    print(render_diff.machine(found) if args.json else render_diff.text(found))
    return 1 if found.verdict == CHANGED else 0
