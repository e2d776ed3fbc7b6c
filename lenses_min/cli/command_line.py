"""The command line. Nothing heavy is imported before a run starts, so `--help` is quick."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ..errors import LensError
from ..options import RunOptions
from ..process import configure_logging, replace_unprintable, restore_environment
from ..prompts.textfiles import parse_json, read_text
from ..sweep.job import perform, self_test
from ..version import __version__
from . import cache, completion, doctor, figure, fit, report, sweep
from .arguments import add_model, add_run_options, add_verbosity

STOPPED = 130  # 128 + SIGINT, as a shell counts
# Each adds its commands and what performs them: perform(args) -> exit status.
PARTS = (fit, report, figure, sweep, doctor, cache)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="lenses-min", description="Read a causal language model layer by layer."
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="one model: prints its layers, writes CSV and JSON")
    add_model(run, "the id, or the folder's or file's name")
    run.add_argument(
        "--out-dir", default="run-latest", help="folder for the outputs (default: %(default)s)"
    )
    add_run_options(run)
    batch = commands.add_parser("batch", help="many models in one process, from a JSON Lines file")
    batch.add_argument(
        "jobs", metavar="JOBS.jsonl", help="one object a line: the options of run, with underscores"
    )
    run.set_defaults(perform=run_one)
    batch.set_defaults(perform=run_batch)
    for part in PARTS:
        part.add(commands)
    completion.add(commands, top)
    for command in (run, batch):
        add_verbosity(command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 all runs done, 1 a run failed, 2 the command line is wrong, 130 stopped from the keyboard.

    Logging, environment, torch and libraries are afterwards as they were before, also after an exception.
    """
    with replace_unprintable():
        args = parser().parse_args(argv)
        with restore_environment(), configure_logging(level_of(args)):
            try:
                return int(args.perform(args))
            except KeyboardInterrupt:
                print("stopped", file=sys.stderr)
                return STOPPED


def level_of(args: argparse.Namespace) -> int:
    """The level from which on messages are printed; a command without --verbose prints its steps."""
    if not hasattr(args, "quiet"):
        return logging.INFO
    return logging.ERROR if args.quiet else logging.INFO if args.verbose else logging.WARNING


def run_one(args: argparse.Namespace) -> int:
    try:
        job = RunOptions(**{field.name: getattr(args, field.name) for field in fields(RunOptions)})
    except LensError as error:
        return wrong(error)
    return self_test(job) if args.self_test else perform(job, not args.quiet)


def run_batch(args: argparse.Namespace) -> int:
    try:
        jobs = read_jobs(Path(args.jobs))
    except LensError as error:
        return wrong(error)
    return max([perform(job, False) for job in jobs])


def wrong(error: LensError) -> int:
    print(f"lenses-min: error: {error}", file=sys.stderr)
    return 2


def read_jobs(path: Path) -> list[RunOptions]:
    """One RunOptions a line; every bad line is reported, with its number."""
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LensError(f"cannot read the jobs file {path}: {error}") from error
    jobs, problems = [], []
    for number, line in enumerate(lines, start=1):
        try:
            jobs += [RunOptions.from_job(parse_json(line, number))] if line.strip() else []
        except (LensError, json.JSONDecodeError) as error:
            problems.append(f"{path}:{number}: {error}")
    if problems or not jobs:
        raise LensError("\n".join(problems) or f"{path} holds no job; write one JSON object a line")
    return jobs
