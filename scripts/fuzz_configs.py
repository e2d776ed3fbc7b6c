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
from fuzz_sizes import by_layer, fitting, sizes
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from spec.recipe import tokenizer_files

ACTIVATIONS = ("silu", "gelu", "relu", "gelu_new", "gelu_pytorch_tanh", "tanh")
# Switches that change no number of a plain forward, or make a model of another kind.
NOT_DRAWN = re.compile(
    "cache|output_|return_dict|tie_|is_encoder|cross_attention|summary|init|jitter|dropout|pdrop|layerdrop|router_"
    "|coef|prenorm|associative_scan|mambapy|mem_eff|kernels|expan|embedding_fraction|min|max|limit|floor|theta"
)
# Options whose default is None or a text, with another value.
OTHERS = {
    "clip_qkv": 0.5,
    "logit_scale": 0.5,
    "position_embedding_type": "rope",
    "rescale_every": 2,
    "softmax_scale": 0.3,
    "use_bidirectional_attention": True,
}
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


def rope(own: Any, layer_types: Any, draw: random.Random) -> Any:
    """RoPE parameters as the family nests them, with a kind drawn."""
    if isinstance(own, dict) and own and all(isinstance(v, dict) for v in own.values()):
        return {kind: rope(value, None, draw) for kind, value in own.items()}
    usual = ("rope_type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor")
    kept = {key: value for key, value in (own or {}).items() if key not in usual}
    if draw.random() < 0.15:
        kept |= {"partial_rotary_factor": draw.choice((0.25, 0.5))}
    kind = draw.choice(("default", "default", "linear", "dynamic", "yarn", "longrope", "llama3"))
    entry = {**kept, "rope_type": kind, "rope_theta": draw.choice((100.0, 10000.0))}
    if kind == "default":
        return entry
    entry |= {"factor": draw.choice((2.0, 4.0))}
    if kind in ("yarn", "longrope", "llama3"):
        entry |= {"original_max_position_embeddings": draw.choice((8, 32))}
    if kind == "llama3":
        entry |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if kind == "yarn" and draw.random() < 0.5:
        entry |= {"beta_fast": 16.0, "beta_slow": 2.0}
    if kind == "longrope":
        entry |= {"short_factor": "half", "long_factor": "half"}
    return entry


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
    if isinstance(value, float):
        return changed_float(key, value, draw)
    if "softcap" in key or "soft_cap" in key:
        return draw.choice((1.0, 5.0))
    if isinstance(value, str) and value in (*ACTIVATIONS, "relu2", "xielu"):
        return draw.choice(ACTIVATIONS)
    if isinstance(value, list) and value and all(isinstance(v, float) for v in value):
        return [v * draw.choice((0.5, 1.0, 2.0)) for v in value]
    if key == "attn_config":
        return {k: changed(k, v, draw) if draw.random() < 0.4 else v for k, v in value.items()}
    return OTHERS.get(key, value)


def changed_float(key: str, value: float, draw: random.Random) -> float:
    """Another value of a number; an eps is drawn as a whole."""
    if "eps" in key:
        return draw.choice((1e-6, 1e-3, 1e-2))
    return value * draw.choice((0.25, 0.5, 2.0))


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
