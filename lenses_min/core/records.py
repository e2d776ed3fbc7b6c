"""numbers → rows: one row per layer and position, and the flags that need token text."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from ..options import ENTROPY_COLLAPSE_BITS, RunOptions
from .metrics import Measures
from .rows import PureRow, RecordRow
from .tokens import Tokens, is_keyword
from .types import Encoded, Lens, PassResult, Rows

NEXT = "⟨NEXT⟩"
COPY_WINDOW = 1
K_FULL, K_SHORT, K_PURE = 20, 5, 5


@dataclass(frozen=True)
class RowContext:
    """The common part of the rows of one pass: its prompt, the token texts and the bounds of the copy rule.

    `own_answers`: an answer without an id is looked for by its own text, not by the reference's (R6).
    """

    encoded: Encoded
    tokens: Tokens
    copy_threshold: float
    copy_margin: float
    keywords: frozenset[str] = frozenset()
    every_record: bool = False
    own_answers: bool = False

    def records(self, rows: Rows, metrics: Measures[np.ndarray], lens: Lens) -> list[RecordRow]:
        """Rows of a records file: every row decoded, from the lens's first layer on."""
        out = []
        for i, (layer, pos) in enumerate(zip(rows.layer, rows.pos, strict=True)):
            if self.every_record or layer >= lens.first_record_layer:
                token = self.tokens.text(self.encoded.token_ids[pos])
                k = (
                    K_FULL
                    if pos == self.encoded.last or is_keyword(token, self.keywords)
                    else K_SHORT
                )
                out.append(self.record(layer, pos, token, metrics, i, k))
        return out

    def pure(self, rows: Rows, metrics: Measures[np.ndarray], lens: Lens) -> list[PureRow]:
        """Rows of a pure-next-token file: the last position at every layer, in layer order."""
        fallback = None if self.own_answers else lens.fallback_answer
        out: list[PureRow] = []
        window: list[int] = []
        for i, pos in enumerate(rows.pos):
            if pos == self.encoded.last:
                window = [*window, int(metrics.top_id[i, 0])][-COPY_WINDOW:]
                out.append(self.pure_row(rows.layer[i], metrics, i, window, fallback))
        return out

    def record(
        self, layer: int, pos: int, token: str, metrics: Measures[np.ndarray], i: int, k: int
    ) -> RecordRow:
        probs = metrics.top_p[i, :k].tolist()
        top = tuple(zip(map(self.tokens.text, metrics.top_id[i, :k].tolist()), probs, strict=True))
        prompt, entropy = self.encoded.prompt, float(metrics.entropy[i])
        return RecordRow(
            prompt.id, prompt.variant, layer, pos, token, entropy, top, rest_mass(probs)
        )

    def pure_row(
        self,
        layer: int,
        metrics: Measures[np.ndarray],
        i: int,
        window: list[int],
        fallback: str | None,
    ) -> PureRow:
        """One row; `window` holds the latest top-1 ids of this lens and pass."""
        base = self.record(layer, self.encoded.last, NEXT, metrics, i, K_PURE)
        p, rank = metrics.p_answer[i].tolist(), (metrics.rank[i].tolist() or [None])[0]
        return PureRow(
            **vars(base),
            copy_collapse=self.copies(window, metrics.top_p[i].tolist()),
            entropy_collapse=base.entropy <= ENTROPY_COLLAPSE_BITS,
            is_answer=self.is_answer(rank, window[-1], fallback),
            p_top1=float(metrics.top_p[i, 0]),
            p_top5=float(metrics.p_top5[i]),
            p_answer=p[0] if p else None,
            kl_to_final_bits=float(metrics.kl[i]) / log(2),
            answer_rank=rank,
            cos_to_final=float(metrics.cos[i]),
            control_margin=p[0] - p[1] if len(p) == 2 else None,
        )

    def is_answer(self, rank: int | None, top_id: int, fallback: str | None) -> bool:
        """Rank 1; where the answer has no id, the top-1 text itself (`fallback`, else the gold's, R6)."""
        if rank is not None:
            return rank == 1
        return self.tokens.text(top_id).strip() == (fallback or self.encoded.gold.string)

    def copies(self, window: Sequence[int], top_p: Sequence[float]) -> bool:
        """The window repeats a run of the prompt, surely and clearly, with a token of more than punctuation."""
        first, second = [*top_p, 0.0][:2]
        sure = first > self.copy_threshold and first - second > self.copy_margin
        blank = all(c.isspace() or c in string.punctuation for c in self.tokens.text(window[-1]))
        return sure and not blank and is_run(window, self.encoded.context_ids)


def is_run(window: Sequence[int], ids: Sequence[int]) -> bool:
    """Whether a full window stands contiguously in ids."""
    size = len(window)
    return size == COPY_WINDOW and any(
        tuple(ids[s : s + size]) == tuple(window) for s in range(len(ids))
    )


def rest_mass(probs: Sequence[float]) -> float:
    """max(0, 1 − Σ probs), added left to right: sum() rounds otherwise from Python 3.12 on."""
    total = 0.0
    for p in probs:
        total += p
    return max(0.0, 1.0 - total)


def tables_of(
    options: RunOptions, passes: Sequence[PassResult]
) -> dict[tuple[str, str], list[Any]]:
    """The rows of all passes by table and lens."""
    tables: dict[tuple[str, str], list[Any]] = {}
    for lens in passes[0].pure:
        tables["records", lens] = [row for result in passes for row in result.records.get(lens, [])]
        tables["pure", lens] = [row for result in passes for row in result.pure[lens]]
    if options.extended:
        tables["agreement", "norm"] = [row for result in passes for row in result.divergences]
    if options.prompts:
        tables["answers", "norm"] = [row for result in passes for row in result.whole_answers]
    return tables
