"""The composition of a sweep: jobs → engine → folder → summary. It does not know one engine from another."""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..errors import LensError
from . import folder as folders
from . import summary
from .engines import Engine, Job, Outcome, local
from .jobs import jobs_of

WIDTH = 160  # columns where the output is no terminal
EVER = 1e9  # seconds of the past that the estimate of the time left looks at


def sweep(args: Namespace) -> int:
    """Exit status: 0 all runs done, 1 a run failed, 2 the command line is wrong, 130 stopped from the keyboard."""
    folder = Path(args.out_dir) / folders.LATEST
    try:
        jobs, engine = jobs_of(args, folder), engine_of(args)
    except LensError as error:
        print(f"lenses-min: error: {error}", file=sys.stderr)
        return 2
    out = [
        Console(stderr=stderr, quiet=args.quiet, highlight=False, markup=False)
        for stderr in (False, True)
    ]
    for console in out:
        console.width = console.width if console.is_terminal else WIDTH
    try:
        return (
            self_tests(jobs, engine)
            if args.self_test
            else runs(jobs, engine, folder, args.fresh, *out)
        )
    except LensError as error:
        print(f"lenses-min: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"stopped; {folder} keeps what is complete, and the same command goes on from there",
            file=sys.stderr,
        )
        return 130


def engine_of(args: Namespace) -> AbstractContextManager[Engine]:
    if args.engine == "local":
        return local(args.jobs)
    from .on_ray import on_ray

    return on_ray(args.address)


def self_tests(jobs: Sequence[Job], engine: AbstractContextManager[Engine]) -> int:
    """The proofs alone; nothing is written."""
    status = 0
    with engine as running:
        for _, outcome in outcomes(running, jobs):
            print(outcome.output)
            status = max(status, int(outcome.status != 0))
    return status


def runs(
    jobs: Sequence[Job],
    engine: AbstractContextManager[Engine],
    folder: Path,
    fresh: bool,
    out: Console,
    err: Console,
) -> int:
    """Every job that is not complete yet; the summary grows with them."""
    options = [job.options for job in jobs]
    with ExitStack() as reached:
        running = reached.enter_context(
            engine
        )  # before the folder changes, and left before the folder is tidied
        with folders.opened(folder, options, fresh) as remaining, reached:
            to_do = [job for job in jobs if job.options in remaining]
            rows = summary.update(folder, options)
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                "left:",
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=err, speed_estimate_period=EVER) as progress:
                task = progress.add_task("", total=len(jobs), completed=len(jobs) - len(to_do))
                progress.advance(task, 0)  # from here on the time is taken
                if done := len(jobs) - len(to_do):
                    err.print(f"{done} of {len(jobs)} runs are complete already")
                for job, outcome in outcomes(running, to_do):
                    folders.store_outputs(folder, job.options, outcome)
                    rows = summary.update(folder, options)
                    progress.advance(task)
                    row = next(row for row in rows if row["model_id"] == job.options.model_id)
                    err.print(sentence(row, progress.tasks[task].time_remaining))
                    if job.verbose and outcome.output:
                        err.print(outcome.output)
    out.print(summary.table(rows))
    out.print(f"\n{folder / summary.NAME}", soft_wrap=True)
    return int(any(row["status"] != "done" for row in rows))


def sentence(row: summary.Row, left: float | None) -> str:
    ends = f"; about {timedelta(seconds=round(left))} left" if left else ""
    return f"{row['model_id']}: {row['error'] or row['status']}{ends}"


def outcomes(engine: Engine, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
    """Each job with its outcome, in the order in which they end."""
    waiting = {engine.submit(job): job for job in jobs}
    for future in as_completed(waiting):
        yield waiting.pop(future), outcome_of(future)


def outcome_of(future: "Future[Outcome]") -> Outcome:
    try:
        return future.result()
    except Exception as error:  # an engine that has lost a worker raises its own
        return Outcome(1, f"{type(error).__name__}: {error}")
