"""`python -m spec bisect --column NAME A..B`: the first commit that changed a column."""

import argparse
from typing import Any

from .repository import add_repository, cache_of


def add(commands: Any) -> None:
    command = commands.add_parser(
        "bisect",
        help="the first commit that changed a column, and the smallest case that shows it",
        epilog="Exit status: 0 it was found, 2 the column is the same at both ends or the command line is wrong.",
    )
    add_repository(command)
    command.add_argument(
        "--column",
        required=True,
        metavar="NAME",
        help="as history prints it: 'pure-next-token: entropy'",
    )
    command.add_argument("span", metavar="A..B", help="the commits after A up to B")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..lifecycle.bisect import bisect
    from ..report.classes import first_screen
    from ..report.text import mismatch_line

    result = bisect(cache_of(args), args.span, args.column, first_screen)
    commit = result.commit
    print(f"{commit.short} {commit.date} {commit.subject}")
    print(f"{result.case}: {mismatch_line(result.mismatch)}")
    for skipped in result.skipped:
        print(f"it may also be {skipped.short} {skipped.subject}, which fails")
    print(f"the first commit that changed {args.column}, by {result.captures} captures")
    return 0
