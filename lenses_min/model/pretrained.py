"""A checkpoint as transformers reads it: configuration, tokenizer, weights; whole and without code of its own.

`name` and `location` are what `source_of` gives, `model` is what the user named. Every error is a LensError.
"""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import cached_file
from transformers.utils.quantization_config import GgufConfig

from ..errors import library_errors
from . import gguf_file
from .architecture import check_causal, check_type, model_class
from .checkpoint import folder_of
from .placement import Placement
from .weights import SOUND, check_read, check_whole


def is_file(location: dict[str, Any]) -> bool:
    return "gguf_file" in location


def read_config(name: str, location: dict[str, Any], model: str) -> Any:
    """The configuration; that of a .gguf file comes from its metadata, every key of which is checked."""
    metadata: Any = {}
    if is_file(location):
        metadata, tensors = gguf_file.check_header(Path(name, location["gguf_file"]), model)
    action, advice = f"read the config of {model}", "get a sound config.json, or another model"
    if "local_files_only" not in location:
        action = f"download {model}, of which there is neither a folder nor a cached copy"
        advice = "check the name, or name a folder"
    with library_errors(action, advice):
        if not metadata:
            check_type(name, location, model)
        config = AutoConfig.from_pretrained(name, trust_remote_code=False, **location)
        check_causal(config, model)
        model_class(config, model)
    if metadata:
        gguf_file.check_metadata(metadata, config, model)
        gguf_file.scale_frequencies(config, Path(name, location["gguf_file"]), tensors)
    return config


def read_tokenizer(name: str, location: dict[str, Any], model: str) -> Any:
    """The tokenizer of tokenizer.json, unchanged, if there is one: transformers 5 rebuilds some by model type."""
    with library_errors(f"read the tokenizer of {model}", "get a sound tokenizer.json"):
        missing = {"_raise_exceptions_for_missing_entries": False}
        if is_file(location):
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **location)
            gguf_file.split_digits(tokenizer, Path(name, location["gguf_file"]))
        elif cached_file(name, "tokenizer.json", **location, **missing):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(name, **location)
        else:
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **location)
        tokenizer.decode(tokenizer("a", add_special_tokens=False)["input_ids"])  # or it raises here
    return tokenizer


def read_model(
    name: str, location: dict[str, Any], config: Any, placement: Placement, model: str
) -> tuple[Any, list[str]]:
    """The model as transformers reads it, on its device, and what of the checkpoint is not read.

    Weights stay as stored but for the dtype. Attention is computed by transformers' plain code, which hooks can see.
    """
    arguments: dict[str, Any] = {"dtype": placement.dtype, "attn_implementation": "eager"}
    if placement.device_map:
        arguments |= {"device_map": placement.device_map, "max_memory": placement.max_memory}
    if is_file(location):
        arguments["quantization_config"] = GgufConfig(dequantize=True)
    kind, _ = model_class(config, model)
    with library_errors(f"read the weights of {model}", SOUND):
        hf_model, info = kind.from_pretrained(
            name,
            config=config,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # check_whole reports them
            **arguments,
            **location,
        )
        check_whole(info, model)
        unread = check_source(name, location, hf_model, info, model)
        return hf_model if placement.device_map else hf_model.to(placement.device), unread


def check_source(
    name: str, location: dict[str, Any], hf_model: Any, info: Any, model: str
) -> list[str]:
    """Whether all of the folder or file was read; see `weights.check_read` and `gguf_file.check_tensors`."""
    if not is_file(location):
        return check_read(hf_model, info, folder_of(name), model)
    metadata, tensors = gguf_file.check_header(Path(name, location["gguf_file"]), model)
    gguf_file.check_tensors(tensors, hf_model, metadata["general.architecture"], info, model)
    return []
