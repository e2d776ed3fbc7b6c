"""What is read before a prompt: from the files of a checkpoint, under both contracts, and when it is overridden."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import cat

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.core.tokens import Tokens
from lenses_min.core.types import Bos
from lenses_min.model import gguf_cache
from lenses_min.model.bos import Declared, choose_bos, read_declared
from lenses_min.model.pretrained import read_tokenizer
from lenses_min.options import CORRECTED, REFERENCE
from spec.runs.run import read_run
from spec.schema.validate import validate
from tests import tiny_gguf
from tests.tiny_tokenizers import tokenizer

S, END = 1, 2  # the ids of <s> and </s>


def checkpoint(
    folder: Path,
    special: Mapping[str, Any],
    config: Mapping[str, Any],
    template: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
) -> Path:
    """tokenizer.json with a template, tokenizer_config.json of `special` where there are any, and config.json."""
    folder.mkdir()
    tokenizer("words", *template).backend_tokenizer.save(str(folder / "tokenizer.json"))
    if special:
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **special})
        )
    (folder / "config.json").write_text(json.dumps(config))
    return folder


NONE: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
BOTH, EOS = {"bos_token": "<s>", "eos_token": "</s>"}, {"eos_token": "</s>"}
SAME = {"bos_token": "</s>", "eos_token": "</s>"}
CASES: dict[str, tuple[str, Mapping[str, Any], Mapping[str, Any], Any, list[int], list[int]]] = {
    # family, tokenizer_config.json, config.json, template; read by the reference, read by the corrected contract
    "llama": ("llama", BOTH, {"bos_token_id": 1}, (("<s>",), ()), [S], [S]),
    "gemma": ("gemma3_text", BOTH | {"add_bos_token": True}, {}, (("<s>",), ()), [S], [S]),
    "mistral without a template": ("mistral", BOTH, {"bos_token_id": 2}, NONE, [S], [S]),
    "gpt2": ("gpt2", SAME, {"bos_token_id": 2}, NONE, [END], [END]),
    "gpt2 by tokenizer.json alone": ("gpt2", {}, {"bos_token_id": 2}, NONE, [END], [END]),
    "opt": ("opt", SAME | {"add_bos_token": True}, {}, (("</s>",), ()), [END], [END]),
    "phi": ("phi", SAME, {"bos_token_id": None}, NONE, [END], [END]),
    "falcon": ("falcon", EOS, {"bos_token_id": 2}, NONE, [END], [END]),
    "falcon of another id": ("falcon", EOS, {"bos_token_id": 1}, NONE, [END], [S]),
    "bloom": ("bloom", BOTH, {"bos_token_id": 1}, NONE, [], []),
    "qwen2": ("qwen2", EOS, {"bos_token_id": 1}, NONE, [], []),
    "qwen3 with BOS": ("qwen3", BOTH, {}, NONE, [], []),
    "qwen3_moe": ("qwen3_moe", EOS | {"add_bos_token": False}, {}, NONE, [END], []),
    "qwen2_moe": ("qwen2_moe", EOS, {"bos_token_id": 1}, NONE, [END], []),
    "distilled qwen2": ("qwen2", BOTH, {}, (("<s>",), ()), [], [S]),
    "qwen2 that adds BOS": ("qwen2", BOTH | {"add_bos_token": True}, {}, NONE, [], [S]),
    "gpt_neox": ("gpt_neox", BOTH | {"add_bos_token": False}, {}, NONE, [S], []),
    "no BOS anywhere": ("llama", EOS, {"bos_token_id": None}, NONE, [END], []),
    "neither BOS nor EOS": ("llama", {}, {}, NONE, [], []),
    "config.json alone": ("llama", {}, {"bos_token_id": 1}, NONE, [S], [S]),
    "an id beyond the tokenizer": ("llama", {}, {"bos_token_id": 9999}, NONE, [], []),
    "with vision": ("gemma3", {}, {"text_config": {"bos_token_id": 1}}, NONE, [S], [S]),
    "class and end": ("bert", EOS, {}, (("<pad>",), ("</s>",)), [END], [3]),
    "a template of two": ("chatglm", EOS, {}, (("<pad>", "<s>"), ()), [END], [3, S]),
    "a template that only ends": ("t5", BOTH, {}, ((), ("</s>",)), [S], []),
}


@pytest.mark.parametrize("name", CASES)
def test_each_family_by_its_files(name: str, tmp_path: Path) -> None:
    family, special, config, template, reference, corrected = CASES[name]
    folder = checkpoint(tmp_path / "model", special, {"model_type": family, **config}, template)
    location = {"local_files_only": True}
    read = read_tokenizer(str(folder), location, "m")
    declared = read_declared(str(folder), location, read)
    own, other = choose_bos(read, family, declared, "auto", by_declaration=False)
    assert (list(own.ids), list(other.ids)) == (reference, corrected)
    assert choose_bos(read, family, declared, "auto", by_declaration=True) == (other, own)
    assert own.rule
    assert other.rule


def test_the_rule_and_a_warning_where_config_json_names_no_token() -> None:
    read = tokenizer()
    own, _ = choose_bos(read, "llama", Declared(bos_token_id=115), "auto", by_declaration=True)
    assert own.rule == "bos_token_id 115 of config.json is no token of the tokenizer"
    assert own.warning == f"{own.rule}: no BOS is read"


def test_the_option_overrides_either_contract() -> None:
    read, declared = tokenizer(bos_token="<s>"), Declared(add_bos_token=False)
    for corrected in (False, True):
        none, _ = choose_bos(read, "llama", declared, "none", corrected)
        assert (none.ids, none.rule) == ((), "--bos none")
        own, _ = choose_bos(read, "qwen2", declared, "model", corrected)
        assert (own.ids, own.rule) == ((S,), "--bos model: bos_token of the tokenizer")
    with pytest.raises(LensError, match=r"--bos model: neither .* declares a BOS; use --bos none"):
        choose_bos(tokenizer(eos_token="</s>"), "llama", Declared(), "model", by_declaration=True)


def test_an_override_is_compared_with_the_reference_s_rule_or_with_itself() -> None:
    """Under the corrected contract with the reference's rule; under the reference's the user chose it."""
    read, declared = tokenizer(bos_token="<s>"), Declared(add_bos_token=False)
    none = Bos((), "--bos none")
    reference = Bos((S,), "bos_token of the tokenizer")
    assert choose_bos(read, "llama", declared, "none", True) == (none, reference)
    assert choose_bos(read, "llama", declared, "none", False) == (none, none)


@pytest.mark.parametrize(
    ("flag", "read"), [(True, True), (False, False), (None, None), ("false", None), (1, None)]
)
def test_the_flag_of_a_gguf_file_is_that_of_its_tokenizer(
    flag: object, read: bool | None, models: Path, tmp_path: Path
) -> None:
    """Its BOS is that of its metadata; a flag that is neither true nor false is none."""
    tiny_gguf.write(tmp_path / "m.gguf", models)
    made = SimpleNamespace(init_kwargs={} if flag is None else {"add_bos_token": flag})
    location = {"gguf_file": "m.gguf", "local_files_only": True}
    assert read_declared(str(tmp_path), location, made) == Declared(0, read)


def test_a_bos_of_the_text_is_read_once_by_the_corrected_contract_and_twice_by_the_reference() -> (
    None
):
    read = tokenizer(bos_token="<s>", unk_token="<unk>")
    for corrected, times in ((True, 1), (False, 2)):
        own, other = choose_bos(read, "llama", Declared(), "auto", corrected)
        tokens = Tokens(read, own, other=other, rules=CORRECTED if corrected else REFERENCE)
        for text in ("<s>The capital", "<s> The capital", " <s>The capital"):
            assert tokens.model_input(text).count(S) == times
        assert tokens.model_input("The capital").count(S) == 1


def test_an_unknown_word_is_no_bos_though_the_tokenizer_lends_its_id() -> None:
    own, _ = choose_bos(
        read := tokenizer(bos_token="<unk>"), "llama", Declared(), "auto", by_declaration=True
    )
    assert Tokens(read, own, rules=CORRECTED).model_input("nobody") == [0, 0]


@pytest.fixture
def bare(models: Path, tmp_path: Path) -> Path:
    """`fact` with tokenizer.json alone and two ids more in the model than the tokenizer has."""
    folder = tmp_path / "bare"
    shutil.copytree(models / "fact", folder)
    for path in (*folder.glob("tokenizer_config.json"), *folder.glob("special_tokens_map.json")):
        path.unlink()
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] += 2
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = cat([weights[name], weights[name][:2]])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_the_tokenizer_stays_as_it_is_on_disk(bare: Path) -> None:
    """TransformerLens adds an EOS to a tokenizer that has none, and lends it as BOS."""
    for contract in ("reference", "corrected"):
        run = pipeline.run(RunOptions(str(bare), device="cpu", contract=contract))
        assert run.manifest["bos"] == {"ids": [S], "rule": "bos_token_id of config.json"}
        assert {prompt["token_ids"][0] for prompt in run.manifest["prompts"]} == {S}
        assert not [line for line in run.manifest["warnings"] if "R14" in line]


@pytest.fixture
def lending(models: Path, tmp_path: Path) -> Path:
    """`fact` whose files declare an EOS and no BOS."""
    folder = tmp_path / "lending"
    shutil.copytree(models / "fact", folder)
    for name, key in (("config.json", "bos_token_id"), ("tokenizer_config.json", "bos_token")):
        config = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**config, key: None}))
    return folder


def test_what_a_run_tells_of_a_lent_eos(lending: Path, tmp_path: Path) -> None:
    reference, corrected = (
        pipeline.run(RunOptions(str(lending), device="cpu", contract=contract))
        for contract in ("reference", "corrected")
    )
    assert reference.manifest["prompts"][0]["token_ids"][0] == END
    assert [line for line in reference.manifest["warnings"] if line.startswith("R14")] == [
        "R14: the model reads '</s>' (id 2) before every prompt (a tokenizer without BOS lends its EOS), where its "
        "makers meant no BOS (neither the tokenizer nor config.json declares a BOS): every number depends on it; "
        "--contract corrected or --bos changes it"
    ]
    assert corrected.manifest["bos"]["ids"] == []
    assert corrected.manifest["warnings"] == []
    assert [entry["id"] for entry in corrected.document["differs"]][-2:] == ["rank", "R14"]
    corrected.save(tmp_path / "out")
    assert validate(read_run(tmp_path / "out", "lending")) == []
    overridden = pipeline.run(RunOptions(str(lending), device="cpu", bos="none"))
    assert overridden.manifest["bos"] == {"ids": [], "rule": "--bos none"}
    assert overridden.manifest["warnings"] == []


def test_a_text_that_begins_with_bos_gets_a_warning_under_the_reference(
    fact_options: RunOptions, tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "passes: [{id: a, context: <s>The capital of Germany is called, answer: Berlin}]\n"
        "test_prompts: [<s>Berlin is, Berlin is]\n"
    )
    run = pipeline.run(replace(fact_options, prompts=str(path)))
    assert run.manifest["prompts"][0]["token_ids"][:2] == [S, S]
    assert run.manifest["warnings"] == [
        "R14: a/orig, test prompt '<s>Berlin is': the text begins with BOS, and the model reads it twice"
    ]
    run = pipeline.run(replace(fact_options, prompts=str(path), contract="corrected"))
    assert run.manifest["prompts"][0]["token_ids"].count(S) == 1
    assert run.manifest["warnings"] == []


def test_an_empty_prompt_without_bos_is_refused_with_the_rule(
    fact_options: RunOptions, tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("passes: [{id: a, context: '', answer: Berlin}]")
    with pytest.raises(LensError) as caught:
        pipeline.run(replace(fact_options, prompts=str(path), bos="none"))
    assert str(caught.value) == (
        "prompt a/orig has 0 tokens, the model reads 1 to 128; "
        "use another prompt or a model with a longer context; "
        "no BOS stands before a prompt (--bos none)"
    )


def test_a_converted_file_keeps_whether_bos_is_added(models: Path, tmp_path: Path) -> None:
    read = read_tokenizer(str(models / "fact"), {"local_files_only": True}, "m")
    read.init_kwargs["add_bos_token"] = False
    model = SimpleNamespace(
        config=SimpleNamespace(quantization_config="of the file"),
        save_pretrained=lambda part: shutil.copytree(models / "fact", part),
    )
    gguf_cache.write(tmp_path / "part", model, read)
    assert vars(model.config) == {}, "the weights that are kept are plain"
    again = read_tokenizer(str(tmp_path / "part"), {"local_files_only": True}, "m")
    assert read_declared(str(tmp_path / "part"), {}, again).add_bos_token is False
