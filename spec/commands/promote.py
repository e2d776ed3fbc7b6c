"""`python -m spec promote DIR --reason TEXT`: show how a capture differs from golden/, then replace golden/ by it."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SpecError
from ..golden import GOLDEN

if TYPE_CHECKING:
    from ..lifecycle.capture import Capture
    from ..runners.check import CaseResult

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
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="refuse where more changes than this column, key, pass or file, named as history and accept name it; "
        "may be given again, and may hold * (default: anything may change)",
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
    from ..lifecycle.promote_checks import (
        changed_cases,
        changed_names,
        compared,
        only_problems,
        refusals,
    )

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
    known = compared(capture, args.golden, names)
    print(difference(capture, known, names))
    problems = refusals(capture, args.golden, args.changelog, args.reason, os.environ)
    if args.only:
        problems += only_problems(changed_names(capture, args.golden, known), args.only)
    if problems:
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


def difference(capture: "Capture", known: Sequence["CaseResult"], names: Sequence[str]) -> str:
    """Describe all that a promotion would change: new cases, every mismatch of the others, the rules that break."""
    from ..report.check import text
    from ..report.text import printable
    from ..report.validate import rule_lines
    from ..runners.check import Report
    from ..runners.command import Outcome
    from ..runs.run import read_run
    from ..schema.layout import judge_run

    blocks, violations = [], [(r.case, violation) for r in known for violation in r.violations]
    for name in [name for name in names if name not in {result.case for result in known}]:
        stem = capture.entries[name]["model_id"].split("/")[-1]
        run = read_run(capture.folder / "outputs" / name, stem)
        judged = judge_run(run)
        violations += [(name, violation) for violation in judged.violations]
        further = f"; {judged.sentence}" if judged.sentence else ""
        count = f"{len(run.files)} files, {len(judged.violations):,} schema violations"
        blocks.append(printable(f"{name}: a new case, {count}{further}"))
    if known:
        unjudged = tuple(replace(result, violations=()) for result in known)
        blocks.append(text(Report(unjudged, Outcome(0, "", 0.0)), shown=sys.maxsize))
    return "\n\n".join(["\n".join(blocks), *rule_lines(violations)])
