"""The rules of the schema by id, and what a broken one looks like."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from ..runs.columns import MOST_LAYERS
from ..runs.places import Place


class Rule(StrEnum):
    """A rule: its id, which is the value, and the sentence of what it demands."""

    sentence: str

    def __new__(cls, identifier: str, sentence: str) -> "Rule":
        rule = str.__new__(cls, identifier)
        rule._value_ = identifier
        rule.sentence = sentence
        return rule

    FILE_READABLE = (
        "file.readable",
        "every file of a run can be read, and a run that failed leaves no other file",
    )
    FILE_MISSING = (
        "file.missing",
        "a run has its document, its records and its pure-next-token table",
    )
    FILE_STRAY = "file.stray", "a run's folder holds files of runs only"
    CSV_HEADER = "csv.header", "the header has the schema's columns in their order"
    CSV_WIDTH = "csv.width", "a row has one cell per column"
    CSV_DIALECT = (
        "csv.dialect",
        "cells are quoted only for a comma, a quote or a line feed; a backslash is doubled",
    )
    CSV_END = "csv.end", "the last line ends with a line feed"
    CELL_TYPE = (
        "cell.type",
        "integers, flags and floats are written as Python writes them, finite, and present where required",
    )
    CELL_FIXED = "cell.fixed", "the token of a pure-next-token row is ⟨NEXT⟩"
    ROWS_MISSING = (
        "rows.missing",
        "every pass has its layers 0 … n, layer 0 of the records every position",
    )
    ROWS_EXTRA = "rows.extra", "no row beyond the contract's, none twice"
    ROWS_ORDER = (
        "rows.order",
        "rows come by pass (pos/orig, pos/no_filler, ctl/orig), then layer, then position",
    )
    TOPK_PADDING = "topk.padding", "listed pairs come first and whole, empty cells after them"
    TOPK_COUNT = (
        "topk.count",
        "k is 20 at the last position and on keyword tokens of the records, else 5; never over V",
    )
    TOPK_DESCENDING = "topk.descending", "listed probabilities never rise"
    PROBABILITY_RANGE = "probability.range", "a probability lies in [0, 1]"
    FLOAT32 = "float32", "the value is a float64 that a float32 became"
    REST_MASS = "rest-mass", "rest_mass = max(0, 1 − Σ listed probabilities), summed left to right"
    ENTROPY_RANGE = "entropy.range", "entropy lies in [0, log2 V] bits"
    KL_RANGE = "kl.range", "a KL divergence is not negative"
    COS_RANGE = "cos.range", "a cosine lies in [-1, 1]"
    RANK_RANGE = "rank.range", "an answer rank lies in 1 … V"
    RANK_LIST = (
        "rank.list",
        "as many listed probabilities exceed p_answer as its rank says; both are present or neither",
    )
    P_TOP1 = "p-top1", "p_top1 is the first listed probability"
    P_TOP5 = "p-top5", "p_top5 is the sum of the five largest probabilities"
    IS_ANSWER = (
        "is-answer",
        "is_answer is true where the answer's rank is 1, without one where the top-1 text is Berlin",
    )
    ENTROPY_COLLAPSE = "entropy-collapse", "entropy_collapse is true where entropy ≤ 1.0 bit"
    COPY_COLLAPSE = "copy-collapse", "copy_collapse needs p_top1 > copy_thresh"
    CONTROL_MARGIN = (
        "control-margin",
        "control_margin = p(Paris) − p(Berlin) in ctl rows where both have an id, else empty",
    )
    ANSWER_PRESENCE = (
        "answer.presence",
        "p_answer and answer_rank are present where the pass's answer has an id",
    )
    JSON_KEYS = "json.keys", "an object has the contract's keys in their order"
    JSON_TYPE = "json.type", "a value has the contract's type"
    JSON_VALUE = (
        "json.value",
        f"a fixed value is the contract's, and layers are at most {MOST_LAYERS:,}",
    )
    JSON_LAYOUT = (
        "json.layout",
        "indent 2, UTF-8 unescaped, floats as Python repr, no final newline",
    )
    TOPK_LIST = (
        "topk.list",
        "a top-k list holds k pairs of token and descending float32 probability",
    )
    MILESTONES = "milestones", "a milestone is the first layer of pos/orig whose row satisfies it"
    ABLATION = "ablation", "ablation_summary follows from the rows of pos/orig and pos/no_filler"
    CONTROL_SUMMARY = (
        "control-summary",
        "control_summary follows from the control margins of the ctl rows",
    )
    LAST_LAYER = "last-layer", "last_layer_consistency agrees with layer n of pos/orig"
    RAW_LENS_LAYERS = "raw-lens.layers", "raw_lens_check samples the layers of its mode"
    RAW_LENS_ROWS = (
        "raw-lens.rows",
        "the norm side of a raw-lens sample agrees with its layer's row",
    )
    RAW_LENS_SUMMARY = "raw-lens.summary", "the raw-lens summary follows from its samples"
    GOLD = "gold", "a gold answer's id, pieces, variant and alignment tell one story"
    MODEL_NAME = "model-name", "the recorded model id ends in the name the files carry"
    PRISM_FILES = "prism.files", "Prism files exist where the artifacts were usable, and only there"
    PRISM_SUMMARY = "prism.summary", "prism_summary's fields tell one story"
    AGREEMENT_ROWS = (
        "agreement.rows",
        "the agreement table has every two lenses, and each with the model, at every layer and pass",
    )
    AGREEMENT_RANGE = "agreement.range", "0 ≤ JS ≤ TV ≤ 1 in bits, and KL ≥ 2 TV² / ln 2"
    AGREEMENT_MODEL = (
        "agreement.model",
        "the KL of a lens to the model is that of its pure-next-token row",
    )
    ANSWERS_ROWS = (
        "answers.rows",
        "the answers table has every lens at every layer and the model at the last one",
    )
    ANSWERS_RANGE = (
        "answers.range",
        "p_joint = 2^−surprisal_bits, both in their range, of at least one token",
    )
    ANSWERS_FIRST = (
        "answers.first",
        "a whole answer is no likelier than its first token, and of one token just as likely",
    )
    BATTERY_FORM = (
        "battery.form",
        "a row of the battery names an estimate of a group of passes, and no two rows the same one",
    )
    BATTERY_INTERVAL = (
        "battery.interval",
        "low ≤ high where there are both; a share and its ends lie in [0, 1]",
    )
    BATTERY_VALUE = (
        "battery.value",
        "n, n_prompts and value of the passes' own answers follow from the pure-next-token tables",
    )
    RESIDUAL_FILES = "residual.files", "residuals are saved for every layer 0 … n or for none"
    RESIDUAL_SHAPE = "residual.shape", "a saved residual is a finite float tensor [1, S, d]"


RULES: Mapping[str, str] = MappingProxyType({rule.value: rule.sentence for rule in Rule})


@dataclass(frozen=True)
class Violation:
    """One broken rule: its place, the rule, and the value that breaks it."""

    place: Place
    rule: Rule
    value: str

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Rule):
            raise ValueError(
                f"a violation names a rule of RULES, got {self.rule!r}; add the rule there first"
            )

    @property
    def file(self) -> str:
        return self.place.file

    @property
    def sentence(self) -> str:
        """What the rule demands."""
        return self.rule.sentence

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}: {self.sentence}; got {self.value}"


def close(a: float, b: float) -> bool:
    """Whether two numbers of one run agree up to float32 rounding."""
    return abs(a - b) <= 2e-6 + 1e-4 * max(abs(a), abs(b))
