"""Whether transformers reads all of a .gguf file: it leaves out what it does not know, and says nothing.

Every key of the metadata must be known: as telling nothing of the numbers, or as having the value that the
configuration has which transformers makes of the file. Every tensor must go into the model.
Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and gguf.constants of the package gguf.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers
from transformers.integrations.gguf import (
    GGUF_ARCHS,
    GgufHeader,
    load_gguf_state_dict,
    read_gguf_metadata,
)
from transformers.integrations.gguf.gguf_tokenizer_mapping import (
    GGUF_PRE_TOKENIZER_SPLITS,
    GGUF_SENTENCEPIECE_BUILDERS,
)
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)

from .errors import LensError, library_errors

# Tell where a file comes from and how it was made, or name tokens that no prompt of plain text has.
INFORMATION = re.compile(
    r"general\..*|quantize\.imatrix\..*|split\..*|tokenizer\.chat_template.*"
    r"|tokenizer\.huggingface\.json|tokenizer\.ggml\.\w+_token_ids?|.*\.rope\.scaling\.finetuned"
)
# Read by the tokenizer, or by the rules for BOS.
OF_TOKENIZER = re.compile(
    r"tokenizer\.ggml\.(model|tokens|scores|token_type|merges|add_bos_token|add_eos_token)"
)
# Pre-tokenizers of byte-level BPE that split as GPT-2 does, and those that take each digit by itself before.
AS_GPT2 = {"gpt-2", "phi-2", "mpt", "olmo", "jais"}
SINGLE_DIGITS = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
LARGEST_GEMMA = {"gemma2": 46, "gemma3": 62}  # blocks of the 27B, which scales attention otherwise
FREQUENCIES = "rope_freqs.weight"
MEND = "give the checkpoint's folder as its makers published it"


def check_header(file: Path, model: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Metadata and names of the tensors. Raises LensError for a broken file, a part of a model, and an adapter."""
    with library_errors(f"read the config of {model}", "get a sound .gguf file"):
        metadata, tensors = read_gguf_metadata(str(file))
    if (parts := metadata.get("split.count", 0)) > 1:
        raise LensError(
            f"{model} is part {metadata.get('split.no', 0) + 1} of {parts} of a model; join them "
            "(llama-gguf-split --merge) and give the whole file"
        )
    if (kind := metadata.get("general.type", "model")) != "model":
        raise LensError(f"{model} holds {kind!r}, not a model; give the .gguf file of a model")
    return metadata, tensors


def check_metadata(metadata: Mapping[str, Any], config: Any, model: str) -> None:
    """Raises LensError naming every key of the metadata that transformers does not read, or reads otherwise."""
    family, text = str(metadata["general.architecture"]), config.get_text_config()
    wrong = [key_difference(key, metadata, text) for key in metadata]
    if wrong := [*filter(None, wrong), *unsaid(family, metadata, text)]:
        raise LensError(
            f"cannot read all of {model}: transformers does not read of its metadata "
            f"{listed(wrong)}; {MEND}"
        )


def key_difference(key: str, metadata: Mapping[str, Any], config: Any) -> str:
    """What a key says and transformers does not read, in words; empty where nothing of it is lost."""
    value, name = metadata[key], key.removeprefix(f"{metadata['general.architecture']}.")
    if key == "tokenizer.ggml.pre":
        lost = value not in KNOWN_SPLITS
    elif key == "tokenizer.ggml.add_space_prefix":
        lost = adds_prefix(metadata) != bool(value)
    elif name != key and name in VALUES:
        return difference(key, value, VALUES[name](config))
    else:
        lost = not (INFORMATION.fullmatch(key) or OF_TOKENIZER.fullmatch(key))
    return f"{key} = {value}" if lost else ""


def check_tensors(
    tensors: Collection[str], hf_model: Any, family: str, info: Mapping[str, Any], model: str
) -> None:
    """Raises LensError naming the tensors of the file that go into no weight of the model."""
    unread = sorted(info["unexpected_keys"])
    if family not in GGUF_ARCHS:  # for these transformers tells the unexpected ones itself
        processor = TENSOR_PROCESSORS.get(family, TensorProcessor)(config=hf_model.config.to_dict())
        read = {*get_gguf_hf_weights_map(hf_model, processor), *scaled(family, tensors)}
        unread = [name for name in tensors if not {name, name.removesuffix(".weight")} & read]
    if unread:
        raise LensError(
            f"cannot read all of {model}: transformers does not read of its tensors {listed(unread)}; {MEND}"
        )


