"""lenses_min: read a causal language model layer by layer through a lens.

import lenses_min as lm

run = lm.run("path-or-id", device="cpu")
run.frame("pure"), run.milestones
run.save("out")
"""

from typing import TYPE_CHECKING, Any

from .errors import LensError
from .options import RunOptions

if TYPE_CHECKING:
    from .result import Run

__all__ = ["LensError", "RunOptions", "__version__", "run"]
__version__ = "0.1.0"


def run(model: str, **options: Any) -> "Run":
    """Run the lens over MODEL with the fields of RunOptions; returns typed records, writes nothing.

    Raises LensError for anything a person can mend.
    """
    from .pipeline import run as run_model

    return run_model(RunOptions(model, **options))
