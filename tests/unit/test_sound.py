"""All of a checkpoint is read, or it is refused with what is not: safetensors and .bin, whole or in parts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from lenses_min import LensError, RunOptions
from lenses_min.core.forward import last_logits
from lenses_min.model.load import LoadedModel, load
from spec.recipe import build, new_model

Tensors = dict[str, Tensor]
Change = Callable[[Tensors], object]
UP = "model.layers.1.mlp.up_proj.weight"
INV_FREQ = "model.layers.0.self_attn.rotary_emb.inv_freq"
PARTS = ("model-00001-of-00002", "model-00002-of-00002")


def store_whole(folder: Path, tensors: Tensors) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def store_bin(folder: Path, tensors: Tensors) -> None:
    torch.save(tensors, folder / "pytorch_model.bin")


def store_parts(folder: Path, tensors: Tensors) -> None:
    names = sorted(tensors)
    halves = (names[::2], names[1::2])
    places: dict[str, str] = {}
    for part, half in zip(PARTS, halves, strict=True):
        file = f"{part}.safetensors"
        save_file({name: tensors[name] for name in half}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(half, file)
    index = {"metadata": {"total_size": 4}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


STORES = {"safetensors": store_whole, "bin": store_bin, "parts": store_parts}


def added(more: Tensors) -> Change:
    return lambda tensors: tensors.update(more)


def converted(name: str, dtype: torch.dtype) -> Change:
    return lambda tensors: tensors.update({name: tensors[name].to(dtype)})


def checkpoint(
    folder: Path, change: Change, store: str = "safetensors", family: str = "llama", **config: Any
) -> Path:
    """A tiny model whose tensors, under a new config or not, are changed and stored in some way."""
    build(new_model(family, seed=3), folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    change(tensors)
    STORES[store](folder, tensors)
    written = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(written))
    return folder


def read(folder: Path) -> LoadedModel:
    return load(RunOptions(str(folder), device="cpu"))


def logits(model: LoadedModel) -> Tensor:
    return last_logits(model.bridge, [[1, 7, 9, 30]])


def same_as_transformers(model: LoadedModel, folder: Path) -> bool:
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = plain(torch.tensor([[1, 7, 9, 30]])).logits[:, -1]
    return torch.allclose(logits(model), expected, rtol=1e-4, atol=1e-4)


def refusal(folder: Path) -> str:
    with pytest.raises(LensError) as caught:
        read(folder)
    return str(caught.value)


@pytest.mark.parametrize("store", STORES)
def test_a_whole_checkpoint_is_read_without_a_warning(store: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, lambda t: None, store)
    model = read(folder)
    assert model.warnings == ()
    assert same_as_transformers(model, folder)


def bias(tensors: Tensors) -> None:
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.ones(32)


LEFT = "as its config.json has it: "
CHANGES: dict[str, tuple[Change, str]] = {
    "one gone": (lambda t: t.pop(UP), f"lacks weights: {UP}; get a sound checkpoint"),
    "the head gone": (lambda t: t.pop("lm_head.weight"), "lacks weights: lm_head.weight; get a"),
    "another shape": (
        lambda t: t.update({UP: torch.zeros(3, 3)}),
        f"{UP} ([3, 3] in the file, [64, 32] by the config); get a sound checkpoint, with the config",
    ),
    "a bias that the config has not": (
        bias,
        f"{LEFT}model.layers.0.self_attn.q_proj.bias; the con",
    ),
    "a layer more": (
        lambda t: t.update({k.replace("layers.1", "layers.4"): v.clone() for k, v in t.items()}),
        f"{LEFT}model.layers.4.input_layernorm.weight and 8 more; the config leaves them out",
    ),
    "a bias of the head": (
        lambda t: t.update({"lm_head.bias": torch.ones(115)}),
        f"LlamaForCausalLM does not read {LEFT}lm_head.bias; the",
    ),
    "scales of quantization": (
        lambda t: t.update({UP.replace("weight", "weight_scale"): torch.ones(1)}),
        f"{LEFT}{UP}_scale; the",
    ),
    "an adapter that is not merged": (
        lambda t: t.update({UP.replace("weight", "lora_A.weight"): torch.ones(2, 32)}),
        "up_proj.lora_A.weight; the",
    ),
    "other frequencies": (
        lambda t: t.update({INV_FREQ: torch.tensor([1.0, 0.05, 0.005, 0.0005])}),
        f"{LEFT}{INV_FREQ}; the",
    ),
}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("name", CHANGES)
def test_what_is_missing_or_not_read_is_refused(name: str, store: str, tmp_path: Path) -> None:
    change, message = CHANGES[name]
    assert message in refusal(checkpoint(tmp_path, change, store))


FREQUENCIES = torch.tensor([1.0, 0.1, 0.01, 0.001])


def mask(window: int = 128) -> Tensor:
    square = torch.ones(128, 128).tril()
    return (square - square.tril(-window))[None, None]


HARMLESS: dict[str, tuple[str, Tensors]] = {
    "frequencies": ("llama", {INV_FREQ: FREQUENCIES}),
    "frequencies in half precision": ("llama", {INV_FREQ: FREQUENCIES.bfloat16()}),
    "positions": ("llama", {"model.position_ids": torch.arange(128)[None]}),
    "another head": ("llama", {"score.weight": torch.ones(2, 32)}),
    "a value head": ("llama", {"v_head.summary.weight": torch.ones(1, 32)}),
    "a mask": ("gpt2", {"transformer.h.0.attn.bias": mask().bool()}),
    "a mask and its value": (
        "gptj",
        {
            "transformer.h.0.attn.bias": mask(),
            "transformer.h.0.attn.masked_bias": torch.tensor(-1e9),
        },
    ),
    "a mask with a window": ("gpt_neox", {"gpt_neox.layers.0.attention.bias": mask(16).byte()}),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_the_model_makes_itself_and_other_heads_are_named_in_a_warning(
    name: str, tmp_path: Path
) -> None:
    family, more = HARMLESS[name]
    folder = checkpoint(tmp_path, lambda t: t.update(more), family=family)
    model = read(folder)
    first, *others = sorted(more)
    names = f"{first} and {len(others)} more" if others else first
    assert model.warnings == (f"weights that do not lead to the logits are not read: {names}",)
    assert same_as_transformers(model, folder)


def test_names_of_the_part_below_the_head_are_read(tmp_path: Path) -> None:
    """As GPT-2 was published."""

    def rename(tensors: Tensors) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = mask()

    def untie(tensors: Tensors) -> None:
        tensors.pop("lm_head.weight")
        rename(tensors)

    folder = checkpoint(tmp_path, untie, family="gpt2", tie_word_embeddings=True)
    model = read(folder)
    assert [warning.rsplit(" ", 1)[-1] for warning in model.warnings] == ["h.0.attn.bias"]
    assert same_as_transformers(model, folder)


def test_what_only_looks_like_a_mask_is_refused(tmp_path: Path) -> None:
    for i, wrong in enumerate((torch.ones(32), mask() * 2, torch.ones(1, 1, 128, 128), -mask())):
        more = {"transformer.h.0.attn.bias": wrong}
        folder = checkpoint(tmp_path / str(i), added(more), family="gpt2")
        assert f"{LEFT}transformer.h.0.attn.bias; the" in refusal(folder)


def test_tied_weights_and_a_head_of_its_own_beside_them(tmp_path: Path) -> None:
    """Where the config ties the head and the file has another one, it is read."""
    tied = checkpoint(
        tmp_path / "tied", lambda t: t.pop("lm_head.weight"), tie_word_embeddings=True
    )
    own = checkpoint(tmp_path / "own", lambda t: None, tie_word_embeddings=True)
    for folder in (tied, own):
        stored = load_file(folder / "model.safetensors")
        head = stored.get("lm_head.weight", stored["model.embed_tokens.weight"])
        model = read(folder)
        assert torch.equal(model.head.weight, head)
        assert same_as_transformers(model, folder)
        assert model.warnings == ()


def test_parts_that_do_not_fit_together(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "a", lambda t: None, "parts")
    first, second = (folder / f"{part}.safetensors" for part in PARTS)
    tensors = load_file(second) | {"model.norm.weight": torch.zeros(32)}
    save_file(tensors | load_file(first), second, metadata={"format": "pt"})
    assert f"twice, in {PARTS[0]}.safetensors and {PARTS[1]}.safetensors; get a" in refusal(folder)
    folder = checkpoint(tmp_path / "b", lambda t: None, "parts")
    index = folder / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    index.write_text(
        json.dumps(
            {"metadata": {}, "weight_map": {k: v for k, v in places.items() if PARTS[0] in v}}
        )
    )
    assert "lacks weights: " in refusal(folder)
    elsewhere = dict.fromkeys(places, f"{PARTS[1]}.safetensors")
    index.write_text(json.dumps({"metadata": {}, "weight_map": elsewhere}))
    assert "lacks weights: " in refusal(folder)


def test_files_beside_those_that_are_read_are_named(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, lambda t: None)
    for name in ("pytorch_model.bin", "consolidated.00.pth", "consolidated.safetensors"):
        (folder / name).write_bytes(b"")
    (folder / "training_args.bin").write_bytes(b"")
    warning = "model.safetensors is read, and not consolidated.safetensors and 1 more"
    assert read(folder).warnings == (f"of several weight files {warning}",)


class Harm:
    def __reduce__(self) -> Any:
        return (print, ("code of the checkpoint runs",))


def test_a_bin_file_is_no_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = checkpoint(tmp_path, lambda t: None, "bin")
    torch.save({"w": Harm()}, folder / "pytorch_model.bin")
    assert refusal(folder).startswith(f"cannot read the weights of {folder}: ")
    assert "code of the checkpoint" not in capsys.readouterr().out


def test_weights_too_large_for_float16_name_the_wider_dtypes(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, lambda t: t[UP].mul_(1e6))
    with pytest.raises(LensError) as caught:
        load(RunOptions(str(folder), device="cpu", dtype="float16"))
    message = (
        f"not finite: {UP}; float16 ends at 65504: use --dtype bfloat16 or float32, else get a"
    )
    assert message in str(caught.value)
    assert load(RunOptions(str(folder), device="cpu", dtype="bfloat16")).facts.dtype == "bfloat16"


def test_integers_are_no_weights(tmp_path: Path) -> None:
    for i, kind in enumerate((torch.int8, torch.uint8, torch.int32)):
        folder = checkpoint(tmp_path / str(i), converted(UP, kind))
        assert (
            f"holds integers where weights should be, as quantized ones are: {UP}; give"
            in refusal(folder)
        )
