"""golden/models/byte-bpe as a .gguf file in half precision, its rotary halves as llama.cpp interleaves them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.torch import load_file

NAMES = {  # of a block, as the file has them and as transformers does
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
SIZES: Mapping[str, Any] = {
    "block_count": 4,
    "context_length": 128,
    "embedding_length": 32,
    "feed_forward_length": 64,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "rope.dimension_count": 8,
    "rope.freq_base": 10000.0,
    "vocab_size": 330,
}


def tensors(source: Path) -> dict[str, np.ndarray]:
    """Of golden/models/byte-bpe under the names of the file."""
    named = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    named |= {f"blk.{y}.{a}": f"model.layers.{y}.{b}" for y in range(4) for a, b in NAMES.items()}
    weights = load_file(source / "model.safetensors")
    found = {}
    for name, theirs in named.items():
        weight = weights[f"{theirs}.weight"].numpy()
        for kind, heads in (("attn_q", 4), ("attn_k", 2)):
            if name.endswith(kind):
                weight = weight.reshape(heads, 2, 4, 32).swapaxes(1, 2).reshape(weight.shape)
        found[f"{name}.weight"] = weight.astype(np.float16 if weight.ndim > 1 else np.float32)
    return found


def write(
    path: Path,
    models: Path,
    metadata: Mapping[str, Any] | None = None,
    more: Mapping[str, np.ndarray] | None = None,
    without: str = "",
) -> Path:
    """The file, with further keys of metadata (None leaves one out), further tensors, and one tensor less."""
    source = models / "byte-bpe"
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    writer = gguf.GGUFWriter(path, "llama")
    keys = {f"llama.{key}": value for key, value in SIZES.items()} | dict(metadata or {})
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    kinds |= {str: writer.add_string, list: writer.add_array}
    for key, value in keys.items():
        if value is not None:
            kinds[type(value)](key, value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(tokenizer["vocab"], key=tokenizer["vocab"].get))
    writer.add_token_types([3] + [1] * 329)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, weight in (tensors(source) | dict(more or {})).items():
        if name != without:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