def scaled(family: str, tensors: Collection[str]) -> list[str]:
    """The tensor of RoPE's scaling by frequency, as Llama 3 has it, where `scale_frequencies` reads it."""
    return [FREQUENCIES] if family == "llama" and FREQUENCIES in tensors else []


def scale_frequencies(config: Any, file: Path, tensors: Collection[str]) -> None:
    """RoPE's frequencies divided by the factors of the file, which transformers leaves out.

    LongRoPE with one set of factors for all lengths is the same: transformers computes 1 / (factor · θ^(2i/d)).
    """
    if not scaled("llama" if config.model_type == "llama" else "", tensors):
        return
    stored = load_gguf_state_dict(GgufHeader.from_file(str(file)))[FREQUENCIES]
    factors = stored[...].float().tolist()
    config.rope_parameters = {
        **rope(config),
        "rope_type": "longrope",
        "short_factor": factors,
        "long_factor": factors,
        "attention_factor": 1.0,
        "original_max_position_embeddings": config.max_position_embeddings,
    }


def split_digits(tokenizer: Any, file: Path) -> None:
    """Pre-tokenizers that take each digit by itself, of which transformers makes GPT-2's."""
    metadata, _ = read_gguf_metadata(str(file))
    if metadata.get("tokenizer.ggml.pre") in SINGLE_DIGITS:
        digits = pre_tokenizers.Digits(individual_digits=True)
        level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, level])


def adds_prefix(metadata: Mapping[str, Any]) -> bool:
    """Whether the tokenizer that transformers builds puts a space before a text."""
    family, kind = metadata["general.architecture"], metadata.get("tokenizer.ggml.model")
    return kind == "llama" and not (
        family in GGUF_SENTENCEPIECE_BUILDERS and family.startswith("gemma")
    )


def unsaid(family: str, metadata: Mapping[str, Any], config: Any) -> list[str]:
    """What llama.cpp knows by the architecture alone, where transformers takes it otherwise."""
    wrong = []
    if family in LARGEST_GEMMA:
        largest = config.num_hidden_layers == LARGEST_GEMMA[family]
        meant = config.hidden_size // config.num_attention_heads if largest else config.head_dim
        scale = f"an attention scale of 1/√{meant}"
        wrong += [] if config.query_pre_attn_scalar == meant else [scale]
    if family == "falcon" and metadata.get("falcon.attention.head_count_kv", 1) != 1:
        wrong.append("the order of the attention heads")
    window = getattr(config, "sliding_window", None)
    if window and f"{family}.attention.sliding_window" not in metadata:
        wrong.append(f"that there is no sliding window (read as {window})")
    return wrong


def difference(key: str, value: Any, read: Any) -> str:
    """What stands in the file and what was read, in words; empty where they are the same.

    A list has a value for each layer, 0 where the layer has none.
    """
    if isinstance(value, list) and len({*value} - {0}) == 1:
        value = max(value)
    if read == value or (
        isinstance(value, float)
        and isinstance(read, float | int)
        and math.isclose(value, read, rel_tol=1e-6)
    ):
        return ""
    return f"{key} = {value} (read as {read})"


def listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def attribute(*names: str) -> Callable[[Any], Any]:
    """The first of some attributes that a config has; None where it has none of them."""

    def value(config: Any) -> Any:
        found = (getattr(config, name, None) for name in names)
        return next((each for each in found if each is not None), None)

    return value


def head_width(config: Any) -> int:
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def rope(config: Any) -> Mapping[str, Any]:
    """The RoPE of a config; of one with several kinds that of full attention."""
    found = getattr(config, "rope_parameters", None) or {}
    return dict(found.get("full_attention", found))


def rotary_width(config: Any) -> int:
    share: Any = rope(config).get("partial_rotary_factor") or getattr(
        config, "partial_rotary_factor", 1
    )
    return int(head_width(config) * float(share))


def feed_forward_width(config: Any) -> int:
    named = attribute("intermediate_size", "n_inner")(config)
    return 4 * int(config.hidden_size) if named is None else int(named)


def scaling(config: Any) -> str:
    kind = rope(config).get("rope_type", "default")
    return "none" if kind == "default" else str(kind)


KNOWN_SPLITS = {*GGUF_PRE_TOKENIZER_SPLITS} | AS_GPT2 | SINGLE_DIGITS
EPS = attribute("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
# What a key behind the architecture's name says, by the config that transformers makes of the file.
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
