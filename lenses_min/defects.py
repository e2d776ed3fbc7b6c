"""One warning for each defect of the reference that bites on this model, with its id in the contract's ledger."""

from collections.abc import Iterator, Mapping
from typing import Any

from .types import Facts


def defect_warnings(
    facts: Facts, summaries: Mapping[str, Mapping[str, Any]], corrected: bool = False
) -> Iterator[str]:
    """What the reference contract gets wrong here and which columns it changes; the corrected one mends it."""
    if not corrected and "LayerNorm" in (facts.first_norm, facts.final_norm):
        yield (
            f"R1: {facts.family} uses LayerNorm, read through the RMS formula without centring or bias: every lens "
            "column is off, and the last layer does not equal the model's own output"
        )
    if not corrected and facts.output_transform:
        yield (
            "R3: the model's soft cap or logit scale is not applied to lens logits: lens probabilities and "
            "kl_to_final_bits are off at every layer"
        )
    for lens, summary in summaries.items():
        if (error := summary.get("error")) and not error.startswith("Missing"):
            yield f"{lens} lens skipped: {error}"
