"""`python -m spec history`, `bisect` and `accept`: what each commit of a repository changed in run.py's outputs."""

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SpecError
from .allow import EXTENDED, add_allow
from .capture import cases_of

if TYPE_CHECKING:
    from ..lifecycle.capture_cache import CaptureCache

LEDGER = Path("accepted.jsonl")


def add(commands: Any) -> None:
    add_history(commands)
    add_bisect(commands)
    add_accept(commands)


def add_history(commands: Any) -> None:
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
    command.set_defaults(run=run_history)


def add_bisect(commands: Any) -> None:
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
    command.set_defaults(run=run_bisect)


def add_accept(commands: Any) -> None:
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
    command.set_defaults(run=run_accept)


def add_repository(command: argparse.ArgumentParser) -> None:
    """Add the options that name the repository, run.py, its interpreter, the cases and the cache."""
    command.add_argument(
        "--repo", type=Path, default=Path(), metavar="PATH", help="the repository (default: here)"
    )
    command.add_argument("--run-py", required=True, metavar="FILE", help="run.py's path in it")
    command.add_argument(
        "--python",
        type=Path,
        required=True,
        metavar="INTERPRETER",
        help="an interpreter with TransformerLens 2.16.1; scripts/setup_reference_env.sh makes one",
    )
    command.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        help="seconds a case may take (default: %(default)g)",
    )
    command.add_argument(
        "-j",
        "--jobs",
        type=int,
        default=2,
        metavar="N",
        help="captures at a time (default: %(default)s)",
    )
    command.add_argument(
        "--cases", type=Path, metavar="LIBRARY", help="a folder made by new-case (default: golden/)"
    )
    command.add_argument(
        "--case",
        action="append",
        default=[],
        dest="names",
        metavar="NAME",
        help="only this case; may be given again",
    )
    command.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where captures are kept (default: in the user's cache)",
    )
    command.add_argument(
        "--ledger",
        type=Path,
        default=LEDGER,
        metavar="FILE",
        help="accepted changes (default: %(default)s)",
    )


def cache_of(args: argparse.Namespace) -> "CaptureCache":
    """The captures of the repository; raises SpecError where an option is wrong."""
    from platformdirs import user_cache_path

    from ..lifecycle.capture_cache import CaptureCache
    from ..lifecycle.commits import Repository

    if args.jobs < 1:
        raise SpecError(f"--jobs takes a number from 1 on, got {args.jobs}")
    library, cases = cases_of(args.cases, args.names)
    folder = args.cache or user_cache_path("lenses-min") / "captures"
    return CaptureCache(
        folder, Repository(args.repo, args.run_py), args.python, args.timeout, library, cases
    )


def run_history(args: argparse.Namespace) -> int:
    from ..lifecycle.history import history
    from ..lifecycle.ledger import read_ledger
    from ..report import history as render
    from ..report.classes import first_screen

    ledger = read_ledger(args.ledger)
    result = history(cache_of(args), args.span, args.jobs, first_screen, progress)
    for path, content in ((args.html, render.page), (args.junit, render.junit)):
        if path is not None:
            path.write_text(content(result, ledger), encoding="utf-8")
    print(render.machine(result, ledger) if args.json else render.text(result, ledger))
    return render.status(result, ledger, args.allow == EXTENDED)


def progress(line: str) -> None:
    """Report a capture where a person watches."""
    if sys.stderr.isatty():
        print(line, file=sys.stderr)


def run_bisect(args: argparse.Namespace) -> int:
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


def run_accept(args: argparse.Namespace) -> int:
    from ..lifecycle.history import history
    from ..lifecycle.ledger import Acceptance, accept
    from ..report.classes import first_screen

    cache = cache_of(args)
    commit = cache.repository.commit(args.commit)
    steps = history(
        cache, f"{commit.hash}^..{commit.hash}", args.jobs, first_screen, progress
    ).steps
    if len(steps) < 2:
        raise SpecError(f"{commit.short} does not change the folder of {args.run_py}")
    only = tuple(dict.fromkeys(args.only))
    accept(
        args.ledger, steps[-1], Acceptance(commit.hash, only, args.reason, date.today().isoformat())
    )
    print(f"{commit.short} may change {', '.join(only)}; see {args.ledger}")
    return 0
