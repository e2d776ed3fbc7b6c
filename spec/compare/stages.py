"""The stage that computes each column, in the order of computation: the guide from a mismatch to its cause.

A user looks at the first stage that differs first; later stages are computed from it. A column or key that the
contract does not have is of no known stage, and may belong to any.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from ..runs.listing import DOCUMENT_PART, RESIDUAL_PART
from ..runs.places import ITEM
from ..schema.document import CORRECTED_DOCUMENT, DOCUMENT, Items, TopK, suite_document
from .column import ROW, Column, Steps


@dataclass(frozen=True)
class Meaning:
    """The columns that one stage computes in one way, and their definition in a sentence."""

    covers: Callable[[Column], bool]
    stage: str
    definition: str


def named(*names: str, part: str = "") -> Callable[[Column], bool]:
    """Columns of these names, of any part where none is given; "" is a file as a whole."""
    known = {(name,) if name else () for name in names}
    return lambda column: column.steps in known and part in ("", column.part)


def all_of(part: str) -> Callable[[Column], bool]:
    """Every column of a part."""
    return lambda column: column.part == part


def below(*paths: Steps) -> Callable[[Column], bool]:
    """JSON values at these paths or inside them."""
    return lambda column: (
        column.part == DOCUMENT_PART and any(column.steps[: len(path)] == path for path in paths)
    )


def at(*paths: Steps) -> Callable[[Column], bool]:
    """JSON values at these paths alone."""
    return lambda column: column.part == DOCUMENT_PART and column.steps in paths


def in_blocks(*names: str, top: bool = False) -> tuple[Steps, ...]:
    """These keys in the diagnostics, or at the top where `top`, and in the block of each pass."""
    return tuple(
        path
        for name in names
        for path in ((name,) if top else ("diagnostics", name), ("passes", ITEM, name))
    )


def is_entropy(column: Column) -> bool:
    """Whether the column is an entropy of a table or of a document."""
    return column.steps[-1:] == ("entropy",)


def is_forward(column: Column) -> bool:
    """Whether the value belongs to the model's own output, the entropies left out."""
    own = in_blocks("final_prediction", "test_prompts", "temperature_exploration", top=True)
    return below(*own)(column) and not is_entropy(column)


def is_milestone(column: Column) -> bool:
    """Whether the value is a milestone, or belongs to a summary of milestones."""
    summaries = (("ablation_summary",), *in_blocks("control_summary", top=True))
    block = column.steps[:-1] in (("diagnostics",), ("passes", ITEM))
    names = ("L_", "delta_", "first_kl_", "first_rank_", "copy_")
    own = column.part == DOCUMENT_PART and block and column.steps[-1].startswith(names)
    return own or below(*summaries)(column)


