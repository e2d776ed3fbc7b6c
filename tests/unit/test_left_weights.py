"""Which tensors of a checkpoint may be left unread, tensor by tensor."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_cuda import fake_cuda, move
from safetensors.torch import save_file
from torch import Tensor

from lenses_min import LensError
from lenses_min.model import weights


def model(buffers: dict[str, Tensor] | None = None, declared: list[str] | None = None) -> Any:
    return SimpleNamespace(
        base_model_prefix="model",
        named_buffers=lambda: iter((buffers or {}).items()),
        _keys_to_ignore_on_load_unexpected=declared,
    )


def test_a_tensor_has_its_name_with_and_without_the_part_below_the_head() -> None:
    assert weights.own_names(model(), "model.norm.weight") == {
        "model.norm.weight",
        "model.model.norm.weight",
        "norm.weight",
    }
    assert weights.own_names(model(), "norm.model.") == {"norm.model.", "model.norm.model."}


BUFFERS = {"model.table.ids": torch.zeros(2).long(), "model.rope.inv_freq": torch.zeros(2)}


@pytest.mark.parametrize(
    ("key", "held"),
    [
        ("model.table.ids", True),
        ("table.ids", True),
        ("an.older.path.ids", True),
        ("ids", True),
        ("rope.inv_freq", True),
        ("an.older.path.inv_freq", False),  # no table: its values are no ids
        ("model.layers.0.mlp.weight", False),
        ("ids.weight", False),
    ],
)
def test_integers_of_a_file_are_those_of_a_buffer(key: str, held: bool) -> None:
    assert weights.holds_integers(model(BUFFERS), key) is held


def test_what_the_class_declares_as_not_its_own_may_be_left() -> None:
    declared = model(declared=[r"^mtp\.", "visual"])
    names = ("mtp.layers.0.weight", "model.visual.weight", "model.mtp.weight", "score.weight")
    assert [weights.may_be_left(declared, name, {}) for name in names] == [True, True, False, True]
    assert not weights.may_be_left(model(), "mtp.layers.0.weight", {})


TRIANGLE = torch.ones(4, 4).tril()
MASKS: dict[str, tuple[Tensor, bool]] = {
    "a square": (TRIANGLE, True),
    "a square of one head": (TRIANGLE[None], True),
    "as it is stored": (TRIANGLE[None, None].bool(), True),
    "with a window": (TRIANGLE.triu(-1), True),
    "that sees one token ahead": (torch.ones(4, 4).tril(1), False),
    "that sees all": (torch.ones(4, 4), False),
    "that does not see itself": (torch.ones(4, 4).tril(-1), False),
    "of more columns than rows": (torch.ones(4, 5).tril(), False),
    "of more rows than columns": (torch.ones(5, 4).tril(), False),
    "of two heads": (torch.stack([TRIANGLE, TRIANGLE])[None], False),
    "of as many numbers as a square has": (torch.ones(2, 2, 4), False),
    "of one row": (torch.ones(4), False),
    "of one number": (torch.tensor(1.0), False),
    "of other numbers": (TRIANGLE / 2, False),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_causal_mask_is_known_by_its_values(name: str) -> None:
    stored, own = MASKS[name]
    assert weights.is_own_buffer(model(), "transformer.h.0.attn.bias", stored) is own


@pytest.mark.parametrize(
    ("value", "own"),
    [
        (torch.tensor(-1e9), True),
        (torch.tensor([-1e4]), True),  # as GPT-2 was published
        (torch.tensor(-9999.0), False),
        (torch.tensor(0.0), False),
        (torch.tensor([-1e9, -1e9]), False),
    ],
)
def test_the_value_of_a_mask_is_one_large_negative_number(value: Tensor, own: bool) -> None:
    assert weights.is_own_buffer(model(), "transformer.h.0.attn.masked_bias", value) is own


EPS = 2.0**-23  # of float32; a file may round by four of them
MADE = torch.tensor([1.0, 1e-9])


@pytest.mark.parametrize(
    ("stored", "same"),
    [
        (MADE, True),
        (torch.tensor([1.0 + 4 * EPS, 1e-9]), True),
        (torch.tensor([1.0 + 5 * EPS, 1e-9]), False),
        (torch.tensor([1.0, 2e-9]), False),
        (torch.tensor([1.0]), False),
        (torch.tensor([1.0, 1e-9, 1e-18]), False),
        (torch.tensor([1, 0]), False),
    ],
)
def test_frequencies_are_the_same_but_for_rounding(stored: Tensor, same: bool) -> None:
    key = "model.rotary_emb.inv_freq"
    assert weights.is_own_buffer(model({key: MADE}), key, stored) is same


def test_frequencies_are_read_from_the_file_and_compared(tmp_path: Path) -> None:
    key, file = "model.rotary_emb.inv_freq", tmp_path / "model.safetensors"
    save_file({key: MADE}, file)
    assert weights.may_be_left(model({key: MADE}), key, {key: file})
    assert not weights.may_be_left(model({key: MADE * 2}), key, {key: file})
    assert not weights.may_be_left(model({key: MADE}), key, {})


@pytest.mark.parametrize("unread", [True, False])
def test_integers_may_be_a_buffer_or_a_mask_that_is_not_read(unread: bool, tmp_path: Path) -> None:
    key = "transformer.h.0.attn.bias" if unread else "model.table.ids"
    save_file({key: TRIANGLE.bool()}, tmp_path / "model.safetensors")
    read: Any = SimpleNamespace(**vars(model(BUFFERS)), state_dict=dict)
    info = {"unexpected_keys": [key] if unread else []}
    warning = f"weights that do not lead to the logits are not read: {key}"
    assert weights.check_read(read, info, tmp_path, "org/m") == ([warning] if unread else [])


def test_integers_where_a_weight_should_be_are_refused(tmp_path: Path) -> None:
    save_file({"model.norm.weight": torch.ones(2).char()}, tmp_path / "model.safetensors")
    read: Any = SimpleNamespace(**vars(model(BUFFERS)), state_dict=dict)
    with pytest.raises(LensError) as caught:
        weights.check_read(read, {"unexpected_keys": []}, tmp_path, "org/m")
    assert str(caught.value) == (
        "org/m holds integers where weights should be, as quantized ones are: model.norm.weight; give the checkpoint "
        "before quantization"
    )


def test_tensors_that_transformers_leaves_without_a_report_are_known_by_name() -> None:
    """But for those that the model has, under any of their names."""
    left = ["position_ids", "model.position_ids", "a.rotary_emb.inv_freq", "mtp.weight"]
    others = ["b.position_ids", "model.position_ids.weight", "old_position_ids", "norm.weight"]
    read = model(declared=[r"^mtp\."])
    read.state_dict = lambda: {"model.b.position_ids": torch.arange(2)}
    places = dict.fromkeys([*left, *others], Path("model.safetensors"))
    assert weights.hidden(read, places) == left


def whole(**found: Any) -> str:
    info: dict[str, Any] = {"missing_keys": [], "mismatched_keys": [], "error_msgs": []}
    with pytest.raises(LensError) as caught:
        weights.check_whole(info | found, "org/m")
    return str(caught.value)


def test_what_is_no_whole_checkpoint_is_refused() -> None:
    weights.check_whole({"missing_keys": [], "mismatched_keys": []}, "org/m")
    assert whole(missing_keys=["b", "a"]) == (
        "org/m lacks weights: a and 1 more; get a sound checkpoint"
    )
    assert whole(mismatched_keys=[("b", (1,), (2,)), ("a", (3, 4), (5, 6))]) == (
        "org/m holds weights in another shape than its config says: a and 1 more ([3, 4] in the file, [5, 6] by the "
        "config); get a sound checkpoint, with the config.json that belongs to it"
    )
    assert whole(error_msgs=["shape of b", "shape of a"]) == (
        "org/m: its weights cannot be read: shape of a and 1 more; get a sound checkpoint"
    )


@pytest.mark.parametrize(
    ("dtype", "value", "remedy"),
    [
        (torch.float16, torch.inf, "float16 ends at 65504: use --dtype bfloat16 or float32, else "),
        (torch.float16, torch.nan, ""),
        (torch.bfloat16, torch.inf, ""),
    ],
)
def test_what_is_no_number_is_not_too_large(dtype: torch.dtype, value: float, remedy: str) -> None:
    """NaN in float16 stands in the file: a wider dtype would not mend it."""
    bad = torch.nn.ParameterDict(
        {"a": torch.nn.Parameter(torch.tensor([1.0, value], dtype=dtype), requires_grad=False)}
    )
    bridge: Any = SimpleNamespace(original_model=bad)
    with pytest.raises(LensError) as caught:
        weights.fingerprint(bridge, "org/m")
    assert str(caught.value) == (
        f"org/m has weights that are not finite: a; {remedy}get a sound checkpoint"
    )


def of_parameters(model: torch.nn.Module) -> str:
    bridge: Any = SimpleNamespace(original_model=model)
    return weights.fingerprint(bridge, "org/m")


def test_a_fingerprint_is_of_name_shape_dtype_and_bits_whether_wrapped_or_not() -> None:
    """The bits of 1 and 2 in float32 are 3F800000 and 40000000."""
    part = torch.nn.ParameterDict({"weight": torch.nn.Parameter(torch.tensor([1.0, 2.0]))})
    wrapped = torch.nn.Module()
    wrapped._original_component = part
    line = f"norm.weight (2,) torch.float32 {0x3F800000 + 0x40000000}\n"
    for module in (part, wrapped):
        fingerprint = of_parameters(torch.nn.ModuleDict({"norm": module}))
        assert fingerprint == hashlib.sha256(line.encode()).hexdigest()


def test_weights_on_two_devices_are_one_transfer() -> None:
    """A fake's numbers are none: zeros, so that no weight is finite."""
    layers = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2, bias=False) for name in "ab"})
    with fake_cuda() as mode:
        move(layers, lambda name: "cuda:1" if name == "b" else "cuda:0")
        mode.down.clear()
        with pytest.raises(LensError, match=r"not finite: a\.weight and 1 more"):
            of_parameters(layers)
        assert len(mode.down) == 1
