"""The command line of the contract: `python -m spec check [CASE …]`."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .golden import GOLDEN, GoldenError, load_cases, select
from .runner import RunnerError


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m spec", description="Hold a runner to the captured runs.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="run a runner on the golden cases and compare",
        epilog="Exit status: 0 all cases match, 1 some do not, 2 the command line is wrong.",
    )
    check.add_argument("cases", nargs="*", metavar="CASE", help="cases to check (default: all)")
    check.add_argument(
        "--runner",
        metavar="COMMAND",
        help="runs the jobs of a JSONL file, whose path is added as last argument (default: the lean runner)",
    )
    check.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    check.add_argument("--keep", type=Path, metavar="DIR", help="keep the runs in this new or empty folder")
    check.set_defaults(run=run_check)
    return top


@contextmanager
def workspace(keep: Path | None) -> Iterator[Path]:
    """The folder for the runs: the one to keep, which must be empty lest old runs pass for new, or a passing one."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="spec-check-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        occupied = any(keep.iterdir())
    except OSError as error:
        raise RunnerError(f"cannot use {keep} for the runs: {error.strerror}; give another --keep") from error
    if occupied:
        raise RunnerError(f"{keep} must be new or empty, it holds files; give another --keep or empty it")
    yield keep


def run_check(args: argparse.Namespace) -> int:
    from . import render
    from .check import check

    cases = select(load_cases(GOLDEN), args.cases)
    with workspace(args.keep) as folder:
        report = check(cases, GOLDEN, args.runner, folder)
    print(render.machine(report) if args.json else render.text(report))
    return 0 if report.matches else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (GoldenError, RunnerError) as error:
        print(f"spec: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
