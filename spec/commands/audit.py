"""`python -m spec audit`: every decision of the captures keeps a margin over its tolerance."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    audit = commands.add_parser(
        "audit",
        help="hold every decision of the captures to a margin over its tolerance",
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
    found = audit()
    print(render_audit.machine(found) if args.json else render_audit.text(found))
    return 0 if found.passes else 1
