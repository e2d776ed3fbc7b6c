"""The expected value of each key of a .gguf file's metadata, by the configuration that transformers makes of it.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and gguf.constants of the package gguf.
"""

from collections.abc import Callable, Mapping
from typing import Any


def attribute(*names: str) -> Callable[[Any], Any]:
    """The first of some attributes that a config has; None where it has none of them."""

    def value(config: Any) -> Any:
        values = (getattr(config, name, None) for name in names)
        return next((entry for entry in values if entry is not None), None)

    return value


def head_width(config: Any) -> int:
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def rope(config: Any) -> Mapping[str, Any]:
    """The RoPE of a config; of one with several kinds that of full attention."""
    parameters = getattr(config, "rope_parameters", None) or {}
    return dict(parameters.get("full_attention", parameters))


def rotary_width(config: Any) -> int:
    share: Any = rope(config).get("partial_rotary_factor") or getattr(
        config, "partial_rotary_factor", 1
    )
    return int(head_width(config) * float(share))


def feed_forward_width(config: Any) -> int:
    width = attribute("intermediate_size", "n_inner")(config)
    return 4 * int(config.hidden_size) if width is None else int(width)


def scaling(config: Any) -> str:
    kind = rope(config).get("rope_type", "default")
    return "none" if kind == "default" else str(kind)


EPS = attribute("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
# The value of a key after the architecture's name, by the config that transformers makes of the file.
VALUES: Mapping[str, Callable[[Any], Any]] = {
    "block_count": attribute("num_hidden_layers"),
    "context_length": attribute("max_position_embeddings", "seq_length"),
    "embedding_length": attribute("hidden_size"),
    "feed_forward_length": feed_forward_width,
    "vocab_size": attribute("vocab_size"),
    "attention.head_count": attribute("num_attention_heads"),
    "attention.head_count_kv": attribute("num_key_value_heads", "num_attention_heads"),
    "attention.key_length": head_width,
    "attention.value_length": head_width,
    "attention.layer_norm_rms_epsilon": EPS,
    "attention.layer_norm_epsilon": EPS,
    "attention.sliding_window": attribute("sliding_window"),
    "attention.causal": lambda config: True,
    "rope.dimension_count": rotary_width,
    "rope.freq_base": lambda config: rope(config).get("rope_theta"),
    "rope.scaling.type": scaling,
    "rope.scaling.factor": lambda config: rope(config).get("factor", 1.0),
    "rope.scaling.original_context_length": lambda config: rope(config).get(
        "original_max_position_embeddings"
    ),
    "use_parallel_residual": attribute("use_parallel_residual"),
    "attn_logit_softcapping": attribute("attn_logit_softcapping"),
    "final_logit_softcapping": attribute("final_logit_softcapping"),
    "expert_count": attribute("num_experts", "num_local_experts"),
    "expert_used_count": attribute("num_experts_per_tok"),
    "expert_feed_forward_length": attribute("moe_intermediate_size"),
    "expert_shared_feed_forward_length": attribute("shared_expert_intermediate_size"),
}
