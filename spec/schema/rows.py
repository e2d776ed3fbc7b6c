"""Rules that one row can break by itself, given the vocabulary's size and the copy threshold."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import log2

from ..runs import columns
from ..runs.run import PURE
from .cells import Row
from .rules import Rule, Violation

BUILT_IN = (("pos", "orig"), ("pos", "no_filler"), ("ctl", "orig"))
KEYWORDS = ("germany", "berlin", "capital", "answer", "word", "simply")
FLOAT32_COLUMNS = ("entropy", "p_top1", "p_top5", "p_answer", "cos_to_final")
TINY = 1e-5  # run.py's float32 rounding of entropies, divergences and cosines


@dataclass(frozen=True)
class Pass:
    """A pass as the document describes it: the text of its answer and the answer's id, None where it has none.

    `subtracted_id`: the id of the answer that is subtracted in a control pass. `ids_known`: whether the document has
    the ids. `has_records`: whether the records table has rows of the pass.
    """

    gold: str
    answer_id: int | None = None
    subtracted_id: int | None = None
    ids_known: bool = False
    control: bool = False
    has_records: bool = False


@dataclass(frozen=True)
class DocumentContext:
    """The facts of a document that its tables must respect; None where it does not have them."""

    vocabulary: int | None = None
    layers: int | None = None
    copy_threshold: float | None = None
    passes: Mapping[tuple[str, str], Pass] = field(default_factory=dict)  # in the order of the rows
    corrected: bool = False
    keywords: tuple[str, ...] = KEYWORDS
    own: bool = False  # prompts of one's own, not run.py's

    def of(self, row: Row) -> Pass:
        """The pass of a row; a pass that the document does not have gets no answer to check against."""
        return self.passes.get(row.where, Pass("", control=True))

    def __post_init__(self) -> None:
        if self.vocabulary is not None and self.vocabulary < 1:
            raise ValueError(
                f"a vocabulary has at least one token, got {self.vocabulary}; read it from model_stats"
            )


def is_float32(value: float) -> bool:
    try:
        return bool(struct.unpack("f", struct.pack("f", value))[0] == value)
    except OverflowError:
        return False


def expected_k(row: Row, last: int | None, facts: DocumentContext) -> int:
    """How many pairs the row lists; `last` is the last position of a records table, None for pure rows."""
    token = row["token"].lower().strip(".,!?;:")
    wide = last is not None and (
        row["pos"] == last or any(word in token for word in facts.keywords)
    )
    k = columns.TOP_PAIRS if wide else 5
    return k if facts.vocabulary is None else min(k, facts.vocabulary)


def check_list(row: Row, last: int | None, facts: DocumentContext) -> Iterator[Violation]:
    """The listed pairs: padding, count, order, range, rest."""
    listed, k = row.probabilities, expected_k(row, last, facts)
    pairs = [(row[f"top{i}"], row[f"prob{i}"]) for i in range(1, columns.TOP_PAIRS + 1)]
    for i, (token, p) in enumerate(pairs, start=1):
        if (i <= len(listed)) != (p is not None) or (p is None and token):
            yield row.broken(f"prob{i}", Rule.TOPK_PADDING)
            return
    if len(listed) != k:
        yield row.broken(f"top{min(len(listed), k) + 1}", Rule.TOPK_COUNT)
    yield from check_probabilities(row, listed)
    if row["rest_mass"] != rest_mass(listed):
        yield row.broken("rest_mass", Rule.REST_MASS)


def check_probabilities(row: Row, listed: list[float]) -> Iterator[Violation]:
    """Each listed probability: its range, its order and its float32 origin."""
    # strict=False: the last probability has none after it
    for i, (before, p) in enumerate(zip([1.0, *listed], listed, strict=False), start=1):
        if not 0 <= p <= 1:
            yield row.broken(f"prob{i}", Rule.PROBABILITY_RANGE)
        elif p > before:
            yield row.broken(f"prob{i}", Rule.TOPK_DESCENDING)
        if not is_float32(p):
            yield row.broken(f"prob{i}", Rule.FLOAT32)


def rest_mass(listed: list[float]) -> float:
    total = 0.0
    for p in listed:  # left to right; sum() rounds otherwise from Python 3.12 on
        total += p
    return max(0.0, 1.0 - total)


def check_ranges(row: Row, facts: DocumentContext) -> Iterator[Violation]:
    """Ranges and float32 origin of the row's single numbers."""
    top = float("inf") if facts.vocabulary is None else log2(facts.vocabulary) + TINY
    if not -TINY <= row["entropy"] <= top:
        yield row.broken("entropy", Rule.ENTROPY_RANGE)
    for column in FLOAT32_COLUMNS:
        value = row.cells.get(column)
        if value is not None and not is_float32(value):
            yield row.broken(column, Rule.FLOAT32)


