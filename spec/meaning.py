"""What every column is made of, in the order in which a run computes it: the guide from a mismatch to its cause.

The first stage that differs is the place to look at; what comes after it is computed from it.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """One kind of column: a pattern of `part: column`, the stage that computes it, and its definition in a sentence."""

    pattern: str
    stage: str
    definition: str


FLOW = (
    Meaning(r"run: .*", "run", "what the runner itself says of a case, or how it ended"),
    Meaning(r"[^:]*: ", "files", "which files a run writes, and whether they can be read"),
    Meaning(
        r"[^:]*: (prompt_id|prompt_variant|layer|pos|token|row|row order|column|column order)",
        "rows",
        "which rows there are: the passes, layers 0 … n, positions, and the text of each id decoded alone",
    ),
    Meaning(
        r"json: (model_stats|gold_answer|control_prompt|diagnostics\.gold_alignment).*",
        "tokens",
        "prompt → token ids: the BOS rule of the family and where the answer starts",
    ),
    Meaning(
        r"json: (final_prediction|test_prompts|temperature_exploration)(?!.*\.entropy$).*",
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
        r"json: diagnostics\.last_layer_consistency.*",
        "summaries",
        "layer n of pos/orig: the lens against the model's own output, and the best temperature of 25",
    ),
    Meaning(
        r"json: raw_lens_check.*",
        "summaries",
        "sampled layers of pos/orig: the lens with its norm against the bare W_U on the un-normalised residual",
    ),
    Meaning(
        r"json: (diagnostics\.(L_|delta|first_).*|ablation_summary.*|control_summary.*|diagnostics\.copy.*)",
        "milestones",
        "the first layer of pos/orig (or of the ablation or control pass) at which a flag holds",
    ),
    Meaning(r"json: .*", "document", "facts and fixed strings of the run"),
    Meaning(r".*", "unknown", "a column that the contract does not know"),
)
STAGES = tuple(dict.fromkeys(meaning.stage for meaning in FLOW))


def meaning_of(name: str) -> Meaning:
    """What `part: column` means, as `render.group` names it."""
    return next(meaning for meaning in FLOW if re.fullmatch(meaning.pattern, name))
