"""Tiny checkpoints of every causal family that transformers and TransformerLens share, with options drawn at random.

A configuration begins as its family's default. Sizes are made small, layer kinds are drawn from the family's own, and
of the other options a few are changed: switches are flipped, factors halved, doubled or set, activations and kinds of
RoPE exchanged. Weights are noise, biases and norms noise around 0 or 1, so that no option is without effect.
"""

import json
import random
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from spec.recipe import tokenizer_files
from spec.recipe.model import WORDS

ACTIVATIONS = ("silu", "gelu", "relu", "gelu_new", "gelu_pytorch_tanh", "tanh")
# Switches that change no number of a plain forward, or make a model of another kind.
NOT_DRAWN = re.compile(
    "cache|output_|return_dict|tie_|is_encoder|cross_attention|summary|init|jitter|dropout|pdrop|layerdrop|router_"
    "|coef|prenorm|associative_scan|mambapy|mem_eff|kernels|expan|embedding_fraction|min|max|limit|floor|theta"
)
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}


def shared_families() -> list[str]:
    """The model types whose causal class in transformers TransformerLens knows too."""
    known = {name.lower() for name in SUPPORTED_ARCHITECTURES}
    classes = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()
    return [
        kind
        for kind, name in classes
        if (name if isinstance(name, str) else name[0]).lower() in known
    ]


def sizes(draw: random.Random) -> dict[str, Any]:
    """Small sizes under every name that a family may have for them."""
    heads, wide, layers = draw.choice((1, 2, 2, 4)), draw.choice((4, 8, 8, 16)), draw.randint(1, 4)
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
        "num_kv_shared_layers": 0,
        "word_embed_proj_dim": draw.choice((width, width, 8)),
        "vocab_size vocab_size_per_layer_input": WORDS + draw.choice((0, 0, 5)),
    }
    named = {name: value for names, value in values.items() for name in names.split()}
    return named | {"mamba_d_state": 8, "state_size": 8, "ssm_state_size": 8}


def by_layer(defaults: Mapping[str, Any], n: int, draw: random.Random) -> dict[str, Any]:
    """Lists with an entry a layer: drawn from the entries that the family's own list has."""
    found = {}
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
            found[key] = [draw.choice(kinds) for _ in range(n)]
    if defaults.get("attention_types"):
        found["attention_types"] = [[[draw.choice(("global", "local"))], n]]
    return found


def rope(own: Any, layer_types: Any, draw: random.Random) -> Any:
    """RoPE parameters as the family nests them, with a kind drawn."""
    if isinstance(own, dict) and own and all(isinstance(v, dict) for v in own.values()):
        return {kind: rope(value, None, draw) for kind, value in own.items()}
    usual = ("rope_type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor")
    kept = {key: value for key, value in (own or {}).items() if key not in usual}
    if draw.random() < 0.15:
        kept |= {"partial_rotary_factor": draw.choice((0.25, 0.5))}
    kind = draw.choice(("default", "default", "linear", "dynamic", "yarn", "longrope", "llama3"))
    told = {**kept, "rope_type": kind, "rope_theta": draw.choice((100.0, 10000.0))}
    if kind == "default":
        return told
    told |= {"factor": draw.choice((2.0, 4.0))}
    if kind in ("yarn", "longrope", "llama3"):
        told |= {"original_max_position_embeddings": draw.choice((8, 32))}
    if kind == "llama3":
        told |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if kind == "yarn" and draw.random() < 0.5:
        told |= {"beta_fast": 16.0, "beta_slow": 2.0}
    if kind == "longrope":
        told |= {"short_factor": "half", "long_factor": "half"}
    return told


