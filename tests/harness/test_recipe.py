"""The recipe gives back the committed models bit for bit, and builds new ones that load."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from spec.golden import GOLDEN
from spec.recipe import (
    FAMILIES,
    RECIPES,
    RecipeError,
    TinyModel,
    build,
    new_model,
    tensors,
    tokenizer_files,
)

MODELS = GOLDEN / "models"


def test_every_model_that_was_drawn_has_a_recipe() -> None:
    by_hand = {"fact", "copies-punctuation", "rank-tie"}
    assert set(RECIPES) == {path.name for path in MODELS.iterdir()} - by_hand


@pytest.mark.parametrize("name", RECIPES)
def test_committed_tensors_are_rebuilt_bit_for_bit(name: str) -> None:
    expected, built = load_file(MODELS / name / "model.safetensors"), tensors(RECIPES[name])
    assert set(built) == set(expected)
    for key, tensor in expected.items():
        assert (built[key].dtype, built[key].shape) == (tensor.dtype, tensor.shape), key
        assert built[key].numpy().tobytes() == tensor.numpy().tobytes(), key


@pytest.mark.parametrize("name", RECIPES)
def test_committed_tokenizers_are_rebuilt(name: str) -> None:
    for file, content in tokenizer_files(RECIPES[name].tokenizer).items():
        assert content == json.loads((MODELS / name / file).read_text(encoding="utf-8")), file


def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = PreTrainedTokenizerFast.from_pretrained(folder)(
        "The capital of Germany is called", return_tensors="pt"
    )
    with torch.no_grad():
        return model(ids["input_ids"]).logits


@pytest.mark.parametrize("name", RECIPES)
def test_a_rebuilt_folder_computes_what_the_committed_one_does(name: str, tmp_path: Path) -> None:
    assert torch.equal(logits(build(RECIPES[name], tmp_path)), logits(MODELS / name))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_model_of_every_family_loads(family: str, tmp_path: Path) -> None:
    result = logits(build(new_model(family, seed=5), tmp_path))
    assert result.isfinite().all()
    assert result.shape[-1] == 115
    assert result.std() > 0.01
    again = tensors(new_model(family, seed=5))
    assert all(
        torch.equal(tensor, again[name])
        for name, tensor in tensors(new_model(family, seed=5)).items()
    )


def test_norms_are_centred_where_they_leave_the_scale_alone() -> None:
    drawn = tensors(new_model("gemma", seed=1))
    assert abs(float(drawn["model.norm.weight"].mean())) < 0.2
    assert (
        abs(float(tensors(new_model("falcon", seed=1))["transformer.ln_f.weight"].mean()) - 1) < 0.2
    )


def test_overrides_reach_the_configuration(tmp_path: Path) -> None:
    folder = build(
        new_model("qwen2", seed=1, tie_word_embeddings=True, num_hidden_layers=2), tmp_path
    )
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: new_model("mamba", 1), "no recipe for family 'mamba'; there are llama, mistral"),
        (lambda: new_model("llama", -1), "seed in 0"),
        (lambda: TinyModel("llama", 1, spread=0), "spread > 0"),
        (lambda: tokenizer_files("sentences"), "no tokenizer 'sentences'; there are words"),
    ],
)
def test_what_cannot_be_built_is_reported(make: Callable[[], object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make()
