"""summaries → the JSON document, its keys in the order of the reference."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..core.milestones import ablation_summary, control_summary, milestones
from ..core.raw_lens import raw_lens_check
from ..core.records import COPY_WINDOW
from ..core.types import Gold, ModelInfo, PassResult
from ..options import RunOptions
from . import ledger


def of_model(facts: ModelInfo, options: RunOptions) -> dict[str, Any]:
    """Fixed strings and facts of the model."""
    learned, mended = (
        facts.learned_positions,
        ledger.DIAGNOSTICS if options.rules.model_norms else {},
    )
    return {
        "type": "diagnostics",
        "model": options.model_id,
        "device": facts.device,
        "use_norm_lens": True,
        "use_fp32_unembed": facts.dtype != "float32",
        "unembed_dtype": "torch.float32",
        "first_block_ln1_type": facts.first_norm,
        "final_ln_type": facts.final_norm,
        "layernorm_bias_fix": "not_needed_rms_model",
        "norm_alignment_fix": "using_ln2_rmsnorm_for_post_block",
        "layer0_norm_fix": "using_real_ln1_on_embeddings",
        **mended,
        "mixed_precision_fix": "casting_to_fp32_before_unembed",
        "layer0_position_info": "additive_pos_embed_included"
        if learned
        else "token_only_rotary_model",
    }


def last_layer(
    facts: ModelInfo, options: RunOptions, consistency: Mapping[str, Any]
) -> dict[str, Any]:
    """The consistency of a pass; the corrected contract names the model's own output transform in it (R3)."""
    transform = {"cfg_transform": {"scale": facts.logit_scale, "softcap": facts.soft_cap}}
    return {**consistency, **(transform if options.rules.output_transform else {})}


def heading(options: RunOptions, defects: Collection[str]) -> dict[str, Any]:
    """The first keys of a corrected document; a reference document has none of them.

    `defects` are those of R14 and R15 that its prompts have.
    """
    return ledger.heading(defects) if options.rules.lists_differences else {}


def copy_rule(options: RunOptions) -> dict[str, Any]:
    rule = {"copy_thresh": options.copy_threshold, "copy_window_k": COPY_WINDOW}
    return rule | {"copy_match_level": "id_subsequence"}


def diagnostics(
    facts: ModelInfo, options: RunOptions, main: PassResult, prism: Mapping[str, Any]
) -> dict[str, Any]:
    """What is known of the model, then the milestones of the first pass."""
    first_layers = milestones(main.pure["norm"])
    head = {
        key: first_layers.pop(key) for key in ("L_copy", "L_copy_H", "L_semantic", "delta_layers")
    }
    return {
        **of_model(facts, options),
        "context_prompt": main.encoded.prompt.text,
        "target_prediction": f"first unseen token (likely '{main.encoded.prompt.answer}')",
        "prism_summary": dict(prism),
        **head,
        **copy_rule(options),
        **first_layers,
        "gold_alignment": main.encoded.gold.alignment,
        "last_layer_consistency": last_layer(facts, options, main.consistency),
    }


def gold_block(gold: Gold) -> dict[str, Any]:
    block = {"string": gold.string, "pieces": list(gold.pieces), "first_id": gold.first_id}
    return block | {"answer_ids": list(gold.answer_ids), "variant": gold.variant}


def model_stats(facts: ModelInfo) -> dict[str, Any]:
    keys = ("n_heads", "d_vocab", "n_ctx")
    head = {"type": "model_stats", "num_layers": facts.n_layers, "d_model": facts.d_model}
    return head | {key: getattr(facts, key) for key in keys} | {"architecture": "pre_norm"}


def document(
    facts: ModelInfo,
    options: RunOptions,
    passes: Sequence[PassResult],
    test_prompts: Sequence[Mapping[str, Any]],
    prism: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole `output-<name>.json` of the passes main, ablation and control."""
    main, ablation, control = passes
    defects = {defect for result in passes for defect in result.encoded.defects}
    prompt = {
        "type": "prompt",
        "context_prompt": main.encoded.prompt.text,
        "ground_truth": main.encoded.prompt.answer,
    }
    control_gold = {
        "gold_answer": gold_block(control.encoded.gold),
        "gold_alignment": control.encoded.gold.alignment,
    }
    return {
        **heading(options, defects),
        "prompt": prompt,
        "test_prompts": list(test_prompts),
        "temperature_exploration": main.predictions["temperature_exploration"],
        "diagnostics": diagnostics(facts, options, main, prism),
        "final_prediction": main.predictions["final_prediction"],
        "model_stats": model_stats(facts),
        "raw_lens_check": raw_lens_check(options.raw_lens, main.raw_samples),
        "ablation_summary": ablation_summary(main.pure["norm"], ablation.pure["norm"]),
        "control_prompt": {"context_prompt": control.encoded.prompt.text} | control_gold,
        "control_summary": control_summary(control.pure["norm"]),
        "gold_answer": gold_block(main.encoded.gold),
    }
