"""`lenses-min show DIR…` and `lenses-min report DIR… -o FILE`: directories to runs, and runs to a person."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import LensError, require


def add(commands: Any) -> None:
    show = commands.add_parser("show", help="runs in the terminal: layers, milestones, warnings")
    report = commands.add_parser("report", help="runs as one page that opens offline")
    for command, perform in ((show, terminal), (report, page)):
        command.add_argument(
            "folders", nargs="+", metavar="DIR", help="a run directory; all runs in it are taken"
        )
        command.set_defaults(perform=perform)
    show.add_argument("--json", action="store_true", help="milestones and warnings for machines")
    report.add_argument(
        "-o", "--out", default="report.html", metavar="FILE", help="default: %(default)s"
    )
    report.add_argument(
        "--track",
        nargs="+",
        default=[],
        metavar="TOKEN",
        help="draw the probability of these tokens by layer, with or without a space before them",
    )


def read(folders: Sequence[str]) -> list[Any]:
    """Every run of some directories; raises LensError where one holds none."""
    from ..output.load import load, runs_in

    return [load(folder, name) for folder in folders for name in runs_in(Path(folder))]


def terminal(args: argparse.Namespace) -> int:
    """Exit status: 0 shown, 1 a directory cannot be read."""
    from ..report.facts import for_machines
    from ..report.terminal import show

    try:
        runs = read(args.folders)
    except LensError as error:
        return refused(error)
    if args.json:
        print(json.dumps([for_machines(run) for run in runs], indent=2))
    else:
        show(runs)
    return 0


def page(args: argparse.Namespace) -> int:
    """Exit status: 0 written, 1 a directory cannot be read or the page not be written."""
    try:
        require("a report", "report", ("plotly", "jinja2"))
        from ..report.page import page as compose

        out = Path(args.out)
        content = compose(read(args.folders), args.track).encode()
        write_whole(out, content)
    except LensError as error:
        return refused(error)
    print(f"{out} ({len(content) / 1e6:.1f} MB)")
    return 0


def write_whole(out: Path, content: bytes) -> None:
    """Write a file, or leave what is there; raises LensError where that cannot be done."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LensError(
            f"cannot write {out}: {error.strerror}; name another file with -o"
        ) from error


def refused(error: LensError) -> int:
    print(f"lenses-min: error: {error}", file=sys.stderr)
    return 1
