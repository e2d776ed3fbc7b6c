"""lenses_min: read a causal language model layer by layer through a lens.

import lenses_min as lm

run = lm.run("path-or-id", device="cpu")
run.frame("pure"), run.milestones
run.save("out")
lm.load("out")  # or any other run directory
"""

from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from .errors import LensError
from .options import RunOptions
from .version import __version__

if TYPE_CHECKING:
    from .output.run import Run

__all__ = ["LensError", "RunOptions", "__version__", "load", "run"]


def load(folder: str | PathLike[str], name: str | None = None) -> "Run":
    """Read a run directory back, this runner's or run.py's; `name` says which run where there are several.

    Raises LensError where there is none, or a file cannot be read.
    """
    from .output.load import load as load_run

    return load_run(folder, name)


def run(model: str | PathLike[str], **options: Any) -> "Run":
    """Run the lens over MODEL with the fields of RunOptions; returns typed records, writes nothing.

    Raises LensError for anything a person can mend.
    """
    from .pipeline import run as run_model

    return run_model(RunOptions(fspath(model), **options))
