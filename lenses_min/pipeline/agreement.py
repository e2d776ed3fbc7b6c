"""How far lenses are from the model and from each other: the agreement file and the block of the manifest."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.decode import Pair
from ..core.last_layer import LogitComparison, last_layer_consistency
from ..core.metrics import Divergence
from ..core.rows import AgreementRow
from ..core.types import Encoded, Rows


def agreement_rows(
    encoded: Encoded, rows: Rows, by_pair: Mapping[Pair, Divergence[np.ndarray]]
) -> list[AgreementRow]:
    """Rows of the agreement file: a row a layer and pair, in bits."""
    prompt, last = encoded.prompt, encoded.last
    layers = [layer for layer, pos in zip(rows.layer, rows.pos, strict=True) if pos == last]
    return [
        AgreementRow(
            prompt.id,
            prompt.variant,
            layer,
            last,
            lens,
            against,
            kl_bits=float(numbers.kl_bits[i]),
            js_bits=float(numbers.js_bits[i]),
            tv=float(numbers.tv[i]),
            top1_agree=bool(numbers.top1_agree[i]),
        )
        for i, layer in enumerate(layers)
        for (lens, against), numbers in by_pair.items()
    ]


def last_layer_agreement(
    by_pair: Mapping[Pair, LogitComparison[np.ndarray]], answers: Sequence[int]
) -> list[dict[str, Any]]:
    """Any two lenses, or a lens and the model, at the last layer: KL(lens‖against) in bits, and the rest."""
    entries = []
    for (lens, against), compared in by_pair.items():
        block = last_layer_consistency(compared, answers)
        rest = {key: block[key] for key in ("top1_agree", "temp_est", "kl_after_temp_bits")}
        kl = {"lens": lens, "against": against, "kl_bits": block["kl_to_final_bits"]}
        entries.append(kl | rest)
    return entries
