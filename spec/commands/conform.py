"""`python -m spec conform --tool COMMAND`: whether the logit lens of any tool is right, and what is wrong with it."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from ..errors import SpecError


def add(commands: Any) -> None:
    command = commands.add_parser(
        "conform",
        help="hold the logit lens of any tool to float64 formulas on tiny models of many families",
        epilog="Exit status: 0 right on every model, 1 wrong on some, 2 the command line is wrong.",
    )
    command.add_argument(
        "models", nargs="*", metavar="MODEL", help="a family or variant (default: all)"
    )
    command.add_argument(
        "--tool",
        required=True,
        metavar="COMMAND",
        help="run once with the path of a JSON Lines file as its last argument",
    )
    command.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="the longest the tool may take to its next file (default: %(default)g)",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..audit.conform import conform
    from ..recipe import build
    from ..recipe.conform import CONFORM, IDS
    from ..report import conform as render_conform
    from ..runners.command import split_command
    from ..runners.lens_tool import LensTool

    if not args.timeout > 0:
        raise SpecError(f"--timeout takes seconds > 0, got {args.timeout:g}")
    if unknown := sorted(set(args.models) - set(CONFORM)):
        raise SpecError(f"no model {', '.join(unknown)}; there are {', '.join(CONFORM)}")
    arguments = split_command(args.tool)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        names = dict.fromkeys(args.models or CONFORM)
        models = {name: build(CONFORM[name], work / "models" / name) for name in names}
        result = conform(models, IDS, LensTool(arguments, work, args.timeout))
    print(render_conform.machine(result) if args.json else render_conform.text(result))
    return 0 if result.passes else 1
