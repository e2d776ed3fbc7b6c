"""`python -m spec promote DIR --reason TEXT`: show how a capture differs from golden/, then replace golden/ by it."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SpecError
from ..golden import GOLDEN, Case, case_entries, cases_from

if TYPE_CHECKING:
    from ..lifecycle.capture import Capture

CHANGELOG = GOLDEN.parent / "CHANGELOG.md"


def add(commands: Any) -> None:
    command = commands.add_parser(
        "promote",
        help="show how a capture differs from golden/, then make it the golden state; never in CI",
        epilog="Exit status: 0 promoted or nothing to promote, 2 refused; golden/ is then unchanged.",
    )
    command.add_argument(
        "capture",
        type=Path,
        metavar="DIR",
        help="a folder made by capture; with --provenance, any folder laid out as golden/ is",
    )
    command.add_argument(
        "--provenance",
        type=Path,
        metavar="FILE",
        help="where run.py was captured elsewhere: what ran, a JSON object with the keys of the manifest's provenance",
    )
    command.add_argument(
        "--reason", required=True, metavar="TEXT", help="why the outputs of run.py changed"
    )
    command.add_argument(
        "--golden",
        type=Path,
        default=GOLDEN,
        metavar="DIR",
        help="default: golden/ of this project",
    )
    command.add_argument(
        "--changelog", type=Path, default=CHANGELOG, metavar="FILE", help="default: CHANGELOG.md"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="show the difference and change nothing"
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..lifecycle.capture import read_capture, read_captured_library
    from ..lifecycle.promote import promote
    from ..lifecycle.promote_checks import changed_cases, refusals

    capture = (
        read_captured_library(args.capture, args.provenance)
        if args.provenance
        else read_capture(args.capture)
    )
    names = changed_cases(capture, args.golden)
    if not names:
        print(
            f"golden/ holds these {len(capture.cases)} captures already, but for rounding at most; nothing was changed"
        )
        return 0
    print(difference(capture, args.golden, names))
    if problems := refusals(capture, args.golden, args.changelog, args.reason, os.environ):
        raise SpecError("not promoted: " + "\nspec: error: ".join(problems))
    if args.dry_run:
        print("\ndry run: nothing was changed")
        return 0
    sys.stdout.flush()
    promote(capture, args.golden, args.changelog, args.reason, names)
    print(
        f"\n{len(names)} cases promoted: {', '.join(names)}; now run the tests, read the diff and commit both"
    )
    return 0


def difference(capture: "Capture", golden: Path, names: Sequence[str]) -> str:
    """Describe all that a promotion would change: new cases with their schema violations, others by mismatch."""
    from ..report.check import text
    from ..runners.check import report
    from ..runners.command import Outcome

    known = case_entries(golden)
    cases = cases_from(case_entries(capture.folder))
    blocks = [
        describe_new_case(cases[name], capture.folder / "outputs" / name)
        for name in names
        if name not in known
    ]
    if old := [cases[name] for name in names if name in known]:
        folders = {case.name: capture.folder / "outputs" / case.name for case in old}
        blocks.append(text(report(old, golden, folders, Outcome(0, "", 0.0)), shown=sys.maxsize))
    return "\n".join(blocks)


def describe_new_case(case: Case, folder: Path) -> str:
    """Describe a new case: the number of its files, and each of its schema violations."""
    from ..report.text import indent, printable
    from ..runs.run import read_run
    from ..schema.validate import validate

    run = read_run(folder, case.model_id.split("/")[-1])
    violations = validate(run)
    lines = [printable(str(violation)) for violation in violations]
    title = f"{case.name}: a new case, {len(run.files)} files, {len(violations)} schema violations"
    return "\n".join([title, *([indent("\n".join(lines))] if lines else [])])
