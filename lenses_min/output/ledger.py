"""The reference's defects by id: what each does to a run, how it shows, and what the corrected contract does instead.

One table feeds the warnings of a run, the list `differs` of a corrected document, and what the report says of runs
without a manifest. R8 to R13 are reproduced under no contract, so they have no entry. `rank` has no number: comparing
with float64 showed it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..options import CORRECTED, REFERENCE, contract_of
from .run import block


@dataclass(frozen=True)
class Defect:
    """One defect. The texts of warnings are templates for `str.format`; empty where there is no such warning.

    `corrected`: what the corrected contract does instead.
    `conditional`: a corrected document lists it only where a prompt of the run has it, see `Encoded.defects`.
    `on_model`: whether it changes the numbers of a model, by its `ModelInfo`; `model_warning` has the field `family`.
    `run_warning`: of all prompts; `prompt_warning`: of the prompts that `prompts` lists, with further fields.
    `in_document`: whether a document shows it; `shown` then has the field `kl`, the KL at the last layer in words.
    """

    id: str
    corrected: str
    conditional: bool = False
    on_model: Callable[[Any], bool] = lambda facts: False
    model_warning: str = ""
    run_warning: str = ""
    prompt_warning: str = ""
    in_document: Callable[[Mapping[str, Any]], bool] = lambda document: False
    shown: str = ""


def shows_layernorm(document: Mapping[str, Any]) -> bool:
    """Whether a reference document names LayerNorm as one of the norms that it reports."""
    diagnostics = block(document, "diagnostics")
    kinds = [diagnostics.get(key) for key in ("first_block_ln1_type", "final_ln_type")]
    return "LayerNorm" in kinds and contract_of(document) is REFERENCE


def shows_high_kl(document: Mapping[str, Any]) -> bool:
    """Whether the last layer is reported as far from the model's own output."""
    consistency = block(document, "diagnostics", "last_layer_consistency")
    return bool(consistency.get("warn_high_last_layer_kl"))


DEFECTS = (
    Defect(
        id="R1",
        corrected="the model's own norm module is called, LayerNorm with its centring and bias",
        on_model=lambda facts: "LayerNorm" in (facts.first_norm, facts.final_norm),
        model_warning=(
            "R1: {family} uses LayerNorm, read through the RMS formula without centring or bias: every lens "
            "column is off, and the last layer does not equal the model's own output"
        ),
        in_document=shows_layernorm,
        shown="R1: LayerNorm is read through the RMS formula: every lens column is off",
    ),
    Defect(
        id="R2",
        corrected="layernorm_bias_fix, norm_alignment_fix and layer0_norm_fix say what is done here",
    ),
    Defect(
        id="R3",
        corrected=(
            "the model's own soft cap or logit scale is applied to the logits of every lens; "
            "cfg_transform reports it"
        ),
        on_model=lambda facts: facts.output_transform,
        model_warning=(
            "R3: the model's soft cap or logit scale is not applied to lens logits: lens probabilities and "
            "kl_to_final_bits are off at every layer"
        ),
        in_document=shows_high_kl,
        shown=(
            "R3: the last layer is {kl} from the model's own output, "
            "probably for a soft cap or logit scale that was left out"
        ),
    ),
    Defect(id="R4", corrected="records have every layer and position"),
    Defect(
        id="R5",
        corrected=(
            "CSV in the dialect of Python's csv module; a text that would be read as something else "
            "is a JSON string"
        ),
    ),
    Defect(
        id="R6",
        corrected="where an answer has no id, is_answer compares with the pass's own answer",
    ),
    Defect(id="R7", corrected="Prism records have the rows of the norm lens"),
    Defect(
        id="rank",
        corrected="answer_rank counts logits: probabilities too small for float32 tie at 0",
    ),
    Defect(
        id="R14",
        corrected=(
            "before a prompt stands what tokenizer and configuration declare; no EOS is lent, no BOS doubled"
        ),
        conditional=True,
        run_warning=(
            "R14: the model reads {read} before every prompt ({rule}), where its makers meant "
            "{declared} ({declared_rule}): every number depends on it; "
            "--contract corrected or --bos changes it"
        ),
        prompt_warning="R14: {prompts}: the text begins with BOS, and the model reads it twice",
    ),
    Defect(
        id="R15",
        corrected=(
            "an answer joins its prompt as text does; the prompt's tokens stay, "
            "no lone space or unknown token counts"
        ),
        conditional=True,
        prompt_warning=(
            "R15: {prompts}: the gold ids are the reference's, not those that follow the prompt{note}"
        ),
    ),
)
BY_ID = {defect.id: defect for defect in DEFECTS}
# The strings of `diagnostics` that R2 is about, under the corrected contract.
DIAGNOSTICS = {
    "layernorm_bias_fix": "model_norm_module_called",
    "norm_alignment_fix": "norm_that_reads_the_layer_next",
    "layer0_norm_fix": "norm_that_reads_the_embeddings",
}


def heading(prompt_defects: Collection[str]) -> dict[str, object]:
    """The first keys of a corrected document; `prompt_defects`: the ids of the defects that its prompts have."""
    listed = [d for d in DEFECTS if not d.conditional or d.id in prompt_defects]
    return {
        "contract": CORRECTED.name,
        "differs": [{"id": defect.id, "corrected": defect.corrected} for defect in listed],
    }
