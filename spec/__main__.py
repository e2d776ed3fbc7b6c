"""The command line of the contract: `python -m spec COMMAND …`; `--help` lists the commands."""

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from .commands import COMMANDS
from .errors import SpecError

STOPPED = 130  # 128 + SIGINT, as a shell counts


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m spec", description="Hold a runner to the captured runs."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    with replace_unprintable():
        args = parser().parse_args(argv)
        try:
            return int(args.run(args))
        except SpecError as error:
            print(f"spec: error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return STOPPED


@contextmanager
def replace_unprintable() -> Iterator[None]:
    """Characters that the encoding of standard output or error lacks are printed as `?`."""
    with ExitStack() as restored:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="replace")
                restored.callback(stream.reconfigure, errors="strict")
        yield


if __name__ == "__main__":
    sys.exit(main())
