"""`lenses-min figure DIR… --what QUANTITY,… -o FILE`: quantities over the layers as a figure for a paper."""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import LensError, require
from .report import read, refused, write_whole

KINDS = ("svg", "png", "pdf")


def add(commands: Any) -> None:
    figure = commands.add_parser("figure", help="quantities over the layers, for a paper")
    figure.set_defaults(perform=perform)
    figure.add_argument(
        "folders", nargs="+", metavar="DIR", help="a run directory; each run in it has a column"
    )
    figure.add_argument(
        "--what",
        default="entropy,kl_to_final_bits,p_answer",
        metavar="COLUMN,…",
        help="quantities, a panel each, by their columns in the tables or how these begin, "
        "such as kl (default: %(default)s)",
    )
    figure.add_argument(
        "--lens", default="", metavar="LENS,…", help="lenses to draw (default: all of the runs)"
    )
    figure.add_argument(
        "--pass",
        nargs="+",
        default=[],
        dest="passes",
        metavar="PASS",
        help="passes to draw, by the report's names (default: the first of each run)",
    )
    figure.add_argument(
        "-o",
        "--out",
        default="figure.svg",
        metavar="FILE",
        help="its ending is .svg, .png or .pdf (default: %(default)s)",
    )


def perform(args: argparse.Namespace) -> int:
    """Exit status: 0 written, 1 a directory cannot be read, a choice is none, or the figure not be written."""
    try:
        require("a figure", "figure", ("matplotlib",))
        out = Path(args.out)
        content = drawn(args, kind_of(out))
        write_whole(out, content)
    except LensError as error:
        return refused(error)
    print(f"{out} ({len(content) / 1e3:.0f} kB)")
    return 0


def kind_of(out: Path) -> str:
    """What a figure is written as, by the ending of its file."""
    kind = out.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise LensError(
            f"a figure ends in .svg, .png or .pdf, got {out.name!r}; name it so with -o"
        )
    return kind


def drawn(args: argparse.Namespace, kind: str) -> bytes:
    from ..report.curves import MEAN
    from ..report.escape import plain
    from ..report.paper import QUANTITIES, figure

    what = [whole(name.strip(), QUANTITIES) for name in args.what.split(",")]
    quantities = chosen("--what", what, QUANTITIES)
    runs = read(args.folders)
    lenses = dict.fromkeys(lens for run in runs for lens in run.lenses)
    own = chosen("--lens", args.lens.split(","), lenses) if args.lens else [*lenses]
    names = {plain(name) for run in runs for lens in own for name in run_passes(run, lens)}
    passes = chosen("--pass", args.passes, [*sorted(names), MEAN]) if args.passes else []
    return figure(runs, quantities, own, passes, kind)


def run_passes(run: Any, lens: str) -> Collection[str]:
    return run.passes(lens) if lens in run.lenses else ()


def whole(name: str, known: Collection[str]) -> str:
    """The one known name that begins so, such as kl_to_final_bits of kl; else the name as it is."""
    longer = [other for other in known if other.startswith(name)]
    return longer[0] if len(longer) == 1 else name


def chosen(flag: str, given: Collection[str], known: Collection[str]) -> list[str]:
    """The names that are given, each once; raises LensError where one is not known, or there is none."""
    names = list(dict.fromkeys(filter(None, map(str.strip, given))))
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        got = ", ".join(wrong) or "nothing"
        raise LensError(f"{flag} takes names of {', '.join(known)}; got {got}")
    return names
