"""summaries → the JSON document, its keys in the order of the reference."""

from collections.abc import Mapping, Sequence
from typing import Any

from . import contracts
from .milestones import ablation_summary, control_summary, milestones
from .options import RunOptions
from .raw_check import raw_lens_check
from .records import COPY_WINDOW
from .types import Facts, Gold, PassResult


def diagnostics(facts: Facts, options: RunOptions, main: PassResult, prism: Mapping[str, Any]) -> dict[str, Any]:
    """Fixed strings and facts of the model, then the milestones of the first pass."""
    found = milestones(main.pure["norm"])
    head = {key: found.pop(key) for key in ("L_copy", "L_copy_H", "L_semantic", "delta_layers")}
    learned = facts.learned_positions
    mended = contracts.DIAGNOSTICS if options.corrected else {}
    transform = {"scale": facts.logit_scale, "softcap": facts.soft_cap} if options.corrected else None
    said = main.consistency | ({"cfg_transform": transform} if transform else {})
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
        "layer0_position_info": "additive_pos_embed_included" if learned else "token_only_rotary_model",
        "context_prompt": main.encoded.prompt.text,
        "target_prediction": f"first unseen token (likely '{main.encoded.prompt.answer}')",
        "prism_summary": dict(prism),
        **head,
        "copy_thresh": options.copy_threshold,
        "copy_window_k": COPY_WINDOW,
        "copy_match_level": "id_subsequence",
        **found,
        "gold_alignment": main.encoded.gold.alignment,
        "last_layer_consistency": said,
    }


def gold_block(gold: Gold) -> dict[str, Any]:
    block = {"string": gold.string, "pieces": list(gold.pieces), "first_id": gold.first_id}
    return block | {"answer_ids": list(gold.answer_ids), "variant": gold.variant}


def model_stats(facts: Facts) -> dict[str, Any]:
    keys = ("n_heads", "d_vocab", "n_ctx")
    head = {"type": "model_stats", "num_layers": facts.n_layers, "d_model": facts.d_model}
    return head | {key: getattr(facts, key) for key in keys} | {"architecture": "pre_norm"}


def document(
    facts: Facts, options: RunOptions, passes: Sequence[PassResult], probes: Mapping[str, Any], prism: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole `output-<clean>.json` of the passes main, ablation and control."""
    main, ablation, control = passes
    prompt = {"type": "prompt", "context_prompt": main.encoded.prompt.text, "ground_truth": main.encoded.prompt.answer}
    control_gold = {"gold_answer": gold_block(control.encoded.gold), "gold_alignment": control.encoded.gold.alignment}
    return {
        **(contracts.heading() if options.corrected else {}),
        "prompt": prompt,
        "test_prompts": probes["test_prompts"],
        "temperature_exploration": probes["temperature_exploration"],
        "diagnostics": diagnostics(facts, options, main, prism),
        "final_prediction": probes["final_prediction"],
        "model_stats": model_stats(facts),
        "raw_lens_check": raw_lens_check(options.raw_lens, main.raw_samples),
        "ablation_summary": ablation_summary(main.pure["norm"], ablation.pure["norm"]),
        "control_prompt": {"context_prompt": control.encoded.prompt.text} | control_gold,
        "control_summary": control_summary(control.pure["norm"]),
        "gold_answer": gold_block(main.encoded.gold),
    }
