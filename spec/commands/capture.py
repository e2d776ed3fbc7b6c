"""`python -m spec capture --run-py PATH --python INTERPRETER --out DIR`: store the outputs of an external run.py."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..golden import GOLDEN, Case, load_cases, require_intact, select
from .workspace import workspace

if TYPE_CHECKING:
    from ..runners.external import ExternalRunner


def add_external_options(command: argparse.ArgumentParser, required: bool) -> None:
    """Add the options that name an external run.py."""
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
    command.add_argument(
        "-j",
        "--jobs",
        type=int,
        default=processors(),
        metavar="N",
        help="run N cases at a time, each with one torch thread (default: the number of processors)",
    )


def processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def external_runner(args: argparse.Namespace) -> "ExternalRunner":
    """The external run.py that the options name; raises SpecError where one is wrong."""
    from ..runners.external import ExternalRunner

    return ExternalRunner(args.run_py, args.python, args.timeout, args.jobs)


def add(commands: Any) -> None:
    command = commands.add_parser(
        "capture",
        help="run an external run.py on the cases and store its outputs; golden/ is never changed",
        epilog="Exit status: 0 all cases captured, 1 some failed, 2 the command line is wrong.",
    )
    add_external_options(command, required=True)
    command.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="a new or empty folder"
    )
    command.add_argument(
        "--cases", type=Path, metavar="LIBRARY", help="a folder made by new-case (default: golden/)"
    )
    command.add_argument("names", nargs="*", metavar="CASE", help="cases to capture (default: all)")
    command.set_defaults(run=run)


def cases_of(library: Path | None, names: list[str]) -> tuple[Path, list[Case]]:
    """Return the library, by default golden/, and its cases of these names."""
    from ..lifecycle.library import load_library

    if library is not None:
        return library, load_library(library, names)
    require_intact(GOLDEN)
    return GOLDEN, select(load_cases(GOLDEN), names)


def run(args: argparse.Namespace) -> int:
    from ..lifecycle.capture import capture

    runner = external_runner(args)
    library, cases = cases_of(args.cases, args.names)
    with workspace(args.out) as out:
        result = capture(runner, cases, library, out)
    for case in cases:
        seconds = result.seconds.get(case.name)
        status = result.outcome.problems.get(case.name) or f"captured in {seconds:.1f} s"
        print(f"{case.name}: {status}")
    failed = len(result.outcome.problems)
    captured = len(cases) - failed
    print(f"{captured} of {len(cases)} cases captured in {args.out}; golden/ is unchanged")
    if failed:
        print(f"{args.out / 'log' / 'worker.log'} holds the whole output")
    return 1 if failed else 0