def with_factors(parameters: Any, rotated: int) -> Any:
    """LongRoPE's factors, one a pair of rotated dimensions."""
    if not isinstance(parameters, dict):
        return parameters
    if "short_factor" not in parameters:
        return {key: with_factors(value, rotated) for key, value in parameters.items()}
    pairs = max(1, int(rotated * parameters.get("partial_rotary_factor", 1.0)) // 2)
    short, long = [1.0 + i / 8 for i in range(pairs)], [2.0 + i for i in range(pairs)]
    return parameters | {"short_factor": short, "long_factor": long}


def changed(key: str, value: Any, draw: random.Random) -> Any:
    """Another value of an option, or the same where it is not to be drawn."""
    if NOT_DRAWN.search(key):
        return value
    if isinstance(value, bool):
        return not value
    if "eps" in key:
        return draw.choice((1e-6, 1e-3, 1e-2))
    if isinstance(value, float):
        return value * draw.choice((0.25, 0.5, 2.0))
    if "softcap" in key or "soft_cap" in key:
        return draw.choice((1.0, 5.0))
    if isinstance(value, str) and value in (*ACTIVATIONS, "relu2", "xielu"):
        return draw.choice(ACTIVATIONS)
    other = {"clip_qkv": 0.5, "logit_scale": 0.5, "use_bidirectional_attention": True}
    return other.get(key, value)


def configuration(family: str, draw: random.Random) -> dict[str, Any]:
    """Arguments of the family's configuration; nested for the text model where that is a part of it."""
    kind = CONFIG_MAPPING[family]
    parts = kind.sub_configs
    if "text_config" in parts:
        small = {"vision_config": vision(kind)} if "vision_config" in parts else {}
        text = of_class(parts["text_config"], draw)
        return {"text_config": text, **small, **IDS, "tie_word_embeddings": draw.random() < 0.5}
    return of_class(kind, draw)


def merged(given: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with further ones in their place; those of the text model join its others."""
    if "text_config" in given:
        text = {**given["text_config"], **further.get("text_config", {})}
        return {**given, **further, "text_config": text}
    return {**given, **further}


def vision(kind: Any) -> Any:
    """A small vision tower, which no prompt of text enters; None where the family has none by itself."""
    usual = kind().vision_config
    if usual is None:
        return None
    few = dict.fromkeys(("num_hidden_layers", "depth", "num_attention_heads", "num_heads"), 2)
    few |= dict.fromkeys(("hidden_size", "intermediate_size", "out_hidden_size"), 16)
    own = usual.to_dict()
    return {"model_type": usual.model_type} | {k: v for k, v in few.items() if k in own}


def of_class(kind: Any, draw: random.Random) -> dict[str, Any]:
    defaults = kind().to_dict()
    small = sizes(draw)
    n = small["num_hidden_layers"]
    common = kind.__mro__[1]().to_dict()
    given = {key: value for key, value in small.items() if key in defaults}
    given |= by_layer(defaults, n, draw)
    share = draw.choice((0.0, 0.05, 0.2))
    for key, value in sorted(defaults.items()):
        if key not in common and key not in given and draw.random() < share:
            given |= {} if (new := changed(key, value, draw)) == value else {key: new}
    if defaults.get("sliding_window", 0) is None and draw.random() < 0.5:
        del given["sliding_window"]
    if "rope_parameters" in defaults and draw.random() < 0.4:
        head = (
            given.get("head_dim")
            or given.get("qk_rope_head_dim")
            or small["hidden_size"] // small["num_attention_heads"]
        )
        given["rope_parameters"] = with_factors(rope(defaults["rope_parameters"], None, draw), head)
    return fitting(kind.model_type, given) | IDS | {"tie_word_embeddings": draw.random() < 0.5}


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


def spread_weights(net: Any, seed: int, spread: float) -> None:
    """Matrices become noise times `spread`, the rest what it is plus noise times 0.2."""
    state = np.random.RandomState(seed)
    stored = set(net.state_dict())
    buffers = [(name, b) for name, b in net.named_buffers() if name in stored]
    for name, tensor in sorted([*net.named_parameters(), *buffers], key=lambda each: each[0]):
        if not tensor.is_floating_point():
            continue
        noise = torch.from_numpy(state.standard_normal(tuple(tensor.shape)).astype(np.float32))
        matrix = tensor.ndim > 1 and not name.endswith("A_log")
        with torch.no_grad():
            tensor.copy_(spread * noise if matrix else tensor + 0.2 * noise)


def build(family: str, given: Mapping[str, Any], seed: int, spread: float, folder: Path) -> None:
    """Write a checkpoint folder; whatever transformers raises where it has no such model passes on."""
    torch.manual_seed(seed)
    config = CONFIG_MAPPING[family](**deepcopy(dict(given)))  # which changes what it is given
    net = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    spread_weights(net, seed, spread)
    net.save_pretrained(folder)
    for name, content in tokenizer_files("words").items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def vocabulary(net: Any) -> int:
    """How many ids a model gives logits to."""
    return int(net.config.get_text_config().vocab_size)
