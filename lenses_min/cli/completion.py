"""`lenses-min completion bash|zsh|tcsh`: what a shell reads to complete commands, options and files."""

import argparse
from functools import partial
from typing import Any

from ..errors import LensError, require
from .report import refused


def add(commands: Any, top: argparse.ArgumentParser) -> None:
    """`top` is the parser whose commands are completed."""
    command = commands.add_parser(
        "completion",
        help="completion for a shell: lenses-min completion bash > ~/.local/share/bash-completion/"
        "completions/lenses-min",
    )
    command.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="prints to standard output")
    command.set_defaults(perform=partial(run, top))


def run(top: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """Exit status: 0, or 1 where shtab is not installed."""
    try:
        require("completion", "completion", ("shtab",))
    except LensError as error:
        return refused(error)
    import shtab

    print(shtab.complete(top, shell=args.shell))
    return 0
