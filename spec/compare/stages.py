"""What every column is made of, in the order in which a run computes it: the guide from a mismatch to its cause.

The first stage that differs is the place to look at; what comes after it is computed from it. A column or key that the
contract does not have is of no known stage, and may belong anywhere.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from ..runs.listing import TABLE_KINDS
from ..schema.document import CORRECTED_DOCUMENT, DOCUMENT, Items, TopK, suite_document
from .bytewise import BYTES, TEXT
from .recorder import Mismatch


@dataclass(frozen=True)
class Meaning:
    """One kind of column: a pattern of `part: column`, the stage that computes it, and its definition in a sentence."""

    pattern: str
    stage: str
    definition: str


UNKNOWN = "unknown"
CONTENT = "content"  # the column of a file that is compared by its bytes
FLOW = (
    Meaning(r"run: .*", "run", "what the runner itself says of a case, or how it ended"),
    Meaning(
        r"[^:]*: (|end|layout)",
        "files",
        "which files a run writes, whether they can be read, and how they are laid out",
    ),
    Meaning(
        r"[^:]*: (prompt_id|prompt_variant|layer|pos|token|lens|against|row|row order)",
        "rows",
        "which rows there are: the passes, lenses, layers 0 … n, positions, and the text of each id decoded alone",
    ),
    Meaning(
        r"json: (passes|passes\[\]|passes\[\]\.(prompt_id|prompt_variant|context_prompt|control))",
        "rows",
        "the prompts of one's own, a block each, and which pass is the control of which",
    ),
    Meaning(
        r"json: (model_stats|gold_answer|control_prompt|diagnostics\.gold_alignment"
        r"|passes\[\]\.gold_(answer|alignment)).*",
        "tokens",
        "prompt → token ids: the BOS rule of the family and where the answer starts",
    ),
    Meaning(
        r"answers: (answer|n_tokens)",
        "tokens",
        "the whole answer of a pass and its number of tokens",
    ),
    Meaning(
        r"json: (passes\[\]\.)?(final_prediction|test_prompts|temperature_exploration)(?!.*\.entropy$).*",
        "forward",
        "the model's own output without a lens: prompt, BOS, weights, dtype, softmax over the vocabulary",
    ),
    Meaning(
        r"residual: .*", "forward", "the residual of a layer after that layer's norm, [1, S, d]"
    ),
    Meaning(
        r"[^:]*: (top|prob)\*|[^:]*: p_top[15]",
        "lens",
        "softmax of z = norm(x) @ W_U + b_U, float32; layer 0 uses the first block's norm, layer l the next block's, "
        "layer n the final one; Prism whitens and rotates after the norm; k = 20 at the last position and at "
        "keywords, else 5; p_top5 sums the five largest",
    ),
    Meaning(
        r"[^:]*: rest_mass",
        "lens",
        "max(0, 1 − Σ listed probabilities), summed left to right in Python floats",
    ),
    Meaning(r"[^:]*: (.*\.)?entropy", "metrics", "−Σ p log2 p from log-softmax, in bits"),
    Meaning(
        r"[^:]*: kl_to_final_bits",
        "metrics",
        "Σ p (ln(p + 1e-30) − ln(q + 1e-30)) / ln 2: from the lens (p) to the model's own final output (q)",
    ),
    Meaning(r"[^:]*: cos_to_final", "metrics", "cosine of the lens logits and the final logits"),
    Meaning(
        r"[^:]*: (p_answer|answer_rank)",
        "metrics",
        "probability of the pass's own answer (Berlin, in the control pass Paris), and 1 + #{p > p_answer}",
    ),
    Meaning(
        r"[^:]*: control_margin",
        "metrics",
        "control pass alone: p(first id of Paris) − p(first id of Berlin)",
    ),
    Meaning(
        r"agreement: (kl_bits|js_bits|tv|top1_agree)",
        "metrics",
        "how far two distributions are apart: KL(p‖q), Jensen–Shannon (Lin 1991), Σ |p − q| / 2, the likeliest token",
    ),
    Meaning(
        r"answers: (p_joint|surprisal_bits)",
        "metrics",
        "Π p(token | prompt, tokens before it) over the answer's tokens, and −log2 of it",
    ),
    Meaning(
        r"[^:]*: copy_collapse",
        "flags",
        "the window of the last top-1 ids is in the prompt, p₁ > threshold and p₁ − p₂ > margin; one window per "
        "lens, prompt and variant",
    ),
    Meaning(r"[^:]*: entropy_collapse", "flags", "entropy ≤ 1 bit"),
    Meaning(
        r"[^:]*: is_answer", "flags", "answer_rank = 1; without an id, the top-1 text is the answer"
    ),
    Meaning(
        r"json: (diagnostics|passes\[\])\.last_layer_consistency.*",
        "summaries",
        "layer n of pos/orig: the lens against the model's own output, and the best temperature of 25",
    ),
    Meaning(
        r"json: (passes\[\]\.)?raw_lens_check.*",
        "summaries",
        "sampled layers of pos/orig: the lens with its norm against the bare W_U on the un-normalised residual",
    ),
    Meaning(
        r"json: ((diagnostics|passes\[\])\.(L_|delta_|first_kl_|first_rank_|copy_).*|ablation_summary.*"
        r"|(passes\[\]\.)?control_summary.*)",
        "milestones",
        "the first layer of pos/orig (or of the ablation or control pass) at which a flag holds",
    ),
    Meaning(r"json: .*", "document", "facts and fixed strings of the run"),
    Meaning(r".*", UNKNOWN, "nothing that the contract knows: it may be computed at any stage"),
)
STAGES = tuple(dict.fromkeys(meaning.stage for meaning in FLOW))


def meaning_of(name: str) -> Meaning:
    """What `part: column` means, as `part_of` and `column_of` name it."""
    known = not name.startswith("json: ") or name.removeprefix("json: ") in json_columns()
    return next(m for m in FLOW if re.fullmatch(m.pattern, name)) if known else FLOW[-1]


@cache
def json_columns() -> frozenset[str]:
    """Every column of the documents that the contract has: its leaves, and all that they stand in."""
    shapes = (DOCUMENT, CORRECTED_DOCUMENT, suite_document(False), suite_document(True))
    return frozenset({"", "layout", *(name for shape in shapes for name in names_of("", shape))})


def names_of(prefix: str, shape: Any) -> Iterator[str]:
    """The columns of a shape: mappings, lists and leaves; a tuple holds alternatives."""
    yield prefix
    if isinstance(shape, tuple):
        for alternative in shape:
            yield from names_of(prefix, alternative)
    elif isinstance(shape, Mapping):
        for key, inner in shape.items():
            yield from names_of(f"{prefix}.{key}".lstrip("."), inner)
    elif isinstance(shape, Items):
        yield from names_of(f"{prefix}[]", shape.item)
    elif isinstance(shape, TopK):
        yield from (f"{prefix}[]{end}" for end in ("", "[]", ".token", ".p"))


@lru_cache(maxsize=4096)
def part_of(file: str) -> str:
    """What a file holds: a table kind, json, residual; of another file its name, of none `run`."""
    if table := re.search(
        rf"-({'|'.join(sorted(TABLE_KINDS, key=len, reverse=True))})\.csv$", file
    ):
        return table[1]
    if file.endswith("_resid.pt"):
        return "residual"
    return "json" if re.fullmatch(r"output-[^/]*\.json", file) else file or "run"


@lru_cache(maxsize=4096)
def general(name: str) -> str:
    """A column or place without the numbers of lists and top-k pairs."""
    return re.sub(r"\[\d+\]", "[]", re.sub(r"^(top|prob)\d+$", r"\1*", name))


def column_of(mismatch: Mismatch) -> str:
    """The column that a mismatch counts for, without numbers; a JSON leaf by its whole path; "" for a whole file."""
    if mismatch.kind in (TEXT, BYTES):
        return CONTENT
    if part_of(mismatch.file) == "json":
        inside = mismatch.row.removeprefix("top level")
        return general(".".join(filter(None, (inside, mismatch.column))))
    whole = mismatch.kind.endswith((" row", "row order", "row width"))
    return "row" if whole else general(mismatch.column)


def column_name(mismatch: Mismatch) -> str:
    """`part: column` of a mismatch."""
    return f"{part_of(mismatch.file)}: {column_of(mismatch)}"
