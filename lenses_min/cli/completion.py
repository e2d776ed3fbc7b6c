"""`lenses-min completion bash|zsh|tcsh`: what a shell reads to complete commands, options and files."""

import argparse
from typing import Any

from ..errors import LensError, require


def add(commands: Any) -> None:
    command = commands.add_parser(
        "completion",
        help="completion for a shell: lenses-min completion bash > ~/.local/share/bash-completion/"
        "completions/lenses-min",
    )
    command.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="prints to standard output")
    command.set_defaults(perform=run)


def run(args: argparse.Namespace) -> int:
    """Exit status: 0, or 1 where shtab is not installed."""
    from .command_line import parser
    from .report import refused

    try:
        require("completion", "completion", ("shtab",))
    except LensError as error:
        return refused(error)
    import shtab

    print(shtab.complete(parser(), shell=args.shell))
    return 0
