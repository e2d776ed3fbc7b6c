"""The registry of lenses. A new lens is a file in this folder and an entry here.

A builder takes the model and the options, and returns its lens, or None where it cannot serve, with
the summary that the outputs carry.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..core.types import Lens, Norms
from ..core.unembedding import Unembedding
from ..errors import LensError
from ..options import RunOptions
from . import final, norm, prism, raw, tuned

Builder = Callable[[Norms, Unembedding, RunOptions], tuple[Lens | None, dict[str, Any]]]

LENSES: dict[str, Builder] = {
    "norm": norm.build,
    "final": final.build,
    "raw": raw.build,
    "prism": prism.build,
    "tuned": tuned.build,
}


def check_lenses(lenses: Sequence[str]) -> None:
    """Refuse a lens that is not registered, before a model is read."""
    if unknown := [str(name) for name in lenses if name not in LENSES]:
        raise LensError(f"unknown lens {', '.join(unknown)}; known lenses: {', '.join(LENSES)}")
