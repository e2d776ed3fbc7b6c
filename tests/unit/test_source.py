"""MODEL → where it is read from: what is on disk is read, what is nowhere is reported before any connection."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.model import source
from lenses_min.model.source import check_weight_files, local_source, source_of
from lenses_min.options import default_model_id

LOCAL = {"local_files_only": True}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.fixture
def folder(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint whose name is an alias of TransformerLens, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Path(shutil.copytree(models / "rms-rope", tmp_path / "gpt2-small"))


@pytest.fixture
def cache(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local Hugging Face cache, with one model."""
    place = tmp_path / "hub" / "models--org--tiny"
    shutil.copytree(models / "rms-rope", place / "snapshots" / "0123abcd")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123abcd")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return place / "snapshots" / "0123abcd"


WAYS = (
    "gpt2-small",
    "./gpt2-small",
    "gpt2-small/",
    "gpt2-small/../gpt2-small",
    "~/gpt2-small",
    "link",
)


@pytest.mark.parametrize("name", WAYS)
def test_a_folder_is_read_by_its_absolute_path(name: str, folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    assert source_of(name) == (str(folder), LOCAL)


def test_the_folder_that_is_named_is_read_and_no_alias(folder: Path) -> None:
    near, far = (
        pipeline.run(RunOptions(name, device="cpu")) for name in ("gpt2-small", str(folder))
    )
    assert near.tables == far.tables
    assert near.manifest["fingerprint"] == far.manifest["fingerprint"]
    assert near.manifest["model_id"] == "gpt2-small"


def test_a_file_is_read_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also through a link, as the Hugging Face cache has them, whose target has another name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blob").write_bytes(b"GGUF")
    for name in ("m.gguf", "M.GGUF"):
        (tmp_path / name).symlink_to(tmp_path / "blob")
        for way in (name, f"./{name}", str(tmp_path / name)):
            assert source_of(way) == (str(tmp_path), {"gguf_file": name} | LOCAL)
    with pytest.raises(LensError, match=r"blob is a file, but no .gguf file; name the folder"):
        source_of("blob")


ABSENT = "there is no checkpoint folder or .gguf file at "


PATHS = ("./missing", "~/missing", "../x", ".", "/no/such", "a/b/c", "missing/", "here/missing")
ODD = ("m.gguf", "M.GGUF", "m.safetensors", "a\\b", "with space", "x" * 300, "\0")


@pytest.mark.parametrize("name", [*PATHS, *ODD])
def test_what_is_a_path_is_never_looked_up(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(source, "hub_source", lambda model: pytest.fail("looked up"))
    with pytest.raises(LensError) as caught:
        source_of(name)
    message = str(caught.value)
    assert message.startswith(". holds no config.json" if name == "." else ABSENT + name)
    assert str(tmp_path.parent) in message or name in (".", "/no/such", "~/missing", "\0")


def test_an_absolute_path_is_named_once(folder: Path) -> None:
    with pytest.raises(LensError, match=r"at \./missing \(looked at /.*/missing\); name a folder"):
        source_of("./missing")


@pytest.mark.parametrize("name", ["gpt2", "org/absent", "Qwen/Qwen2.5-0.5B"])
def test_an_id_of_the_hub_that_is_nowhere_is_refused_before_any_connection(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LensError) as caught:
        source_of(name)
    message = f"there is no folder {Path.cwd() / name} and no cached model {name}"
    assert str(caught.value) == (
        f"{message}, and HF_HUB_OFFLINE forbids to connect; download it where that is allowed: hf download {name}"
    )
    lines: list[str] = []
    monkeypatch.setattr(source.log, "warning", lambda text, *parts: lines.append(text % parts))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert source_of(name) == (name, {})
    assert lines == [f"{message}: downloading it from the Hugging Face hub"]


def test_a_cached_model_is_read_as_its_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a connection is allowed: none is needed."""
    for offline in (True, False):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        assert source_of("org/tiny") == (str(cache), LOCAL)
    (cache / "model.safetensors").unlink()
    assert source_of("org/tiny") == ("org/tiny", {})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LensError, match="the cache holds only a part of org/tiny, and HF_HUB_OFF"):
        source_of("org/tiny")


def test_names_under_which_a_model_is_recorded(folder: Path, cache: Path) -> None:
    """A folder of the cache is named by its model and not by its commit."""
    named = dict.fromkeys(WAYS[:4], "gpt2-small") | {"org/tiny": "org/tiny", str(cache): "org/tiny"}
    named |= {f"{cache}/": "org/tiny", "a/M.GGUF": "M", "a/m.gguf": "m", "gpt2": "gpt2"}
    named |= {"missing/": "missing"}
    alone = Path(shutil.copytree(cache, cache.parents[2] / "models--gpt2" / "snapshots" / "4567"))
    named |= {str(alone): "gpt2"}
    assert {name: default_model_id(name) for name in named} == named
    assert RunOptions("~/gpt2-small").model_id == "gpt2-small"
    assert RunOptions(str(cache)).file_stem == "tiny"
    os.chdir(folder)
    assert default_model_id(".") == "gpt2-small"


def test_a_folder_without_a_config_tells_what_is_inside(folder: Path, cache: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "config.json").rename(folder / "inner" / "config.json")
    (folder / "m.gguf").write_text("")
    message = "holds no config.json; give a Hugging Face checkpoint folder or a .gguf file"
    with pytest.raises(LensError, match=f"{message}; perhaps m.gguf, inner inside it$"):
        source_of(str(folder))
    with pytest.raises(LensError, match=f"{message}; perhaps snapshots/0123abcd inside it$"):
        source_of(str(cache.parents[1]))


ADAPTER = {"base_model_name_or_path": "org/base", "peft_type": "LORA"}


def test_an_adapter_is_named_with_its_base(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER))
    with pytest.raises(LensError, match="holds a model and a LORA adapter, and reading either"):
        source_of(str(folder))
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    message = (
        f"{folder} is a LORA adapter of org/base, not a model; merge it first (merge_and_unload and"
    )
    for _ in range(2):  # with and without the config of the base
        with pytest.raises(LensError) as caught:
            source_of(str(folder))
        assert str(caught.value).startswith(message)
        (folder / "config.json").unlink(missing_ok=True)
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(LensError, match="is a PEFT adapter of the model that it was trained on"):
        source_of(str(folder))


POINTERS = ("config.json", "tokenizer.json", "tokenizer.model", "model.safetensors", "m.gguf")


@pytest.mark.parametrize("name", POINTERS)
def test_a_pointer_of_git_lfs_is_no_file(name: str, folder: Path) -> None:
    (folder / name).write_text(POINTER)
    model = str(folder / name) if name == "m.gguf" else str(folder)

    def read() -> None:
        source_of(model)
        check_weight_files(folder, model)

    with pytest.raises(LensError) as caught:
        read()
    assert str(caught.value) == (
        f"{model}: {name} is a Git LFS pointer, not the file itself; run git lfs pull in {folder}"
    )


def test_a_pointer_of_git_lfs_has_at_most_1024_bytes(folder: Path) -> None:
    """What is longer and begins as one is a file of its own."""
    file = folder / "tokenizer.model"
    file.write_text(POINTER.ljust(1025, "x"))
    source.check_pointers([file], "m")
    file.write_text(POINTER.ljust(1024, "x"))
    with pytest.raises(LensError, match=r"m: tokenizer\.model is a Git LFS pointer"):
        source.check_pointers([file], "m")


TEXTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not JSON: Expecting value: line 1 column 1"),
    "half": (b'{"a": 1', "is not JSON: Expecting ',' delimiter"),
    "a list": (b"[]", "holds no JSON object, got list"),
    "latin-1": (b'{"a": "\xe9"}', "is not UTF-8 text ('utf-8' codec can't decode byte 0xe9"),
    "byte order mark": (b"\xef\xbb\xbf{}", "is not JSON: Unexpected UTF-8 BOM"),
    "deep": (b"[" * 100_000, "is nested too deeply to be a configuration"),
    "bitsandbytes": (
        b'{"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": true}}',
        "is quantized (bitsandbytes), and its weights are not what a lens can read; give the",
    ),
    "gptq inside": (
        b'{"text_config": {"quantization_config": {"quant_method": "gptq"}}}',
        "(gptq)",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_config_that_is_none_is_refused_with_its_fault(name: str, folder: Path) -> None:
    content, message = TEXTS[name]
    (folder / "config.json").write_bytes(content)
    with pytest.raises(LensError) as caught:
        source_of(str(folder))
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def index(*names: str) -> Callable[[Path], object]:
    shards = {f"w{i}": name for i, name in enumerate(names)}
    return lambda f: (f / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": shards})
    )


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "none": (lambda f: None, "there is no model.safetensors; it holds none at all; get a whole"),
    "of TensorFlow": (lambda f: (f / "tf_model.h5").touch(), "it holds tf_model.h5; get a whole"),
    "shards without their index": (
        lambda f: (f / "model-00001-of-00002.safetensors").touch(),
        "there is no model.safetensors.index.json; it holds model-00001-of-00002.safetensors; get",
    ),
    "an index without shards": (
        index("a.safetensors", "b.safetensors"),
        "the index names files that are not there: a.safetensors, b.safetensors; get them, too",
    ),
    "an index of elsewhere": (index("../other/model.safetensors"), "is no index of shards: a JSON"),
    "no index": (
        lambda f: (f / "model.safetensors.index.json").write_text("{"),
        "is no index of shards: a JSON object with metadata, and a weight_map that names files",
    ),
    "a folder": (lambda f: (f / "model.safetensors").mkdir(), "there is no model.safetensors"),
}


@pytest.mark.parametrize("name", FILES)
def test_weights_that_are_not_there_are_reported(name: str, folder: Path) -> None:
    make, message = FILES[name]
    (folder / "model.safetensors").unlink()
    make(folder)
    with pytest.raises(LensError) as caught:
        check_weight_files(folder, "m")
    assert message in str(caught.value)


def test_the_weights_of_a_folder_are_not_looked_up_before_they_are_read(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert local_source(str(folder)) == (str(folder), LOCAL)
    assert local_source("org/absent") is None


@pytest.mark.parametrize(
    ("name", "looked_at"), [("/no/such", ""), ("no/such/path", " (looked at {here}/no/such/path)")]
)
def test_a_relative_path_is_named_with_the_absolute_one(
    name: str, looked_at: str, folder: Path
) -> None:
    with pytest.raises(LensError) as caught:
        source_of(name)
    assert str(caught.value) == (
        f"{ABSENT}{name}{looked_at.format(here=Path.cwd())}; name a folder, a .gguf file, or a model of the hub as "
        "owner/name"
    )


@pytest.mark.parametrize(
    ("files", "perhaps"),
    [
        ([], ""),
        (["notes.txt"], ""),
        (["d.gguf", "b.gguf", "c.gguf", "a.gguf"], "; perhaps a.gguf, b.gguf, c.gguf inside it"),
    ],
)
def test_at_most_three_files_are_proposed(files: list[str], perhaps: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(LensError) as caught:
        source_of(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path} holds no config.json; give a Hugging Face checkpoint folder or a .gguf file{perhaps}"
    )


def test_an_adapter_without_a_kind_is_one_of_peft(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    with pytest.raises(LensError) as caught:
        source_of(str(folder))
    assert str(caught.value) == (
        f"{folder} is a PEFT adapter of org/base, not a model; merge it first (merge_and_unload and save_pretrained of "
        "the package peft) and give the merged folder"
    )


def test_several_pointers_of_git_lfs_are_reported_at_once(folder: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text(POINTER)
    with pytest.raises(LensError) as caught:
        source_of(str(folder))
    assert str(caught.value) == (
        f"{folder}: config.json, tokenizer.json is a Git LFS pointer, not the file itself; run git lfs pull in {folder}"
    )


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ('{"bits": 4}', "quantization_config in its config.json"),
        ('{"quant_method": ""}', "quantization_config in its config.json"),
        ('{"quant_method": "awq"}', "awq"),
        ('"gptq"', "gptq"),
    ],
)
def test_a_quantized_model_is_refused_with_its_scheme(scheme: str, kind: str, folder: Path) -> None:
    (folder / "config.json").write_text(f'{{"quantization_config": {scheme}}}')
    with pytest.raises(LensError) as caught:
        source_of(str(folder))
    assert str(caught.value) == (
        f"{folder} is quantized ({kind}), and its weights are not what a lens can read; give the checkpoint before "
        "quantization, or a .gguf file"
    )


@pytest.mark.parametrize(
    ("n", "listed"),
    [
        (1, "0.safetensors"),
        (3, "0.safetensors, 1.safetensors, 2.safetensors"),
        (4, "0.safetensors, 1.safetensors, 2.safetensors …"),
        (5, "0.safetensors, 1.safetensors, 2.safetensors …"),
    ],
)
def test_at_most_three_missing_shards_are_listed(n: int, listed: str, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index(*(f"{i}.safetensors" for i in range(n)))(folder)
    with pytest.raises(LensError) as caught:
        check_weight_files(folder, "m")
    assert str(caught.value) == (
        f"cannot read the weights of m: the index names files that are not there: {listed}; get them, too"
    )


def test_at_most_three_other_weight_files_are_listed(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for name in ("b.h5", "c.onnx", "a.ot", "d.msgpack"):
        (folder / name).touch()
    with pytest.raises(LensError) as caught:
        check_weight_files(folder, "m")
    assert str(caught.value) == (
        "cannot read the weights of m: there is no model.safetensors; it holds a.ot, b.h5, c.onnx; get a whole "
        "checkpoint"
    )
