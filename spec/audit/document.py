"""The decisions of a document: orders of its lists, top-1 agreement, warning, raw-lens risk, best temperature.

The document does not show the other points of the temperature grid (only T = 1 and the best), the second token of the
raw lens (hence not the margin of `top1_agree` or of a rank over 1 of a raw sample), and the tokens below a list.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..compare.tolerance import Tolerance
from ..runs import columns
from ..schema.cells import Row
from .margins import Decision, Place
from .rows import order_decisions

Json = Mapping[str, Any]
LAST = "diagnostics.last_layer_consistency"


def document_decisions(
    case: str, tolerance: Tolerance, document: Json, last: Row
) -> Iterator[Decision]:
    """Yield every decision of a document; `last` is the row of layer n of pos/orig."""
    for name in ("test_prompts", "temperature_exploration"):
        for i, item in enumerate(document[name]):
            scaled = tolerance.at_temperature(item.get("temperature", 1.0))
            place = Place(case, "json", f"{name}[{i}]", scaled)
            yield from order_decisions(place, [p for _, p in item["topk"]])
    model_top = [p for _, p in document["final_prediction"]["topk"]]
    yield from order_decisions(Place(case, "json", "final_prediction", tolerance), model_top)
    consistency = document["diagnostics"]["last_layer_consistency"]
    yield from last_layer_decisions(
        Place(case, "json", LAST, tolerance), consistency, last, model_top
    )
    yield from raw_lens_decisions(case, tolerance, document["raw_lens_check"])


def last_layer_decisions(
    place: Place, consistency: Json, last: Row, model_top: list[float]
) -> Iterator[Decision]:
    """Yield agreement of lens and model, the warning, and the best temperature against T = 1."""
    lists = [listed for listed in (last.probabilities, model_top) if len(listed) > 1]
    tops = [place.order("top1_agree", listed[0], listed[1]) for listed in lists]
    yield from [min(tops, key=lambda decision: decision.margin)] if tops else []
    kl, best = consistency["kl_to_final_bits"], consistency["kl_after_temp_bits"]
    yield place.threshold("warn_high_last_layer_kl", columns.KL, kl, 0.5)
    if place.tolerance.fraction(columns.TEMPERATURE, consistency["temp_est"], 1.0) > 1:
        yield place.order("temp_est", kl, best, quantity=columns.KL)


def raw_lens_decisions(case: str, tolerance: Tolerance, block: Json) -> Iterator[Decision]:
    """Yield whether the raw lens ranks the answer first, and the largest divergence against the risk's bounds."""
    samples = block["samples"]
    for i, sample in enumerate(samples):
        place = Place(case, "json", f"raw_lens_check.samples[{i}]", tolerance)
        if sample["answer_rank_raw"] is not None and sample["answer_rank_raw"] > 1:
            yield place.order("is_answer_raw", sample["p_answer_raw"], sample["p_top1_raw"])
    worst = block["summary"]["max_kl_norm_vs_raw_bits"]
    alone = any(sample["is_answer_norm"] and not sample["is_answer_raw"] for sample in samples)
    if worst is not None and not alone:
        place = Place(case, "json", "raw_lens_check.summary", tolerance)
        bounds = [
            place.threshold("lens_artifact_risk", columns.KL, worst, bound) for bound in (0.5, 1.0)
        ]
        yield min(bounds, key=lambda decision: decision.margin)
