"""golden/models/byte-bpe as a .gguf file in half precision, its rotary halves as llama.cpp interleaves them."""

import json
from collections.abc import Callable, Mapping
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
    tensors = {}
    for name, theirs in named.items():
        weight = weights[f"{theirs}.weight"].numpy()
        for kind, heads in (("attn_q", 4), ("attn_k", 2)):
            if name.endswith(kind):
                weight = weight.reshape(heads, 2, 4, 32).swapaxes(1, 2).reshape(weight.shape)
        tensors[f"{name}.weight"] = weight.astype(np.float16 if weight.ndim > 1 else np.float32)
    return tensors


def write(
    path: Path,
    models: Path,
    metadata: Mapping[str, Any] | None = None,
    more: Mapping[str, np.ndarray] | None = None,
    without: str = "",
) -> Path:
    """The file, with further keys of metadata (None leaves one out), further tensors, and one tensor less."""
    source = models / "byte-bpe"
    writer = gguf.GGUFWriter(path, "llama")
    add_all(writer, {f"llama.{key}": value for key, value in SIZES.items()} | dict(metadata or {}))
    add_tokenizer(writer, json.loads((source / "tokenizer.json").read_text(encoding="utf-8")))
    for name, weight in (tensors(source) | dict(more or {})).items():
        if name != without:
            writer.add_tensor(name, weight)
    return finish(writer, path)


def from_folder(
    path: Path, folder: Path, family: str, keys: Mapping[str, Any], offset: float = 0
) -> Path:
    """A checkpoint folder with the tokenizer of golden/models/byte-bpe as a .gguf file of a family without reordering.

    `keys` are those of the family beside the sizes; `offset` is what llama.cpp adds to the weights of the norms.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads = config["num_attention_heads"]
    sizes = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config.get("num_key_value_heads", heads),
    }
    writer = gguf.GGUFWriter(path, family)
    add_all(writer, {f"{family}.{key}": value for key, value in (sizes | dict(keys)).items()})
    add_tokenizer(writer, json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family)
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    for name, weight in load_file(folder / "model.safetensors").items():
        moved = offset if name.endswith("norm.weight") else 0
        theirs = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert theirs is not None
        writer.add_tensor(theirs, weight.numpy() + np.float32(moved))
    return finish(writer, path)


def add_all(writer: gguf.GGUFWriter, keys: Mapping[str, Any]) -> None:
    kinds: dict[type, Callable[[str, Any], None]] = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for key, value in keys.items():
        if value is not None:
            kinds[type(value)](key, value)


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Mapping[str, Any]) -> None:
    model = tokenizer["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(model["vocab"], key=model["vocab"].get))
    writer.add_token_types([3] + [1] * 329)
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
