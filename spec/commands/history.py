"""`python -m spec history A..B`: what each commit of a range changed in the outputs of run.py."""

import argparse
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import SpecError
from .allow import EXTENDED, add_allow
from .repository import add_repository, cache_of, progress


def add(commands: Any) -> None:
    command = commands.add_parser(
        "history",
        help="what each commit of a range changed in the outputs of run.py",
        epilog="Exit status: 0 nothing changed, or all of it is accepted; 3 some commits only add (0 with --allow "
        "extended); 1 some change or fail, or an acceptance is stale; 2 the command line is wrong.",
    )
    add_repository(command)
    command.add_argument(
        "span", metavar="A..B", help="the commits after A up to B, such as main~40..main"
    )
    command.add_argument(
        "--json", action="store_true", help="print one JSON object instead of tables"
    )
    command.add_argument("--html", type=Path, metavar="FILE", help="write one offline page too")
    command.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML too")
    add_allow(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..lifecycle.history import history
    from ..lifecycle.ledger import read_ledger
    from ..report import history as render
    from ..report.classes import first_screen

    ledger = read_ledger(args.ledger)
    result = history(cache_of(args), args.span, first_screen, progress)
    for path, content in ((args.html, render.page), (args.junit, render.junit)):
        if path is not None:
            write(path, content(result, ledger))
    print(render.machine(result, ledger) if args.json else render.text(result, ledger))
    return render.status(result, ledger, args.allow == EXTENDED)


def write(path: Path, text: str) -> None:
    """Write a whole file; raises SpecError where that is not possible, and leaves an earlier one as it was."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise SpecError(f"cannot write {path}: {error.strerror}; give another file") from error
