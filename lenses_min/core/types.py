"""Plain data shared by the stages; nothing here computes a column.

Axes, used with these letters everywhere: L read-out points (layer 0 = embeddings … n = last block, so
L = n + 1), S positions, D model width, V vocabulary, K top-k, N rows (pairs of layer and position).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..prompts.suite import Prompt
from .rows import AgreementRow, AnswerRow, PureRow, RecordRow


@dataclass(frozen=True)
class Bos:
    """The ids that the model reads before every prompt, none to several, and the rule that gives them."""

    ids: tuple[int, ...]
    rule: str
    warning: str = ""


@dataclass(frozen=True)
class Gold:
    """The tokens of an answer in its prompt; `variant` is with_space, no_space or unknown.

    `note` says what is wrong with the way the answer joins the prompt; empty where nothing is.
    """

    string: str
    pieces: tuple[str, ...]
    answer_ids: tuple[int, ...]
    variant: str
    note: str = ""

    @property
    def first_id(self) -> int | None:
        return self.answer_ids[0] if self.answer_ids else None

    @property
    def alignment(self) -> str:
        return "ok" if self.answer_ids else "unresolved"


@dataclass(frozen=True)
class Encoded:
    """A prompt in tokens. `answers` are the ids whose probability is read: the gold's first, the control's.

    `answer_prefix_ids` are the answer's tokens that the model reads after the prompt, for the joint probability.
    `defects` are those of R14 and R15 by which the reference reads this prompt or its answer otherwise.
    """

    prompt: Prompt
    gold: Gold
    token_ids: tuple[int, ...]
    context_ids: tuple[int, ...]
    answers: tuple[int, ...]
    answer_prefix_ids: tuple[int, ...] = ()
    defects: tuple[str, ...] = ()

    @property
    def last(self) -> int:
        """Position of the last token, where the next token is predicted."""
        return len(self.token_ids) - 1


class Norms(ABC):
    """The norm that reads each layer next."""

    @property
    @abstractmethod
    def last(self) -> int:
        """The layer that the final norm reads."""

    @abstractmethod
    def apply(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N D"]:
        """Residual rows, and the layer of each, to normed rows of the same dtype."""


@dataclass(frozen=True)
class ModelInfo:
    """The facts of a model that the outputs record; `n_ctx` is the longest input in tokens.

    A prompt of more than `alone_above` tokens runs alone, as its numbers depend on what is read behind it; None: of no
    length.
    """

    family: str
    n_layers: int
    d_model: int
    n_heads: int
    d_vocab: int
    n_ctx: int
    alone_above: int | None
    device: str
    dtype: str
    first_norm: str
    final_norm: str
    learned_positions: bool
    output_transform: bool
    logit_scale: float | None
    soft_cap: float | None
    fingerprint: str


def upload(values: Tensor | Sequence[int], device: torch.device) -> Tensor:
    """A few numbers of the host on a device, without waiting for what the device still computes."""
    host = values if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.long)
    return host.to(device, non_blocking=device.type == "cuda")


@dataclass(frozen=True)
class Rows:
    """Residual rows to decode, with the layer and position of each."""

    x: Float[Tensor, "N D"]
    layer: list[int]
    pos: list[int]

    def __getitem__(self, part: slice) -> "Rows":
        return Rows(self.x[part], self.layer[part], self.pos[part])

    def last_of(self, layers: Iterable[int]) -> "Rows":
        """The last position of some layers."""
        last = {layer: i for i, layer in enumerate(self.layer)}
        index = [last[layer] for layer in layers]
        return Rows(
            self.x[upload(index, self.x.device)],
            [self.layer[i] for i in index],
            [self.pos[i] for i in index],
        )

    @property
    def layers(self) -> Int[Tensor, " N"]:
        return torch.tensor(
            self.layer
        )  # on the host: the layers of a row decide which norm is called


# Residual rows [N, D] and the layer of each [N] to float32 logits [N, V], or [1, V] where all rows share it.
Decode = Callable[[Tensor, Tensor], Tensor]


class Lens(ABC):
    """A lens: a frozen context and one function.

    `name` is the suffix of its files (the norm lens has none); `first_record_layer` the first layer with rows in the
    records file; `fallback_answer` the text that is right where the answer has no id (None: the pass's own).
    """

    name: ClassVar[str]
    first_record_layer: ClassVar[int] = 0
    fallback_answer: ClassVar[str | None] = None

    @abstractmethod
    def decode(self, x: Float[Tensor, "N D"], layers: Int[Tensor, " N"]) -> Float[Tensor, "N V"]:
        """Residual rows, and the layer of each, to float32 logits."""


@dataclass(frozen=True)
class PassResult:
    """All of one pass: rows per lens, blocks of layer n, and the model's own predictions (of a pass with records).

    `error` is the lens against the model at layer n; `bridge_error` the model against transformers' own, of the pass
    whose prompt transformers read, empty in the others.
    """

    encoded: Encoded
    records: dict[str, list[RecordRow]]
    pure: dict[str, list[PureRow]]
    consistency: dict[str, Any]
    error: dict[str, float]
    bridge_error: dict[str, Any]
    agreement: list[dict[str, Any]]
    raw_samples: list[dict[str, Any]]
    divergences: list[AgreementRow]
    whole_answers: list[AnswerRow]
    predictions: dict[str, Any]
    residuals: dict[int, Float[Tensor, "1 S D"]]
