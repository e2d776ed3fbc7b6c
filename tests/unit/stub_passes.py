"""Rows and passes that no model made: every number is given, the others are out of the way."""

from collections.abc import Sequence
from typing import Any

from lenses_min.core.rows import PureRow
from lenses_min.core.types import Encoded, Gold, PassResult
from lenses_min.prompts.suite import Prompt


def row(layer: int = 0, **values: Any) -> PureRow:
    """A row that holds under no milestone but for the given values."""
    given: dict[str, Any] = {
        "prompt_id": "a",
        "prompt_variant": "orig",
        "pos": 1,
        "token": "⟨NEXT⟩",
        "entropy": 3.0,
        "top": ((" x", 0.5),),
        "rest_mass": 0.5,
        "copy_collapse": False,
        "entropy_collapse": False,
        "is_answer": False,
        "p_top1": None,
        "p_top5": None,
        "p_answer": None,
        "kl_to_final_bits": 3.0,
        "answer_rank": None,
        "cos_to_final": None,
        "control_margin": None,
    }
    return PureRow(layer=layer, **{**given, **values})


def encoded(prompt: Prompt, *answers: int, defects: Sequence[str] = ()) -> Encoded:
    """A prompt of two tokens; its answer has the first of the ids, if there are any."""
    gold = Gold(prompt.answer, ("▁x",) * len(answers[:1]), answers[:1], "with_space")
    return Encoded(prompt, gold, (1, 5), (5,), answers, defects=tuple(defects))


def result(of: Encoded, pure: dict[str, list[PureRow]], **values: Any) -> PassResult:
    """A pass with rows by lens."""
    given: dict[str, Any] = {
        "records": {},
        "consistency": {},
        "error": {"kl_bits": 0.0, "bound_bits": 1.0},
        "bridge_error": {},
        "agreement": [],
        "raw_samples": [],
        "divergences": [],
        "whole_answers": [],
        "predictions": {},
        "residuals": {},
    }
    return PassResult(encoded=of, pure=pure, **{**given, **values})
