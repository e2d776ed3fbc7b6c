"""The shape of `output-<name>.json`: keys in order, types, and the values that never change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..runs.columns import MOST_LAYERS

POSITIVE = "Give the city name only, plain text. The capital of Germany is called simply"
CONTROL = "Give the city name only, plain text. The capital of France is called simply"
TEST_PROMPTS = (
    "Berlin is the capital of",
    "Germany's capital city is called simply",
    "The capital city of Germany is named simply",
    "Germany has its capital at the city called simply",
    "In Germany the capital city is simply",
    "Germany's capital city is called",
    "The capital city of Germany is named",
    "Germany has its capital at",
    "In Germany the capital city is known as",
    "Give the country name only, plain text. Berlin is the capital of",
    "Give the city name only, plain text. Germany's capital city is called",
    "Give the city name only, plain text. The capital city of Germany is named simply",
    "Give the city name only, plain text. Germany has its capital at",
    "Give the city name only, plain text. In Germany, the capital city is known as",
)


@dataclass(frozen=True)
class Leaf:
    """A value of one of these JSON types; where `choices` are given, one of them."""

    types: tuple[str, ...]
    choices: Sequence[Any] = ()

    def __post_init__(self) -> None:
        if not self.types:
            raise ValueError("a leaf allows at least one JSON type, got none; name the types")


@dataclass(frozen=True)
class Items:
    """A list of items of one shape."""

    item: Any


@dataclass(frozen=True)
class Texts:
    """An object of texts under any names. Its key is left out where it would be empty."""


@dataclass(frozen=True)
class TopK:
    """A list of [token, probability] pairs, k of them where the vocabulary suffices."""

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"a top-k list has k ≥ 1, got {self.k}; say how many pairs are listed")


def const(value: Any) -> Leaf:
    return Leaf(({str: "string", bool: "bool", int: "int", float: "float"}[type(value)],), (value,))


def one_of(*values: str) -> Leaf:
    return Leaf(("string",), values)


STRING, BOOL, INT, FLOAT = Leaf(("string",)), Leaf(("bool",)), Leaf(("int",)), Leaf(("float",))
MAYBE_INT, MAYBE_FLOAT, NULL = Leaf(("int", "null")), Leaf(("float", "null")), Leaf(("null",))
MAYBE_STRING = Leaf(("string", "null"))
MILESTONES = (
    *(
        "L_copy",
        "L_copy_H",
        "L_semantic",
        "delta_layers",
        "copy_thresh",
        "copy_window_k",
        "copy_match_level",
    ),
    *(
        "first_kl_below_0.5",
        "first_kl_below_1.0",
        "first_rank_le_1",
        "first_rank_le_5",
        "first_rank_le_10",
    ),
)
CONSISTENCY = {
    "kl_to_final_bits": FLOAT,
    "top1_agree": BOOL,
    "p_top1_lens": FLOAT,
    "p_top1_model": FLOAT,
    "p_answer_lens": MAYBE_FLOAT,
    "answer_rank_lens": MAYBE_INT,
    "temp_est": FLOAT,
    "kl_after_temp_bits": FLOAT,
    "cfg_transform": {"scale": NULL, "softcap": NULL},
    "kl_after_transform_bits": {"scale": NULL, "softcap": NULL, "scale_then_softcap": NULL},
    "warn_high_last_layer_kl": BOOL,
}
PRISM = {
    "mode": one_of("auto", "on", "off"),
    "artifact_path": MAYBE_STRING,
    "present": BOOL,
    "compatible": BOOL,
    "k": MAYBE_INT,
    "layers": (Items(Leaf(("int", "string"))), NULL),
    "error": MAYBE_STRING,
}
GOLD = {
    "string": STRING,
    "pieces": Items(STRING),
    "first_id": MAYBE_INT,
    "answer_ids": Items(INT),
    "variant": one_of("with_space", "no_space", "unknown"),
}
ALIGNMENT = one_of("ok", "unresolved")
DIAGNOSTICS: Mapping[str, Any] = {
    "type": const("diagnostics"),
    "model": STRING,
    "device": STRING,
    "use_norm_lens": const(True),
    "use_fp32_unembed": BOOL,
    "unembed_dtype": STRING,
    "first_block_ln1_type": STRING,
    "final_ln_type": STRING,
    "layernorm_bias_fix": const("not_needed_rms_model"),
    "norm_alignment_fix": const("using_ln2_rmsnorm_for_post_block"),
    "layer0_norm_fix": const("using_real_ln1_on_embeddings"),
    "mixed_precision_fix": const("casting_to_fp32_before_unembed"),
    "layer0_position_info": one_of("token_only_rotary_model", "additive_pos_embed_included"),
    "context_prompt": const(POSITIVE),
    "target_prediction": const("first unseen token (likely 'Berlin')"),
    "prism_summary": PRISM,
    **dict.fromkeys(MILESTONES, MAYBE_INT),
    "copy_thresh": FLOAT,
    "copy_window_k": const(1),
    "copy_match_level": const("id_subsequence"),
    "gold_alignment": ALIGNMENT,
    "last_layer_consistency": CONSISTENCY,
}
STATS = {
    "type": const("model_stats"),
    "num_layers": Leaf(("int",), range(MOST_LAYERS + 1)),
    **dict.fromkeys(("d_model", "n_heads", "d_vocab", "n_ctx"), INT),
    "architecture": one_of("pre_norm", "post_norm"),
}
SAMPLE = {
    "layer": INT,
    "kl_norm_vs_raw_bits": FLOAT,
    "top1_agree": BOOL,
    **dict.fromkeys(("p_top1_norm", "p_top1_raw"), FLOAT),
    **dict.fromkeys(("p_answer_norm", "p_answer_raw"), MAYBE_FLOAT),
    **dict.fromkeys(("answer_rank_norm", "answer_rank_raw"), MAYBE_INT),
    **dict.fromkeys(("is_answer_norm", "is_answer_raw"), BOOL),
}
RAW_SUMMARY = {
    "first_norm_only_semantic_layer": MAYBE_INT,
    "max_kl_norm_vs_raw_bits": MAYBE_FLOAT,
    "lens_artifact_risk": Leaf(("string", "null"), ("low", "medium", "high", None)),
}
CORRECTED_DIAGNOSTICS = {
    "layernorm_bias_fix": const("model_norm_module_called"),
    "norm_alignment_fix": const("norm_that_reads_the_layer_next"),
    "layer0_norm_fix": const("norm_that_reads_the_embeddings"),
    "last_layer_consistency": CONSISTENCY
    | {"cfg_transform": {"scale": MAYBE_FLOAT, "softcap": MAYBE_FLOAT}},
}
DOCUMENT: Mapping[str, Any] = {
    "prompt": {
        "type": const("prompt"),
        "context_prompt": const(POSITIVE),
        "ground_truth": const("Berlin"),
    },
    "test_prompts": Items(
        {
            "type": const("test_prompt"),
            "prompt": one_of(*TEST_PROMPTS),
            "entropy": FLOAT,
            "topk": TopK(10),
        }
    ),
    "temperature_exploration": Items(
        {
            "type": const("temperature_exploration"),
            "temperature": Leaf(("float",), (0.1, 2.0)),
            "entropy": FLOAT,
            "topk": TopK(15),
        }
    ),
    "diagnostics": DIAGNOSTICS,
    "final_prediction": {"type": const("final_prediction"), "entropy": FLOAT, "topk": TopK(20)},
    "model_stats": STATS,
    "raw_lens_check": {
        "mode": one_of("off", "sample", "full"),
        "samples": Items(SAMPLE),
        "summary": RAW_SUMMARY,
    },
    "ablation_summary": dict.fromkeys(
        ("L_copy_orig", "L_sem_orig", "L_copy_nf", "L_sem_nf", "delta_L_copy", "delta_L_sem"),
        MAYBE_INT,
    ),
    "control_prompt": {
        "context_prompt": const(CONTROL),
        "gold_answer": GOLD,
        "gold_alignment": ALIGNMENT,
    },
    "control_summary": {"first_control_margin_pos": MAYBE_INT, "max_control_margin": MAYBE_FLOAT},
    "gold_answer": GOLD,
}
CORRECTED_DOCUMENT: Mapping[str, Any] = {
    "contract": const("corrected"),
    "differs": Items(
        {
            "id": one_of("R1", "R2", "R3", "R4", "R5", "R6", "R7", "rank", "R14", "R15"),
            "corrected": STRING,
        }
    ),
    **DOCUMENT,
    "diagnostics": {**DIAGNOSTICS, **CORRECTED_DIAGNOSTICS},
}
OWN = {"context_prompt", "target_prediction", "gold_alignment", "last_layer_consistency"}
OWN |= set(MILESTONES)
COPY_OPTIONS = ("copy_thresh", "copy_window_k", "copy_match_level")
EXPLORED, PREDICTED = DOCUMENT["temperature_exploration"], DOCUMENT["final_prediction"]


def suite_document(corrected: bool) -> dict[str, Any]:
    """The document of prompts of one's own: a block for each pass, null in it what only a pass with records has."""
    diagnostics = CORRECTED_DOCUMENT["diagnostics"] if corrected else DIAGNOSTICS
    contract = ("contract", "differs") if corrected else ()
    of_run = {name: shape for name, shape in diagnostics.items() if name not in OWN}
    block = {
        "prompt_id": STRING,
        "prompt_variant": STRING,
        "context_prompt": STRING,
        "gold_answer": GOLD,
        "gold_alignment": ALIGNMENT,
        **{name: MAYBE_INT for name in MILESTONES if name not in COPY_OPTIONS},
        "control": MAYBE_STRING,
        "control_summary": (DOCUMENT["control_summary"], NULL),
        "last_layer_consistency": diagnostics["last_layer_consistency"],
        "raw_lens_check": (DOCUMENT["raw_lens_check"], NULL),
        "final_prediction": (PREDICTED, NULL),
        "temperature_exploration": (EXPLORED, NULL),
        "tags": Texts(),
    }
    return {
        **{name: CORRECTED_DOCUMENT[name] for name in contract},
        "test_prompts": Items({**DOCUMENT["test_prompts"].item, "prompt": STRING}),
        "keywords": Items(STRING),
        "diagnostics": {**of_run, **{name: diagnostics[name] for name in COPY_OPTIONS}},
        "model_stats": STATS,
        "passes": Items(block),
    }
