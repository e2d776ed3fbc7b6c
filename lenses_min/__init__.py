"""lenses_min: read a causal language model layer by layer through a lens.

import lenses_min as lm

run = lm.run("path-or-id", device="cpu")
run.frame("pure"), run.milestones
run.save("out")
lm.load("out")  # or any other run directory
lm.compare(run, lm.load("other"))  # two runs side by side, a row a layer
"""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from .errors import LensError
from .options import RunOptions
from .version import __version__

if TYPE_CHECKING:
    import pandas

    from .output.run import Run

__all__ = ["LensError", "RunOptions", "__version__", "compare", "load", "run"]


def compare(a: "Run", b: "Run") -> "pandas.DataFrame":
    """Two runs side by side, a row a layer, lens and pass that both have; see `output/side_by_side.py` for the columns.

    Raises LensError where they share no pass.
    """
    from .output.side_by_side import compare as compare_runs

    return compare_runs(a, b)


def load(folder: str | PathLike[str], name: str | None = None) -> "Run":
    """Read a run directory back, this runner's or run.py's; `name` says which run where there are several.

    Raises LensError where there is none, or a file cannot be read.
    """
    from .output.load import load as load_run

    return load_run(folder, name)


def run(model: str | PathLike[str], **options: Any) -> "Run":
    """Run the lens over MODEL with the fields of RunOptions; returns typed records, writes nothing.

    `prompts` is a file, a list of passes such as {"context": "The capital of Italy is", "answer": "Rome"}, or a mapping
    as a file of prompts has it. Passes of a list that have no id are numbered from 1.

    Raises LensError for anything a person can mend.
    """
    from .pipeline import prompts_text
    from .pipeline import run as run_model

    if isinstance(prompts := options.get("prompts"), list | tuple | Mapping):
        options["prompts"] = prompts_text(prompts)
    return run_model(RunOptions(fspath(model), **options))
