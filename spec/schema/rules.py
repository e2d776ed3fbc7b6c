"""The rules of the schema by id, and what a broken one looks like."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

RULES: Mapping[str, str] = MappingProxyType(
    {
        "file.readable": "every file of a run can be read, and a run that failed leaves no other file",
        "file.missing": "a run has its document, its records and its pure-next-token table",
        "file.stray": "a run's folder holds files of runs only",
        "csv.header": "the header has the schema's columns in their order",
        "csv.width": "a row has one cell per column",
        "csv.dialect": "cells are quoted only for a comma, a quote or a line feed; a backslash is doubled",
        "csv.end": "the last line ends with a line feed",
        "cell.type": "integers, flags and floats are written as Python writes them, finite, and present where required",
        "cell.fixed": "the token of a pure-next-token row is ⟨NEXT⟩",
        "rows.missing": "every pass has its layers 0 … n, layer 0 of the records every position",
        "rows.extra": "no row beyond the contract's, none twice",
        "rows.order": "rows come by pass (pos/orig, pos/no_filler, ctl/orig), then layer, then position",
        "topk.padding": "listed pairs come first and whole, empty cells after them",
        "topk.count": "k is 20 at the last position and on keyword tokens of the records, else 5; never over V",
        "topk.descending": "listed probabilities never rise",
        "probability.range": "a probability lies in [0, 1]",
        "float32": "the value is a float64 that a float32 became",
        "rest-mass": "rest_mass = max(0, 1 − Σ listed probabilities), summed left to right",
        "entropy.range": "entropy lies in [0, log2 V] bits",
        "kl.range": "a KL divergence is not negative",
        "cos.range": "a cosine lies in [-1, 1]",
        "rank.range": "an answer rank lies in 1 … V",
        "rank.list": "as many listed probabilities exceed p_answer as its rank says; both are present or neither",
        "p-top1": "p_top1 is the first listed probability",
        "p-top5": "p_top5 is the sum of the five largest probabilities",
        "is-answer": "is_answer is true where the answer's rank is 1, without one where the top-1 text is Berlin",
        "entropy-collapse": "entropy_collapse is true where entropy ≤ 1.0 bit",
        "copy-collapse": "copy_collapse needs p_top1 > copy_thresh",
        "control-margin": "control_margin = p(Paris) − p(Berlin) in ctl rows where both have an id, else empty",
        "answer.presence": "p_answer and answer_rank are present where the pass's answer has an id",
        "json.keys": "an object has the contract's keys in their order",
        "json.type": "a value has the contract's type",
        "json.value": "a fixed value is the contract's",
        "json.layout": "indent 2, UTF-8 unescaped, floats as Python repr, no final newline",
        "topk.list": "a top-k list holds k pairs of token and descending float32 probability",
        "milestones": "a milestone is the first layer of pos/orig whose row satisfies it",
        "ablation": "ablation_summary follows from the rows of pos/orig and pos/no_filler",
        "control-summary": "control_summary follows from the control margins of the ctl rows",
        "last-layer": "last_layer_consistency agrees with layer n of pos/orig",
        "raw-lens.layers": "raw_lens_check samples the layers of its mode",
        "raw-lens.rows": "the norm side of a raw-lens sample agrees with its layer's row",
        "raw-lens.summary": "the raw-lens summary follows from its samples",
        "gold": "a gold answer's id, pieces, variant and alignment tell one story",
        "model-name": "the recorded model id ends in the name the files carry",
        "prism.files": "Prism files exist where the artifacts were usable, and only there",
        "prism.summary": "prism_summary's fields tell one story",
        "agreement.rows": "the agreement table has every two lenses, and each with the model, at every layer and pass",
        "agreement.range": "0 ≤ JS ≤ TV ≤ 1 in bits, and KL ≥ 2 TV² / ln 2",
        "agreement.model": "the KL of a lens to the model is that of its pure-next-token row",
        "answers.rows": "the answers table has every lens at every layer and the model at the last one",
        "answers.range": "p_joint = 2^−surprisal_bits, both in their range, of at least one token",
        "answers.first": "a whole answer is no likelier than its first token, and of one token just as likely",
        "residual.files": "residuals are saved for every layer 0 … n or for none",
        "residual.shape": "a saved residual is a finite float tensor [1, S, d]",
    }
)


@dataclass(frozen=True)
class Violation:
    """One broken rule: where (file, row in words, column), which rule, and the value that breaks it."""

    file: str
    row: str
    column: str
    rule: str
    value: str

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(
                f"a violation names a rule of RULES, got {self.rule!r}; add the rule there first"
            )

    @property
    def sentence(self) -> str:
        """What the rule demands."""
        return RULES[self.rule]

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.file, self.row, self.column) if part)
        return f"{where}: {self.rule}: {self.sentence}; got {self.value}"


def close(a: float, b: float) -> bool:
    """Whether two numbers of one run agree up to float32 rounding."""
    return abs(a - b) <= 2e-6 + 1e-4 * max(abs(a), abs(b))