def check_metrics(row: Row, facts: DocumentContext) -> Iterator[Violation]:
    """The metrics and flags of a pure-next-token row."""
    listed = row.probabilities
    for column in ("p_top1", "p_top5", "p_answer"):
        if row[column] is not None and not 0 <= row[column] <= 1 + TINY:
            yield row.broken(column, Rule.PROBABILITY_RANGE)
    if listed and row["p_top1"] != listed[0]:
        yield row.broken("p_top1", Rule.P_TOP1)
    if abs(row["p_top5"] - sum(listed[:5])) > 1e-6:
        yield row.broken("p_top5", Rule.P_TOP5)
    if row["kl_to_final_bits"] < -TINY:
        yield row.broken("kl_to_final_bits", Rule.KL_RANGE)
    if abs(row["cos_to_final"]) > 1 + TINY:
        yield row.broken("cos_to_final", Rule.COS_RANGE)
    yield from check_rank(row, facts)
    yield from check_flags(row, facts)
    yield from check_margin(row, facts)


def check_rank(row: Row, facts: DocumentContext) -> Iterator[Violation]:
    rank, p, listed = row["answer_rank"], row["p_answer"], row.probabilities
    if facts.of(row).ids_known:
        has_id = facts.of(row).answer_id is not None
        for column in ("p_answer", "answer_rank"):
            if (row[column] is not None) != has_id:
                yield row.broken(column, Rule.ANSWER_PRESENCE)
    if rank is not None and not 1 <= rank <= (facts.vocabulary or rank):
        yield row.broken("answer_rank", Rule.RANK_RANGE)
    one_is_empty = (rank is None) != (p is None)
    if one_is_empty or (rank and p is not None and not ranked(rank, p, listed, facts)):
        yield row.broken("answer_rank", Rule.RANK_LIST)


def ranked(rank: int, p: float, listed: list[float], facts: DocumentContext) -> bool:
    """Whether as many listed probabilities exceed p as the rank says; logits may part what probabilities tie."""
    above, before = sum(q > p for q in listed), min(rank - 1, len(listed))
    return above <= before <= sum(q >= p for q in listed) if facts.corrected else above == before


def check_flags(row: Row, facts: DocumentContext) -> Iterator[Violation]:
    """Flags that follow from the row's numbers. Without an id, a control row of a sidecar may look for Paris (R6)."""
    rank, mended = row["answer_rank"], facts.corrected or facts.own
    judged = (
        mended or rank is not None or row["prompt_id"] == "pos" or row.file.endswith(f"-{PURE}.csv")
    )
    gold = facts.of(row).gold if mended else "Berlin"
    if judged and row["is_answer"] != (
        rank == 1 if rank is not None else row["top1"].strip() == gold
    ):
        yield row.broken("is_answer", Rule.IS_ANSWER)
    if row["entropy_collapse"] != (row["entropy"] <= 1.0):
        yield row.broken("entropy_collapse", Rule.ENTROPY_COLLAPSE)
    if (
        row["copy_collapse"]
        and facts.copy_threshold is not None
        and row["p_top1"] <= facts.copy_threshold
    ):
        yield row.broken("copy_collapse", Rule.COPY_COLLAPSE)


def check_margin(row: Row, facts: DocumentContext) -> Iterator[Violation]:
    margin = row["control_margin"]
    known = facts.of(row)
    ids = known.answer_id, known.subtracted_id
    allowed = known.control and (not known.ids_known or None not in ids)
    demanded = allowed and known.ids_known
    present = margin is not None
    if (
        (present and not allowed)
        or (demanded and not present)
        or (present and not margin_fits(margin, row["p_answer"], known))
    ):
        yield row.broken("control_margin", Rule.CONTROL_MARGIN)


def margin_fits(margin: float, p: float | None, known: Pass) -> bool:
    """Whether p_answer − margin, the probability of the other answer, is in its range."""
    if p is None:
        return False
    one_token = known.ids_known and known.answer_id == known.subtracted_id
    largest = p if one_token else 1 - p  # both may begin with one token
    return -1e-7 <= p - margin <= largest + TINY
