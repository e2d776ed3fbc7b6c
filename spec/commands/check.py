"""`python -m spec check [CASE …]`: run a runner on the golden cases and compare."""

import argparse
from pathlib import Path
from typing import Any

from ..golden import GOLDEN, load_cases, select
from .workspace import workspace


def add(commands: Any) -> None:
    check = commands.add_parser(
        "check",
        help="run a runner on the golden cases and compare",
        epilog="Exit status: 0 all cases match, 1 some do not, 2 the command line is wrong.",
    )
    check.add_argument("cases", nargs="*", metavar="CASE", help="cases to check (default: all)")
    check.add_argument(
        "--runner",
        metavar="COMMAND",
        help="runs the jobs of a JSONL file, whose path is added as last argument (default: the lean runner)",
    )
    check.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    check.add_argument("--keep", type=Path, metavar="DIR", help="keep the runs in this new or empty folder")
    check.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from .. import render
    from ..check import check

    cases = select(load_cases(GOLDEN), args.cases)
    with workspace(args.keep) as folder:
        report = check(cases, GOLDEN, args.runner, folder)
    print(render.machine(report) if args.json else render.text(report))
    return 0 if report.matches else 1
