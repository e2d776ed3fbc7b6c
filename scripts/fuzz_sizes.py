"""Small sizes for a configuration of any family, and lists with an entry a layer."""

import random
from collections.abc import Mapping
from typing import Any

from spec.recipe.model import WORDS


def sizes(draw: random.Random) -> dict[str, Any]:
    """Small sizes under every name that a family may have for them."""
    heads, wide, layers = draw.choice((1, 2, 2, 4)), draw.choice((8, 8, 16)), draw.randint(1, 4)
    groups = draw.choice([k for k in (1, 2, 4) if heads % k == 0])
    width, experts = heads * wide, draw.choice((2, 4))
    few = draw.choice((1, 2))
    values = {
        "hidden_size n_embd d_model attention_hidden_size lru_width": width,
        "num_hidden_layers n_layer n_layers num_layers": layers,
        "num_attention_heads n_head n_heads num_heads attention_heads": heads,
        "num_key_value_heads num_kv_heads num_query_groups": groups,
        "head_dim global_head_dim kv_channels": draw.choice((wide, wide, 8)),
        "rotary_dim": draw.choice((2, 4)),
        "intermediate_size n_inner ffn_hidden_size intermediate_size_mlp": draw.choice((8, 24, 64)),
        "ffn_dim moe_intermediate_size shared_intermediate_size": draw.choice((8, 16)),
        "shared_expert_intermediate_size moe_shared_expert_intermediate_size": draw.choice((8, 16)),
        "max_position_embeddings n_positions n_ctx context_length max_seq_len": 128,
        "num_experts num_local_experts n_routed_experts moe_num_experts": experts,
        "num_experts_per_tok moe_k top_k_experts": draw.choice((1, 2)),
        "n_shared_experts num_shared_experts moe_num_shared_experts n_group topk_group": 1,
        "first_k_dense_replace num_dense_layers moe_layer_start_index": draw.choice((0, 1)),
        "moe_layer_end_index": layers - 1,
        "q_lora_rank kv_lora_rank o_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim v_head_dim index_head_dim": 8,
        "index_n_heads num_mem_blocks": few,
        "index_topk sliding_window attention_window_size window_size local_attention": draw.choice(
            (2, 4, 64)
        ),
        "attention_chunk_size": draw.choice((2, 4, 64)),
        "sliding_window_pattern global_attn_every_n_layers no_rope_layer_interval": draw.choice(
            (2, 3)
        ),
        "mamba_d_state state_size ssm_state_size mamba_n_groups n_groups mamba_ngroups": 1,
        "mamba_n_heads n_mamba_heads mamba_num_heads": 2 * heads,
        "mamba_d_head mamba_headdim mamba_head_dim": wide,
        "mamba_d_ssm": 2 * width,
        "mamba_chunk_size chunk_size": draw.choice((2, 8, 64)),
        "mamba_dt_rank time_step_rank adapter_rank moe_latent_size": 4,
        "linear_num_key_heads": heads,
        "linear_num_value_heads": heads * few,
        "linear_key_head_dim linear_value_head_dim": 8,
        "attn_layer_period expert_layer_period": 2,
        "attn_layer_offset expert_layer_offset": draw.choice((0, 1)),
        "hidden_size_per_layer_input": 8,
        "max_window_layers decoder_sparse_step interleave_moe_layer_step": few,
        "attention_head_dim": 2 * wide,
        "num_kv_shared_layers": draw.choice((0, layers // 2)),
        "word_embed_proj_dim": draw.choice((width, width, 8)),
        "vocab_size vocab_size_per_layer_input": WORDS + draw.choice((0, 0, 5)),
    }
    named = {name: value for names, value in values.items() for name in names.split()}
    return named | {"mamba_d_state": 8, "state_size": 8, "ssm_state_size": 8}


def by_layer(defaults: Mapping[str, Any], n: int, draw: random.Random) -> dict[str, Any]:
    """Lists with an entry a layer: drawn from the entries that the family's own list has."""
    fields = {}
    for key in (
        "layer_types",
        "mlp_layer_types",
        "layers_block_type",
        "block_types",
        "indexer_types",
    ):
        own = defaults.get(key)
        if own:
            kinds = sorted(set(own))
            fields[key] = [draw.choice(kinds) for _ in range(n)]
    if defaults.get("attention_types"):
        fields["attention_types"] = [[[draw.choice(("global", "local"))], n]]
    return fields


def fitting(family: str, given: dict[str, Any]) -> dict[str, Any]:
    """Sizes that must go together in a family, and lists that its defaults lack."""
    if "kv_lora_rank" in given:
        heads = given["num_attention_heads"]
        return given | {"head_dim": given["qk_rope_head_dim"], "num_key_value_heads": heads}
    if family == "codegen":
        return given | {"n_head": 4, "n_embd": 32}
    if family == "zamba2":
        return given | {"attention_hidden_size": 2 * given["hidden_size"]}
    if family == "mamba2":
        return given | {"num_heads": 4, "head_dim": given["hidden_size"] // 2}
    if family == "lfm2_moe":
        kinds = ("conv", "full_attention")
        return given | {"layer_types": [kinds[i % 2] for i in range(given["num_hidden_layers"])]}
    if family.startswith("gemma4"):
        return given | {"global_head_dim": 2 * given["head_dim"]}
    return given
