"""`python -m spec capture --run-py PATH --python INTERPRETER --out DIR`: store what a foreign run.py writes."""

import argparse
from pathlib import Path
from typing import Any

from ..golden import GOLDEN, Case, load_cases, require_intact, select
from .workspace import workspace


def add_foreign(command: argparse.ArgumentParser, required: bool) -> None:
    """The options that name a foreign run.py."""
    command.add_argument(
        "--run-py",
        type=Path,
        metavar="PATH",
        required=required,
        help="a run.py next to its helpers",
    )
    command.add_argument(
        "--python",
        type=Path,
        metavar="INTERPRETER",
        required=required,
        help="an interpreter with TransformerLens 2.16.1; scripts/setup_reference_env.sh makes one",
    )
    command.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        help="seconds a case may take (default: %(default)g)",
    )


def add(commands: Any) -> None:
    command = commands.add_parser(
        "capture",
        help="run a foreign run.py on the cases and store its outputs; golden/ is never touched",
        epilog="Exit status: 0 all cases captured, 1 some failed, 2 the command line is wrong.",
    )
    add_foreign(command, required=True)
    command.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="a new or empty folder"
    )
    command.add_argument(
        "--cases", type=Path, metavar="LIBRARY", help="a folder made by new-case (default: golden/)"
    )
    command.add_argument("names", nargs="*", metavar="CASE", help="cases to capture (default: all)")
    command.set_defaults(run=run)


def cases_of(library: Path | None, names: list[str]) -> tuple[Path, list[Case]]:
    """A library and its cases of these names."""
    from ..lifecycle.library import load_library

    if library is not None:
        return library, load_library(library, names)
    require_intact(GOLDEN)
    return GOLDEN, select(load_cases(GOLDEN), names)


def run(args: argparse.Namespace) -> int:
    from ..lifecycle.capture import capture
    from ..runners.external import Foreign

    foreign = Foreign(args.run_py, args.python, args.timeout)
    library, cases = cases_of(args.cases, args.names)
    with workspace(args.out) as out:
        ended = capture(foreign, cases, library, out)
    for case in cases:
        seconds = ended.seconds.get(case.name)
        told = ended.outcome.problems.get(case.name) or f"captured in {seconds:.1f} s"
        print(f"{case.name}: {told}")
    bad = len(ended.outcome.problems)
    print(f"{len(cases) - bad} of {len(cases)} cases captured in {args.out}; golden/ is as it was")
    if bad:
        print(f"{args.out / 'log' / 'worker.log'} holds the whole output")
    return 1 if bad else 0
