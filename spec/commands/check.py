"""`python -m spec check [CASE …]`: run a runner, or an external run.py, on the golden cases and compare."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SpecError
from ..golden import GOLDEN, Case, corrected, load_cases, require_intact, select
from .allow import EXTENDED, add_allow
from .capture import add_external_options, external_runner
from .workspace import workspace

if TYPE_CHECKING:
    from ..runners.check import Report


def add(commands: Any) -> None:
    check = commands.add_parser(
        "check",
        help="run a runner, or an external run.py, on the golden cases and compare",
        epilog="Exit status: 0 all cases match, 3 some have more and are equal in all else (0 with --allow extended), "
        "1 some differ, 2 the command line is wrong.",
    )
    check.add_argument("cases", nargs="*", metavar="CASE", help="cases to check (default: all)")
    check.add_argument(
        "--runner",
        metavar="COMMAND",
        help="runs the jobs of a JSONL file, whose path is added as last argument (default: the lean runner)",
    )
    add_external_options(check, required=False)
    check.add_argument(
        "--against",
        type=Path,
        metavar="CAPTURE",
        help="compare with an earlier capture instead of golden/",
    )
    check.add_argument(
        "--contract",
        choices=("reference", "corrected"),
        default="reference",
        help="corrected: the goldens of that contract, made by scripts/make_corrected_goldens.py",
    )
    check.add_argument(
        "--json", action="store_true", help="print one JSON object instead of tables"
    )
    check.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the runs in this new or empty folder"
    )
    add_allow(check)
    check.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..compare.verdicts import exit_status
    from ..report import check as render

    if bool(args.run_py) != bool(args.python):
        raise SpecError("--run-py and --python go together, got one of them; give both")
    if args.run_py and args.runner is not None:
        raise SpecError("--runner and --run-py name two runners; give one of them")
    require_intact(GOLDEN)
    cases = select(load_cases(GOLDEN), args.cases)
    if args.contract == "corrected":
        if args.run_py or args.against:
            raise SpecError(
                "run.py has no corrected contract; leave out --run-py, --python and --against"
            )
        cases = corrected(cases)
    with workspace(args.keep) as folder:
        report = run_and_compare(args, cases, folder)
    print(render.machine(report) if args.json else render.text(report))
    return exit_status(report.verdict, args.allow == EXTENDED)


def run_and_compare(args: argparse.Namespace, cases: Sequence[Case], folder: Path) -> "Report":
    """Run the selected runner and judge its outputs by golden/ or by an earlier capture.

    Raises SpecError where the earlier capture lacks a case or the runner cannot be started.
    """
    from ..lifecycle.capture import changed_modules, read_capture
    from ..runners.check import report
    from ..runners.command import run_command
    from ..runners.external import run_external

    known = read_capture(args.against) if args.against is not None else None
    if known and (missing_cases := [case.name for case in cases if case.name not in known.cases]):
        raise SpecError(
            f"{args.against} holds no capture of {', '.join(missing_cases)}; name the cases it holds"
        )
    expected = known.folder if known else GOLDEN
    folders = {case.name: folder / case.name for case in cases}
    if not args.run_py:
        outcome = run_command(args.runner, cases, GOLDEN, folders, folder)
        return report(cases, expected, folders, outcome)
    external = run_external(external_runner(args), cases, GOLDEN, folders, folder)
    result = report(cases, expected, folders, external.outcome)
    return replace(result, note=changed_modules(known, external.provenance)) if known else result
