"""All numbers of one pass, as tensors on the model's device or, after `to_host`, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic

from .decode import Pair
from .host import A
from .last_layer import LastLogits, LogitComparison
from .metrics import Divergence, Measures
from .probes import TopTokens
from .raw_lens import RawLensMetrics


@dataclass(frozen=True)
class AnswerMetrics(Generic[A]):
    """The tokens of an answer behind its first: by lens at every layer, and ln p by the model itself [F], nats."""

    by_lens: Mapping[str, Measures[A]]
    model_log_p: A


@dataclass(frozen=True)
class PassMetrics(Generic[A]):
    """What a pass has under these options; None or empty is what it has not.

    `by_lens` has every decoded row, `by_pair` the last positions of each layer. `consistency` and `agreement` are of
    layer n; `residuals` are the last position of every layer [L, D] in float32, of the pass that transformers read too.
    """

    by_lens: Mapping[str, Measures[A]]
    by_pair: Mapping[Pair, Divergence[A]]
    last_logits: LastLogits[A]
    raw_lens: RawLensMetrics[A] | None = None
    consistency: LogitComparison[A] | None = None
    agreement: Mapping[Pair, LogitComparison[A]] = field(default_factory=dict)
    answer: AnswerMetrics[A] | None = None
    temperatures: TopTokens[A] | None = None
    residuals: A | None = None
