"""`--allow extended`: a run that has all that was there, equal, and more, is accepted."""

import argparse

EXTENDED = "extended"


def add_allow(parser: argparse.ArgumentParser) -> None:
    """Add the option; without it such a run has the exit status 3."""
    parser.add_argument(
        "--allow",
        choices=(EXTENDED,),
        help="accept runs that have further columns, keys, passes or files and are equal in all else",
    )
