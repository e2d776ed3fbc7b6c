"""Check that transformers reads all of a .gguf file: it leaves out what it does not know, without a message.

Every key of the metadata must be known: as irrelevant to the numbers, or as having the value that the
configuration has which transformers makes of the file. Every tensor must go into the model.
Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and gguf.constants of the package gguf.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
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

from ..errors import LensError, library_errors
from .families import family_of
from .gguf_keys import VALUES, head_width, rope, rotary_width

# Keys about the origin of a file and how it was made, or about tokens that no prompt of plain text has.
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
FREQUENCIES = "rope_freqs.weight"
KNOWN_SPLITS = {*GGUF_PRE_TOKENIZER_SPLITS} | AS_GPT2 | SINGLE_DIGITS
ADVICE = "give the checkpoint's folder as its makers published it"


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
    if wrong := [*filter(None, wrong), *implied_differences(family, metadata, text)]:
        raise LensError(
            f"cannot read all of {model}: transformers does not read of its metadata "
            f"{listed(wrong)}; {ADVICE}"
        )


def key_difference(key: str, metadata: Mapping[str, Any], config: Any) -> str:
    """What transformers does not read of a key, in words; empty where nothing of it is lost."""
    value, name = metadata[key], key.removeprefix(f"{metadata['general.architecture']}.")
    if key == "tokenizer.ggml.pre":  # of byte-level BPE alone: SentencePiece has no pre-tokenizer
        lost = metadata.get("tokenizer.ggml.model") == "gpt2" and value not in KNOWN_SPLITS
    elif key == "tokenizer.ggml.add_sep_token":
        lost = bool(value)
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
    if family not in GGUF_ARCHS:  # for these transformers itself reports the unexpected ones
        processor_class: Any = TENSOR_PROCESSORS.get(family, TensorProcessor)
        processor = processor_class(config=hf_model.config.to_dict())
        read = {*get_gguf_hf_weights_map(hf_model, processor), *scaled(family, tensors)}
        unread = [name for name in tensors if not {name, name.removesuffix(".weight")} & read]
    if unread:
        raise LensError(
            f"cannot read all of {model}: transformers does not read of its tensors {listed(unread)}; {ADVICE}"
        )


def scaled(family: str, tensors: Collection[str]) -> list[str]:
    """The tensor of RoPE's scaling by frequency, as Llama 3 has it, where `scale_frequencies` reads it."""
    return [FREQUENCIES] if family_of(family).gguf_rope_factors and FREQUENCIES in tensors else []


def scale_frequencies(config: Any, file: Path, tensors: Collection[str]) -> None:
    """RoPE's frequencies divided by the factors of the file, which transformers leaves out.

    LongRoPE with one set of factors for all lengths is the same: transformers computes 1 / (factor · θ^(2i/d)).
    """
    if not scaled(config.model_type, tensors):
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
    family = metadata["general.architecture"]
    builder = family in GGUF_SENTENCEPIECE_BUILDERS and not family_of(family).gguf_space_prefix
    return metadata.get("tokenizer.ggml.model") == "llama" and not builder


def implied_differences(family: str, metadata: Mapping[str, Any], config: Any) -> list[str]:
    """What llama.cpp derives from the architecture alone, where transformers reads it otherwise."""
    wrong, quirks = [], family_of(family)
    if quirks.gguf_largest is not None:
        largest = config.num_hidden_layers == quirks.gguf_largest
        meant = config.hidden_size // config.num_attention_heads if largest else config.head_dim
        scale = f"an attention scale of 1/√{meant}"
        wrong += [] if config.query_pre_attn_scalar == meant else [scale]
    heads = metadata.get(f"{family}.attention.head_count_kv", quirks.gguf_kv_heads)
    if quirks.gguf_kv_heads is not None and heads != quirks.gguf_kv_heads:
        wrong.append("the order of the attention heads")
    if f"{family}.rope.freq_base" not in metadata and rope(config).get("rope_theta", 1e4) != 1e4:
        wrong.append(f"a RoPE base of 10000 (read as {rope(config)['rope_theta']})")
    if f"{family}.rope.dimension_count" not in metadata and rotary_width(config) != head_width(
        config
    ):
        wrong.append(
            f"RoPE over whole heads (read as {rotary_width(config)} of {head_width(config)})"
        )
    window = getattr(config, "sliding_window", None)
    if window and f"{family}.attention.sliding_window" not in metadata:
        wrong.append(f"that there is no sliding window (read as {window})")
    return wrong


def difference(key: str, value: Any, read: Any) -> str:
    """The value in the file and the value that was read, in words; empty where they are equal.

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


@contextmanager
def parsed_once() -> Iterator[None]:
    """Within it transformers parses a .gguf file once, and makes the names of its tensors once.

    It parses the file for the configuration, the tokenizer and the weights, and makes the table of names for every
    module of the model, though each depends on the file alone. Without the package gguf nothing is changed.
    """
    try:
        import gguf
    except ImportError:
        yield
        return
    functions = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    for name, function in functions.items():
        setattr(gguf, name, cache(function))
    try:
        yield
    finally:
        for name, function in functions.items():
            setattr(gguf, name, function)
