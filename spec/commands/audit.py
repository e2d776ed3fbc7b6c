"""`python -m spec audit`: check that every decision of the captures has a margin over its tolerance."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    audit = commands.add_parser(
        "audit",
        help="check that every decision of the captures has a margin over its tolerance",
        epilog="Exit status: 0 only known decisions are fragile, 1 the list and the captures differ, "
        "2 the captures or the list cannot be read.",
    )
    audit.add_argument(
        "--json", action="store_true", help="print one JSON object instead of tables"
    )
    audit.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..audit.decisions import audit
    from ..golden import GOLDEN, require_intact
    from ..report import audit as render_audit

    require_intact(GOLDEN)
    result = audit()
    print(render_audit.machine(result) if args.json else render_audit.text(result))
    return 0 if result.passes else 1
