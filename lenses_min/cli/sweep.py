"""`lenses-min sweep MODEL… | --models FILE`: the options; what performs them is imported when it runs."""

import argparse
from typing import Any

from .arguments import add_run_options, add_verbosity

ABOUT = """Each model runs in a process of its own. Outputs go to DIR/run-latest/, with summary.csv; an earlier
run-latest/ moves to run-<its time>/. One that is not finished (stopped, or with failed runs) is gone on with when it is
started again with the same options: runs that are complete stay, under the same versions and with unchanged inputs."""


def add(commands: Any) -> None:
    summary = "many models, each in a process of its own, into a fresh run-latest/"
    command = commands.add_parser("sweep", help=summary, description=ABOUT)
    command.set_defaults(perform=run)
    names = "hub ids, checkpoint folders or .gguf files (default: a list of ten)"
    command.add_argument("models", nargs="*", metavar="MODEL", help=names)
    listed = "one model a line, or an object of the options that are its own, as batch takes it"
    command.add_argument("--models", dest="listed", metavar="FILE", help=listed)
    command.add_argument(
        "--out-dir", default=".", metavar="DIR", help="holds run-latest/ (default: %(default)s)"
    )
    command.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="runs at a time here (default: %(default)s)",
    )
    engines = "this machine's processes, or a Ray cluster (default: %(default)s)"
    command.add_argument("--engine", choices=("local", "ray"), default="local", help=engines)
    address = "of the cluster (default: $RAY_ADDRESS, else one of its own on this machine)"
    command.add_argument("--address", default="", help=address)
    command.add_argument(
        "--fresh",
        action="store_true",
        help="start anew even where an earlier sweep is not finished",
    )
    add_run_options(command)
    add_verbosity(command)


def run(args: argparse.Namespace) -> int:
    from ..sweep.sweep import sweep

    return sweep(args)
