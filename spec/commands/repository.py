"""What the commands on a repository share: its options, and the captures of its commits."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SpecError
from .capture import cases_of, processors

if TYPE_CHECKING:
    from ..lifecycle.capture_cache import CaptureCache

LEDGER = Path("accepted.jsonl")


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
        default=processors(),
        metavar="N",
        help="processes at a time, for several commits or the cases of one (default: the number of processors)",
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
    repository = Repository(args.repo, args.run_py)
    return CaptureCache(folder, repository, args.python, args.timeout, library, cases, args.jobs)


def progress(line: str) -> None:
    """Report a capture where a person watches."""
    if sys.stderr.isatty():
        print(line, file=sys.stderr)
