"""`python -m spec accept COMMIT --only NAME --reason TEXT`: note what a commit changes on purpose."""

import argparse
from datetime import date
from typing import Any

from ..errors import SpecError
from .repository import add_repository, cache_of, progress


def add(commands: Any) -> None:
    command = commands.add_parser(
        "accept",
        help="accept what a commit changes on purpose, and nothing else of it",
        epilog="Exit status: 0 a line was added to the ledger, 2 the commit changes more or less than is named.",
    )
    add_repository(command)
    command.add_argument("commit", metavar="COMMIT")
    command.add_argument(
        "--only",
        action="append",
        required=True,
        metavar="NAME",
        help="a column, key, pass or file that it changes, as history prints it; may be given again, and may hold *",
    )
    command.add_argument("--reason", required=True, metavar="TEXT", help="why, in a sentence")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..lifecycle.history import history
    from ..lifecycle.ledger import Acceptance, accept
    from ..report.classes import first_screen

    cache = cache_of(args)
    commit = cache.repository.commit(args.commit)
    if not commit.parent:
        raise SpecError(f"{commit.short} is the first commit: there is nothing that it changes")
    steps = history(cache, f"{commit.hash}^..{commit.hash}", first_screen, progress).steps
    if len(steps) < 2:
        raise SpecError(f"{commit.short} does not change the folder of {args.run_py}")
    only = tuple(dict.fromkeys(args.only))
    accept(
        args.ledger, steps[-1], Acceptance(commit.hash, only, args.reason, date.today().isoformat())
    )
    print(f"{commit.short} may change {', '.join(only)}; see {args.ledger}")
    return 0
