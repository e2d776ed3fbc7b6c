"""`python -m spec forensics DIR`: whether the last layer is the model's own prediction, and what it lacks if not."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SpecError

if TYPE_CHECKING:
    from ..runs.run import Run

READ = (".csv", ".json")  # residuals are left alone


def add(commands: Any) -> None:
    forensics = commands.add_parser(
        "forensics",
        help="tell whether the last layer is the model's own prediction, and what it lacks if not",
        epilog="Exit status: 0 the last layer of every run is the model's own prediction, 1 that of some run is not, "
        "or its files cannot tell, 2 the command line is wrong.",
    )
    forensics.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="holds a run or several, or folders that hold runs; or a run's output-NAME.json",
    )
    forensics.add_argument("--run", metavar="NAME", dest="name", help="only the runs of this name")
    forensics.add_argument(
        "--json", action="store_true", help="print one JSON object instead of text"
    )
    forensics.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..audit.forensics import examine
    from ..report import forensics as render_forensics

    results = [
        (folder, examine(read(folder, name))) for folder, name in selected(args.folder, args.name)
    ]
    print(render_forensics.machine(results) if args.json else render_forensics.text(results))
    return 0 if all(result.same for _, result in results) else 1


def selected(path: Path, name: str | None) -> list[tuple[Path, str]]:
    """The runs of a path, only those of a name where one is given; raises SpecError where there is none."""
    from ..runs.directory import of_document, runs_of

    folder, own = of_document(path)
    if own is not None and name not in (None, own):
        raise SpecError(f"{path} is the run {own}, got --run {name}; leave out --run")
    places = runs_of(folder)
    wanted = own or name
    chosen = [place for place in places if wanted in (None, place[1])]
    if not chosen:
        names = ", ".join(sorted({place[1] for place in places}))
        raise SpecError(f"{folder} holds no run named {wanted}; it holds {names}")
    return chosen


def read(folder: Path, name: str) -> "Run":
    """The tables and the document of a run."""
    from ..runs.listing import listing
    from ..runs.run import read_run

    files = listing(folder).runs[name]
    return read_run(folder, name, {f: path for f, path in files.items() if f.endswith(READ)})
