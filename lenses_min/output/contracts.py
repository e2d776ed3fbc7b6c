"""What the corrected contract does otherwise than the reference, by the ids of the defects' ledger.

`rank` is not in that ledger: it came out of comparing with float64.
"""

from collections.abc import Collection

DIFFERENCES = {
    "R1": "the model's own norm module is called, LayerNorm with its centring and bias",
    "R2": "layernorm_bias_fix, norm_alignment_fix and layer0_norm_fix say what is done here",
    "R3": "the model's own soft cap or logit scale is applied to the logits of every lens; cfg_transform reports it",
    "R4": "records have every layer and position",
    "R5": "CSV in the dialect of Python's csv module; a text that would be read as something else is a JSON string",
    "R6": "where an answer has no id, is_answer compares with the pass's own answer",
    "R7": "Prism records have the rows of the norm lens",
    "rank": "answer_rank counts logits: probabilities too small for float32 tie at 0",
}
# Told where they bite: on this checkpoint or on these prompts the reference reads other tokens.
CONDITIONAL = {
    "R14": "before a prompt stands what tokenizer and configuration declare; no EOS is lent, no BOS doubled",
    "R15": "an answer joins its prompt as text does; the prompt's tokens stay, no lone space or unknown token counts",
}
# The strings of `diagnostics` that R2 is about.
DIAGNOSTICS = {
    "layernorm_bias_fix": "model_norm_module_called",
    "norm_alignment_fix": "norm_that_reads_the_layer_next",
    "layer0_norm_fix": "norm_that_reads_the_embeddings",
}


def heading(defects: Collection[str]) -> dict[str, object]:
    """The first keys of a corrected document; `defects` are those of CONDITIONAL that bite on its prompts."""
    told = DIFFERENCES | {key: text for key, text in CONDITIONAL.items() if key in defects}
    return {
        "contract": "corrected",
        "differs": [{"id": key, "corrected": text} for key, text in told.items()],
    }
