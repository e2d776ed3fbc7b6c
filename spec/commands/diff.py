"""`python -m spec diff A B`: what changed between two runs of one model, or between all runs of two directories."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import SpecError

DEFAULT = "fp32"
STATUS = (
    "Exit status: 0 identical, or with --tolerance equal within it, 1 anything differs, "
    "2 the command line is wrong."
)


def add(commands: Any) -> None:
    diff = commands.add_parser(
        "diff", help="tell what changed between two runs of one model", epilog=STATUS
    )
    diff.add_argument(
        "a",
        type=Path,
        metavar="A",
        help="a directory that holds the run to start from, or several runs; or a run's output-NAME.json",
    )
    diff.add_argument("b", type=Path, metavar="B", help="the same of what is held against it")
    diff.add_argument(
        "--tolerance",
        metavar="CLASS",
        help=f"accept what differs within a class, fp32 or bf16 (default: accept nothing, tell by {DEFAULT} "
        "rounding from change)",
    )
    diff.add_argument(
        "--run",
        action="append",
        default=[],
        dest="names",
        metavar="NAME",
        help="the one run to read where a directory holds several; given twice, the first is A's",
    )
    diff.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    diff.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..compare.diff import diff
    from ..compare.diff_directories import diff_directories, several
    from ..compare.tolerance import by_name
    from ..compare.verdicts import EQUAL, IDENTICAL
    from ..report import diff as render_diff
    from ..report import directories

    try:
        tolerance = by_name(args.tolerance or DEFAULT)
    except ValueError as error:
        raise SpecError(str(error)) from error
    folders, names = sides((args.a, args.b), args.names)
    accepted = (IDENTICAL, EQUAL) if args.tolerance else (IDENTICAL,)
    if names == [None, None] and any(map(several, folders)):
        found = diff_directories(*folders, tolerance)
        machine, text = directories.machine, directories.text
        verdict, shown = found.verdict, machine(found) if args.json else text(found, accepted)
    else:
        one = diff(folders, names, tolerance)
        verdict = one.verdict
        shown = render_diff.machine(one) if args.json else render_diff.text(one, accepted)
    print(shown)
    return 0 if verdict in accepted else 1


def sides(
    paths: tuple[Path, Path], asked: Sequence[str]
) -> tuple[tuple[Path, Path], list[str | None]]:
    """The two folders and the names of the runs to read in them, None where it is left open.

    Raises SpecError where --run is given too often, or beside a document of another run.
    """
    from ..runs.directory import of_document
    from ..runs.listing import runs_in

    if len(asked) > 2:
        raise SpecError(f"--run may be given twice, got {', '.join(asked)}; a diff has two sides")
    (a, first), (b, second) = map(of_document, paths)
    names = [first, second]
    if asked:
        wanted = [name or asked[0] for name in names] if len(asked) == 1 else asked
        for path, name, other in zip(paths, names, wanted, strict=True):
            if name not in (None, other):
                raise SpecError(f"{path} is the run {name}, got --run {other}; leave out --run")
        names = [*wanted]
    for i, folder in enumerate((a, b)):
        # a document on one side names the run of the other side too, where that holds it
        names[i] = names[i] or (names[1 - i] if names[1 - i] in runs_in(folder) else None)
    return (a, b), names
