"""The columns of the two CSV schemas and what each holds: the one table that comparison and schema both read.

Axes: L layers (0 … n), S positions, V vocabulary, K top-k pairs listed in a row.
"""

import re
from functools import lru_cache

TOP_PAIRS = 20  # topI,probI columns of every row, padded with empty cells
# More blocks than any model has. A damaged number would ask for as many rows.
MOST_LAYERS = 10_000
KEY_COLUMNS = ("prompt_id", "prompt_variant", "layer", "pos")
PAIR_COLUMNS = tuple(f"{kind}{i}" for i in range(1, TOP_PAIRS + 1) for kind in ("top", "prob"))
RECORD_COLUMNS = (*KEY_COLUMNS, "token", "entropy", *PAIR_COLUMNS, "rest_mass")
METRIC_COLUMNS = (
    *("copy_collapse", "entropy_collapse", "is_answer", "p_top1", "p_top5", "p_answer"),
    *("kl_to_final_bits", "answer_rank", "cos_to_final", "control_margin"),
)
PURE_COLUMNS = (*RECORD_COLUMNS, *METRIC_COLUMNS)
# Tables that run.py does not write: how lenses agree, and whole answers.
AGREEMENT_COLUMNS = (*KEY_COLUMNS, "lens", "against", "kl_bits", "js_bits", "tv", "top1_agree")
ANSWER_COLUMNS = (
    "prompt_id",
    "prompt_variant",
    "layer",
    "lens",
    "answer",
    "n_tokens",
    "p_joint",
    "surprisal_bits",
)
# Statistics over the passes of a run: a row a lens, group, quantity and estimate.
BATTERY_COLUMNS = (
    *("lens", "group", "layer", "quantity", "answer", "estimate"),
    *("n", "n_prompts", "value", "low", "high"),
)

TEXT = "text"
INTEGER = "integer"
FLAG = "flag"
RANK = "rank"
EXACT_FLOAT = "exact float"
PROBABILITY = "probability"
REST = "rest"
ENTROPY = "entropy"
KL = "kl"
COSINE = "cosine"
MARGIN = "margin"
TEMPERATURE = "temperature"
RESIDUAL = "residual"
FLOATS = frozenset(
    {EXACT_FLOAT, PROBABILITY, REST, ENTROPY, KL, COSINE, MARGIN, TEMPERATURE, RESIDUAL}
)

_NAMED = {
    **dict.fromkeys(("layer", "pos", "n_tokens"), INTEGER),
    **dict.fromkeys(("copy_collapse", "entropy_collapse", "is_answer", "top1_agree"), FLAG),
    **dict.fromkeys(("copy_thresh", "temperature"), EXACT_FLOAT),
    "answer_rank": RANK,
    "answer_rank_lens": RANK,
    "answer_rank_norm": RANK,
    "answer_rank_raw": RANK,
    "rest_mass": REST,
    "entropy": ENTROPY,
    "surprisal_bits": ENTROPY,
    "js_bits": KL,
    **dict.fromkeys(("tv", "p_joint"), PROBABILITY),
    "cos_to_final": COSINE,
    "control_margin": MARGIN,
    "max_control_margin": MARGIN,
    "temp_est": TEMPERATURE,
}
_PATTERNS = ((r"prob\d*|p_(top1|top5|answer)(_.*)?", PROBABILITY), (r"(max_)?kl_.*", KL))


@lru_cache(maxsize=4096)
def quantity(name: str) -> str:
    """What a CSV column or a JSON key measures: the name under which a tolerance class holds its bound.

    An unknown name is TEXT, which compares exactly.
    """
    if name in _NAMED:
        return _NAMED[name]
    return next((kind for pattern, kind in _PATTERNS if re.fullmatch(pattern, name)), TEXT)


@lru_cache(maxsize=4096)
def without_numbers(name: str) -> str:
    """The name of a CSV column for columns that differ in a number only: `top*`, `prob*`, `x[]`."""
    return re.sub(r"\[\d+\]", "[]", re.sub(r"^(top|prob)\d+$", r"\1*", name))
