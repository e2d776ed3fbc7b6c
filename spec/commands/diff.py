"""`python -m spec diff A B`: report what changed between two runs of a model, or all runs of two directories."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import SpecError
from .allow import EXTENDED, add_allow

DEFAULT = "fp32"
STATUS = (
    "Exit status: 0 identical, or with --tolerance equal within it, 3 extended: B has more and is equal in all else "
    "(0 with --allow extended), 1 anything differs, 2 the command line is wrong."
)


def add(commands: Any) -> None:
    diff = commands.add_parser(
        "diff", help="report what changed between two runs of one model", epilog=STATUS
    )
    diff.add_argument(
        "a",
        type=Path,
        metavar="A",
        help="a directory that holds the run to start from, or several runs; or a run's output-NAME.json",
    )
    diff.add_argument("b", type=Path, metavar="B", help="the same for the run to compare with A")
    diff.add_argument(
        "--tolerance",
        metavar="CLASS",
        help=f"accept differences within a class, fp32 or bf16 (default: accept none, distinguish rounding from "
        f"change by {DEFAULT})",
    )
    diff.add_argument(
        "--run",
        action="append",
        default=[],
        dest="names",
        metavar="NAME",
        help="the run to read where a directory holds several; given twice, the first is A's",
    )
    diff.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    add_allow(diff)
    diff.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..compare.diff import diff
    from ..compare.diff_directories import diff_directories, several
    from ..compare.tolerance import by_name
    from ..compare.verdicts import EQUAL, IDENTICAL, exit_status
    from ..report import diff as render_diff
    from ..report import directories

    try:
        tolerance = by_name(args.tolerance or DEFAULT)
    except ValueError as error:
        raise SpecError(str(error)) from error
    folders, names = sides((args.a, args.b), args.names)
    accepted = (IDENTICAL, EQUAL) if args.tolerance else (IDENTICAL,)
    if names == [None, None] and any(map(several, folders)):
        pairs = diff_directories(*folders, tolerance)
        verdict = pairs.verdict
        output = directories.machine(pairs) if args.json else directories.text(pairs, accepted)
    else:
        result = diff(folders, names, tolerance)
        verdict = result.verdict
        output = render_diff.machine(result) if args.json else render_diff.text(result, accepted)
    print(output)
    if verdict == EQUAL and not args.tolerance:
        return 1
    return exit_status(verdict, args.allow == EXTENDED)


def sides(
    paths: tuple[Path, Path], run_names: Sequence[str]
) -> tuple[tuple[Path, Path], list[str | None]]:
    """Return the two folders and the names of the runs to read in them, None where no name is given.

    Raises SpecError where --run is given more than twice, or together with a document of another run.
    """
    from ..runs.directory import of_document
    from ..runs.listing import runs_in

    if len(run_names) > 2:
        raise SpecError(
            f"--run may be given twice, got {', '.join(run_names)}; a diff has two sides"
        )
    (a, first), (b, second) = map(of_document, paths)
    names = [first, second]
    if run_names:
        single = len(run_names) == 1
        requested = [name or run_names[0] for name in names] if single else run_names
        for path, name, other in zip(paths, names, requested, strict=True):
            if name not in (None, other):
                raise SpecError(f"{path} is the run {name}, got --run {other}; leave out --run")
        names = [*requested]
    for i, folder in enumerate((a, b)):
        # a document on one side names the run of the other side too, where that holds it
        names[i] = names[i] or (names[1 - i] if names[1 - i] in runs_in(folder) else None)
    return (a, b), names