UNKNOWN = "unknown"
TAGS = ("passes", ITEM, "tags")  # its keys are a user's
FLOW = (
    Meaning(all_of("run"), "run", "what the runner itself says of a case, or how it ended"),
    Meaning(
        named("", "end", "layout"),
        "files",
        "which files a run writes, whether they can be read, and how they are laid out",
    ),
    Meaning(
        named("prompt_id", "prompt_variant", "layer", "pos", "token", "lens", "against", ROW),
        "rows",
        "which rows there are: the passes, lenses, layers 0 … n, positions, and the text of each id decoded alone",
    ),
    Meaning(
        at(
            ("passes",),
            ("passes", ITEM),
            *(
                ("passes", ITEM, name)
                for name in ("prompt_id", "prompt_variant", "context_prompt", "control")
            ),
        ),
        "rows",
        "the prompts of one's own, a block each, and which pass is the control of which",
    ),
    Meaning(below(TAGS), "rows", "the groups that a pass of one's own belongs to in statistics"),
    Meaning(
        below(
            ("model_stats",),
            ("gold_answer",),
            ("control_prompt",),
            ("diagnostics", "gold_alignment"),
            ("passes", ITEM, "gold_answer"),
            ("passes", ITEM, "gold_alignment"),
        ),
        "tokens",
        "prompt → token ids: the BOS rule of the family and where the answer starts",
    ),
    Meaning(
        named("answer", "n_tokens", part="answers"),
        "tokens",
        "the whole answer of a pass and its number of tokens",
    ),
    Meaning(
        is_forward,
        "forward",
        "the model's own output without a lens: prompt, BOS, weights, dtype, softmax over the vocabulary",
    ),
    Meaning(
        all_of(RESIDUAL_PART),
        "forward",
        "the residual of a layer after that layer's norm, [1, S, d]",
    ),
    Meaning(
        named("top*", "prob*", "p_top1", "p_top5"),
        "lens",
        "softmax of z = norm(x) @ W_U + b_U, float32; layer 0 uses the first block's norm, layer l the next block's, "
        "layer n the final one; Prism whitens and rotates after the norm; k = 20 at the last position and at "
        "keywords, else 5; p_top5 sums the five largest",
    ),
    Meaning(
        named("rest_mass"),
        "lens",
        "max(0, 1 − Σ listed probabilities), summed left to right in Python floats",
    ),
    Meaning(is_entropy, "metrics", "−Σ p log2 p from log-softmax, in bits"),
    Meaning(
        named("kl_to_final_bits"),
        "metrics",
        "Σ p (ln(p + 1e-30) − ln(q + 1e-30)) / ln 2: from the lens (p) to the model's own final output (q)",
    ),
    Meaning(named("cos_to_final"), "metrics", "cosine of the lens logits and the final logits"),
    Meaning(
        named("p_answer", "answer_rank"),
        "metrics",
        "probability of the pass's own answer (Berlin, in the control pass Paris), and 1 + #{p > p_answer}",
    ),
    Meaning(
        named("control_margin"),
        "metrics",
        "control pass alone: p(first id of Paris) − p(first id of Berlin)",
    ),
    Meaning(
        named("kl_bits", "js_bits", "tv", "top1_agree", part="agreement"),
        "metrics",
        "how far two distributions are apart: KL(p‖q), Jensen–Shannon (Lin 1991), Σ |p − q| / 2, the likeliest token",
    ),
    Meaning(
        named("p_joint", "surprisal_bits", part="answers"),
        "metrics",
        "Π p(token | prompt, tokens before it) over the answer's tokens, and −log2 of it",
    ),
    Meaning(
        named("copy_collapse"),
        "flags",
        "the window of the last top-1 ids is in the prompt, p₁ > threshold and p₁ − p₂ > margin; one window per "
        "lens, prompt and variant",
    ),
    Meaning(named("entropy_collapse"), "flags", "entropy ≤ 1 bit"),
    Meaning(
        named("is_answer"),
        "flags",
        "answer_rank = 1; without an id, the top-1 text is the answer",
    ),
    Meaning(
        below(*in_blocks("last_layer_consistency")),
        "summaries",
        "layer n of pos/orig: the lens against the model's own output, and the best temperature of 25",
    ),
    Meaning(
        below(*in_blocks("raw_lens_check", top=True)),
        "summaries",
        "sampled layers of pos/orig: the lens with its norm against the bare W_U on the un-normalised residual",
    ),
    Meaning(
        is_milestone,
        "milestones",
        "the first layer of pos/orig (or of the ablation or control pass) at which a flag holds",
    ),
    Meaning(all_of(DOCUMENT_PART), "document", "facts and fixed strings of the run"),
    Meaning(
        lambda column: True,
        UNKNOWN,
        "nothing that the contract knows: it may be computed at any stage",
    ),
)
STAGES = tuple(dict.fromkeys(meaning.stage for meaning in FLOW))


@lru_cache(maxsize=4096)
def meaning_of(column: Column) -> Meaning:
    """The first meaning of FLOW that covers a column; unknown where no document has such a key."""
    steps = TAGS if column.steps[: len(TAGS)] == TAGS else column.steps
    if column.part == DOCUMENT_PART and steps not in json_columns():
        return FLOW[-1]
    return next(meaning for meaning in FLOW if meaning.covers(column))


@cache
def json_columns() -> frozenset[Steps]:
    """Every column of the contract's documents: the leaves, and the objects and lists around them."""
    shapes = (DOCUMENT, CORRECTED_DOCUMENT, suite_document(False))
    return frozenset(
        {(), ("layout",), *(steps for shape in shapes for steps in steps_in((), shape))}
    )


def steps_in(prefix: Steps, shape: Any) -> Iterator[Steps]:
    """The columns of a shape: mappings, lists and leaves; a tuple holds alternatives."""
    yield prefix
    if isinstance(shape, tuple):
        for alternative in shape:
            yield from steps_in(prefix, alternative)
    elif isinstance(shape, Mapping):
        for key, inner in shape.items():
            yield from steps_in((*prefix, key), inner)
    elif isinstance(shape, Items):
        yield from steps_in((*prefix, ITEM), shape.item)
    elif isinstance(shape, TopK):
        pair = (*prefix, ITEM)
        yield from (pair, (*pair, ITEM), (*pair, "token"), (*pair, "p"))
