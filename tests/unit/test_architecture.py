"""Which models are refused by their configuration, and what an error of TransformerLens becomes."""

import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import CONFIG_MAPPING

from lenses_min import LensError
from lenses_min.model import architecture

LLAMA: Any = CONFIG_MAPPING["llama"]


def refusal(call: Any, *given: Any) -> str:
    with pytest.raises(LensError) as caught:
        call(*given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({}, ""),
        ({"auto_map": {}}, ""),
        (
            {"auto_map": {"AutoModelForCausalLM": "modeling_new.NewForCausalLM"}},
            ", and the code that comes with it is never run",
        ),
    ],
)
def test_a_type_that_transformers_does_not_know(
    more: dict[str, Any], code: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "newer"} | more))
    location = {"local_files_only": True}
    assert refusal(architecture.check_type, str(tmp_path), location, "org/m") == (
        f"org/m is of the type 'newer', which transformers {version('transformers')} does not know{code}; use a model "
        "whose code is part of transformers"
    )


def test_a_model_of_pictures_is_no_causal_language_model() -> None:
    config: Any = CONFIG_MAPPING["vit"]()
    assert refusal(architecture.model_class, config, "org/m") == (
        "org/m is of the type 'vit', not a causal language model; the lens reads decoders only"
    )


def test_a_class_of_the_checkpoint_itself_is_never_run() -> None:
    code = {"AutoModelForCausalLM": "modeling_mine.MineForCausalLM"}
    config = LLAMA(architectures=["LlamaForCausalLM"], auto_map=code)
    assert refusal(architecture.model_class, config, "org/m") == (
        "org/m is MineForCausalLM, whose code comes with the checkpoint and is never run; LlamaForCausalLM of "
        "transformers may be another model; use a checkpoint that needs no code of its own"
    )
    same = {"AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM"}
    config = LLAMA(architectures=["LlamaForCausalLM"], auto_map=same)
    assert architecture.model_class(config, "org/m")[1].__name__ == "LlamaForCausalLM"
    assert len(architecture.unused_code(config)) == 1


def test_a_class_of_the_checkpoint_is_named_without_its_module() -> None:
    """Also where the module lies in a repository whose own name has a dot."""
    for place in ("modeling_mine", "org/m-1.5--modeling_mine", "inner.modeling_mine"):
        config = LLAMA(auto_map={"AutoModel": f"{place}.MineForCausalLM"})
        assert architecture.shipped_class(config, "AutoModel") == "MineForCausalLM"
        assert architecture.shipped_class(config, "AutoModelForCausalLM") == ""
    assert architecture.shipped_class(LLAMA(), "AutoModel") == ""


def test_the_loader_is_that_of_the_first_architecture_that_transformer_lens_knows() -> None:
    """A model with vision has another one than a model of text alone."""
    llava = "LlavaForConditionalGeneration"
    config: Any = CONFIG_MAPPING["llava"](architectures=["MineForCausalLM", llava])
    loader, own = architecture.model_class(config, "org/m")
    assert (loader.__name__, own.__name__) == ("AutoModelForImageTextToText", llava)
    loader, own = architecture.model_class(LLAMA(architectures=["MineForCausalLM"]), "org/m")
    assert (loader.__name__, own.__name__) == ("AutoModelForCausalLM", "LlamaForCausalLM")


def test_a_class_is_known_to_transformer_lens_in_either_case() -> None:
    """Its name counts, since TransformerLens looks it up by that."""
    names = ("LlamaForCausalLM", "LLAMAForCausalLM", "llamaforcausallm")
    assert {architecture.adapter_name(type(name, (), {}), "m") for name in names} == {names[0]}
    assert refusal(architecture.adapter_name, type("NewForCausalLM", (), {}), "org/m") == (
        f"org/m is NewForCausalLM, which TransformerLens {version('transformer-lens')} does not know; use a model of "
        "one of the architectures that TransformerBridge.list_supported_models lists"
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AssertionError(), "it gives no reason"),
        (AssertionError("no\nnorm."), "no norm"),
        (KeyError("rope"), "'rope'"),
    ],
)
def test_what_transformer_lens_raises_is_reported_with_its_reason_and_the_options(
    error: Exception, reason: str
) -> None:
    def boot() -> None:
        hf_model = SimpleNamespace(config=LLAMA(attention_bias=True))
        with architecture.wrapping_errors(hf_model, "org/m"):
            raise error

    assert refusal(boot) == (
        f"org/m cannot be read: TransformerLens {version('transformer-lens')} does not take it, though transformers "
        f"runs it: {reason}; options of its config that are not its family's defaults: attention_bias=True"
    )


def test_an_error_of_ours_is_not_wrapped() -> None:
    def boot() -> None:
        with architecture.wrapping_errors(None, "org/m"):
            raise LensError("as it is")

    assert refusal(boot) == "as it is"
