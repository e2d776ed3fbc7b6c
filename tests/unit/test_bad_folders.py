"""Folders that no lens can read: each gets one LensError that names what was found in it, and what to do."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from lenses_min import LensError, RunOptions
from lenses_min.model.load import load

CONTRACTS = ("reference", "corrected")


def refusal(folder: Path, contract: str = "reference") -> str:
    with pytest.raises(LensError) as caught:
        load(RunOptions(str(folder), device="cpu", contract=contract))
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def edit(name: str, **entries: Any) -> Callable[[Path], None]:
    """Change entries of a JSON file; None leaves one out."""

    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) | entries
        fields = {key: value for key, value in content.items() if value is not None}
        (folder / name).write_text(json.dumps(fields))

    return apply


def config(**entries: Any) -> Callable[[Path], None]:
    return edit("config.json", **entries)


def write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


TYPE = "which transformers "
SHAPE = "holds weights in another shape than its config says: "
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "text for a number": (
        config(hidden_size="32"),
        "Field 'hidden_size' expected int, got str (value: '32'); get a sound config.json",
    ),
    "no layer": (config(num_hidden_layers=0), "has num_hidden_layers 0; the lens reads one layer"),
    "fewer layers than stored": (
        config(num_hidden_layers=2),
        "holds weights that LlamaForCausalLM does not read as its config.json has it: model.layers.2.input",
    ),
    "more layers than stored": (
        config(num_hidden_layers=5),
        "lacks weights: model.layers.4.input_layernorm.weight and 8 more; get a sound",
    ),
    "another vocabulary": (
        config(vocab_size=200),
        f"{SHAPE}lm_head.weight and 1 more ([115, 32] in the file, [200, 32] by the config); get",
    ),
    "a width that no head divides": (config(hidden_size=30), "cannot read the "),
    "an odd width of heads": (config(head_dim=7), "RoPE requires an even rotary dimension"),
    "no type": (config(model_type=None), f"is of the type None, {TYPE}"),
    "an unknown type": (config(model_type="own"), f"is of the type 'own', {TYPE}"),
    "a type that is no text": (config(model_type=[1]), "is of the type [1], which transf"),
    "a number for the architectures": (config(architectures=3), "cannot read the config of "),
    "a head for another task": (
        config(architectures=["LlamaForSequenceClassification"]),
        "is LlamaForSequenceClassification, not a causal language model",
    ),
    "a pad token beyond the vocabulary": (config(pad_token_id=500), "Padding_idx must be within"),
    "a dtype that is none": (config(dtype="float33"), "float33"),
    "no tokenizer.json": (write("tokenizer.json", b""), "cannot read the tokenizer of "),
    "half a tokenizer.json": (write("tokenizer.json", b'{"version": "1.0"'), "EOF while parsing"),
    "a length that is no number": (
        edit("tokenizer_config.json", model_max_length="x"),
        "cannot read the tokenizer of ",
    ),
    "half a safetensors file": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-64]
        ),
        "cannot read the weights of ",
    ),
    "no safetensors file": (write("model.safetensors", b"PK"), "cannot read the weights of "),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_with_what_was_received(
    name: str, models: Path, tmp_path: Path
) -> None:
    harm, message = FAULTS[name]
    folder = Path(shutil.copytree(models / "rms-rope", tmp_path / "m"))
    harm(folder)
    assert message in refusal(folder)


SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 115,
    "max_position_embeddings": 128,
    "pad_token_id": 3,
}
UNKNOWN = (
    f"which TransformerLens {version('transformer-lens')} does not know; use a model of one of the"
)
ENCODER = "not a causal language model; the lens reads decoders only"
OTHERS: list[tuple[str, dict[str, Any], str]] = [
    ("bert", {}, f"is of the type 'bert', {ENCODER}"),
    ("roberta", {}, f"is of the type 'roberta', {ENCODER}"),
    ("biogpt", {}, f"is BioGptForCausalLM, {UNKNOWN}"),
    ("helium", {}, f"is HeliumForCausalLM, {UNKNOWN}"),
]


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize(("kind", "more", "message"), OTHERS, ids=[kind for kind, *_ in OTHERS])
def test_a_model_that_no_lens_reads_is_named_first(
    kind: str, more: dict[str, Any], message: str, contract: str, models: Path, tmp_path: Path
) -> None:
    """Encoders without `architectures` among them."""
    torch.manual_seed(0)
    known = {*CONFIG_MAPPING[kind]().to_dict()}
    sizes = {key: value for key, value in (SIZES | more).items() if key in known}
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**sizes))
    model.save_pretrained(tmp_path)
    shutil.copy(models / "rms-rope" / "tokenizer.json", tmp_path)
    if kind in ("bert", "roberta"):
        config(architectures=None)(tmp_path)
    actual = refusal(tmp_path, contract)
    assert message in actual
    assert actual.index(message) < 300
