"""What transformers is asked for: files that are there already, no code of a checkpoint, all of a .gguf file."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import (
    AutoConfig,
    AutoTokenizer,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from lenses_min.model import bos, gguf_file, pretrained

LOCAL = {"local_files_only": True}
LLAMA: Any = LlamaConfig
Calls = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Name and options of each call of a reader that may connect; each reads a tiny Llama."""
    made: Calls = []

    def reader(owner: Any, name: str, result: Any) -> None:
        def note(place: str, *given: Any, **more: Any) -> Any:
            assert place == "folder"
            made.append((name, more))
            return result

        monkeypatch.setattr(owner, name, note)

    config = LLAMA(architectures=["LlamaForCausalLM"])
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="<unk>"))
    reader(PretrainedConfig, "get_config_dict", ({"model_type": "llama"}, {}))
    reader(AutoConfig, "from_pretrained", config)
    reader(pretrained, "cached_file", "folder/tokenizer.json")
    reader(
        PreTrainedTokenizerFast, "from_pretrained", PreTrainedTokenizerFast(tokenizer_object=words)
    )
    reader(bos, "get_tokenizer_config", {"add_bos_token": True})
    return made


@pytest.mark.parametrize("location", [{}, LOCAL])
def test_what_is_on_disk_is_read_without_a_connection_and_code_is_never_run(
    location: dict[str, Any], calls: Calls
) -> None:
    config = pretrained.read_config("folder", location, "org/m")
    tokenizer = pretrained.read_tokenizer("folder", location, "org/m")
    declared = bos.read_declared("folder", location, tokenizer)
    assert (config.model_type, declared) == ("llama", bos.Declared(None, True))
    assert calls == [
        ("get_config_dict", location),
        ("from_pretrained", location | {"trust_remote_code": False}),
        ("cached_file", location | {"_raise_exceptions_for_missing_entries": False}),
        ("from_pretrained", location),
        ("get_config_dict", location),
        ("get_tokenizer_config", location),
    ]


def test_the_metadata_of_a_file_is_checked_and_its_frequencies_are_scaled(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata, tensors = {"general.architecture": "llama"}, ("rope_freqs.weight",)
    made: list[tuple[Any, ...]] = []

    def step(name: str, result: Any) -> None:
        def note(*given: Any) -> Any:
            made.append((name, *given))
            return result

        monkeypatch.setattr(gguf_file, name, note)

    step("check_header", (metadata, tensors))
    step("check_metadata", None)
    step("scale_frequencies", None)
    location = LOCAL | {"gguf_file": "m.gguf"}
    config = pretrained.read_config("folder", location, "org/m")
    file = Path("folder", "m.gguf")
    assert made == [
        ("check_header", file, "org/m"),
        ("check_metadata", metadata, config, "org/m"),
        ("scale_frequencies", config, file, tensors),
    ]
    assert calls == [("from_pretrained", location | {"trust_remote_code": False})]


def test_a_tokenizer_of_letters_that_has_no_token_for_the_unknown_is_read(tmp_path: Path) -> None:
    letters = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="<unk>"))
    letters.save(str(tmp_path / "tokenizer.json"))
    tokenizer = pretrained.read_tokenizer(str(tmp_path), LOCAL, "org/m")
    assert tokenizer("b", add_special_tokens=False)["input_ids"] == [1]


def test_a_special_token_that_the_vocabulary_lacks_is_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends a text, and a prompt is read without it."""

    class Ending:
        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, Any]:
            return {"input_ids": [0, None] if add_special_tokens else [0]}

        def decode(self, ids: list[int]) -> str:
            return "".join("a"[i] for i in ids)

    tokenizer = Ending()
    monkeypatch.setattr(pretrained, "cached_file", lambda *given, **more: None)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *given, **more: tokenizer)
    assert pretrained.read_tokenizer("folder", LOCAL, "org/m") is tokenizer
