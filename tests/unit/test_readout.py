"""Which module reads each layer under the corrected contract, and the values at the last token."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from lenses_min import LensError, RunOptions
from lenses_min.core.norms import FormulaNorms, ModuleNorms
from lenses_min.core.unembedding import Unembedding
from lenses_min.model import last_token, readout
from lenses_min.model.last_token import LastToken
from lenses_min.model.load import LoadedModel, load
from spec.recipe import build, new_model


def loaded(folder: Path) -> LoadedModel:
    return load(RunOptions(str(folder), device="cpu", contract="corrected"))


def norm_names(norms: Any, folder: Path) -> list[str | None]:
    """The tensor of the file that each norm multiplies by, None where a layer has no norm."""
    stored = load_file(folder / "model.safetensors")

    def name(module: Any) -> str | None:
        if module is None:
            return None
        (key,) = [key for key, t in stored.items() if torch.equal(t, module.weight)]
        return key

    return [name(module) for module in norms.modules]


def test_each_layer_is_read_by_the_norm_of_the_next_block_and_the_last_by_the_final_norm(
    models: Path,
) -> None:
    """Where transformers names no blocks, by the final norm."""
    model = loaded(models / "rms-rope")
    assert norm_names(model.norms, models / "rms-rope") == [
        *(f"model.layers.{i}.input_layernorm.weight" for i in range(4)),
        "model.norm.weight",
    ]
    unknown = replace(model.own, readers=())
    norms = readout.own_norms(model.bridge, unknown, model.head, "org/m")
    assert norm_names(norms, models / "rms-rope") == ["model.norm.weight"] * 5


def test_layers_of_blocks_that_norm_their_outputs_are_read_by_the_final_norm(
    tmp_path: Path,
) -> None:
    """OLMo-2."""
    folder = build(new_model("olmo2", seed=3), tmp_path)
    norms = loaded(folder).norms
    assert norm_names(norms, folder) == ["model.norm.weight"] * (norms.last + 1)


def test_a_model_without_a_final_norm_has_none(tmp_path: Path) -> None:
    """OPT-350m's blocks norm their outputs, and nothing follows them."""
    folder = build(new_model("opt", seed=3, do_layer_norm_before=False), tmp_path)
    norms: Any = loaded(folder).norms
    assert set(norms.modules) == {None}


def test_a_residual_stream_that_is_not_shown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, row = np.array([1.0, 2.0]), np.ones(3)
    rows = {"blocks.0.hook_in": row, "blocks.1.hook_out": row, "logits": logits}
    monkeypatch.setattr(readout, "hooked_rows", lambda bridge, ids: rows)
    bridge: Any = SimpleNamespace(cfg=SimpleNamespace(n_layers=2, dtype=torch.float32))
    own = LastToken((1,), np.ones((3, 3)), None, None, logits)
    head = Unembedding(torch.eye(2), None)
    with pytest.raises(LensError) as caught:
        readout.own_norms(bridge, own, head, "org/m")
    assert str(caught.value) == (
        "TransformerLens does not show the residual stream of org/m at every layer"
    )


def test_long_rope_of_one_kind_of_layer_bounds_what_shares_a_forward() -> None:
    """`rope_type` and the parameters stand by kind of layer where a model has several."""
    parameters = {
        "sliding_attention": {"original_max_position_embeddings": 7},
        "full_attention": {"original_max_position_embeddings": 99},
    }

    class Rotary(nn.Module):
        def __init__(self, kinds: Mapping[str, str]) -> None:
            super().__init__()
            self.rope_type = kinds
            self.config = SimpleNamespace(rope_parameters=parameters)

    def model(**kinds: str) -> Any:
        blocks: Any = nn.ModuleList([Rotary(kinds)])
        blocks.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace())
        return blocks

    default, long = "default", "longrope"
    assert readout.alone_above(model(sliding_attention=default, full_attention=long)) == 99
    assert readout.alone_above(model(sliding_attention=long, full_attention=long)) == 7
    assert readout.alone_above(model(sliding_attention=default, full_attention=default)) is None


class Part(nn.Module):
    def __init__(self, attributes: Mapping[str, Any]) -> None:
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


DYNAMIC = {"rope_type": "dynamic", "original_max_seq_len": 9}


@pytest.mark.parametrize(
    ("blocks", "limit"),
    [
        ([{}], None),
        ([{"is_causal": True, "index_topk": None, "rope_type": "default"}], None),
        ([{}, {"is_causal": False}], 0),
        ([{}, {"index_topk": 5}], 5),
        ([{"is_causal": False}, {"index_topk": 5}], 0),
        ([{}, DYNAMIC], 9),
        ([DYNAMIC, {"index_topk": 5}], 5),
    ],
)
def test_the_part_with_the_lowest_limit_bounds_what_shares_a_forward(
    blocks: list[dict[str, Any]], limit: int | None
) -> None:
    model: Any = nn.ModuleDict({"layers": nn.ModuleList(map(Part, blocks))})
    text = SimpleNamespace(num_hidden_layers=len(blocks))
    model.config = SimpleNamespace(get_text_config=lambda: text)
    assert readout.alone_above(model) == limit


@pytest.mark.parametrize("absent", [("stream",), ("normed",), ("stream", "normed")])
def test_a_width_that_is_not_seen_is_not_compared(absent: tuple[str, ...]) -> None:
    own = LastToken((1,), np.ones((2, 3)), np.ones(4), None, np.ones(5))
    readout.check_width(replace(own, normed=np.ones(3)), "org/m")
    with pytest.raises(LensError, match="is 3 wide and its unembedding 4,"):
        readout.check_width(own, "org/m")
    nothing: dict[str, Any] = dict.fromkeys(absent)
    readout.check_width(replace(own, **nothing), "org/m")


def test_the_lens_reads_the_last_residual_by_norm_head_bias_and_transform() -> None:
    """By hand: x = (3, 4), RMS = √12.5, scale 2: x̂ = (6, 8) / √12.5; z = 2 · x̂₀ + 1, 2 · x̂₁ − 1; twice that."""
    stream = np.array([[9.0, 9.0], [3.0, 4.0]], np.float32)
    reading = LastToken((1, 2), stream, None, None, np.zeros(2, np.float32), ("a",))
    norms = FormulaNorms(
        torch.tensor([[9.0, 9.0], [2.0, 2.0]]), torch.zeros(2, 1), torch.zeros(2, 1).bool()
    )
    head = Unembedding(2 * torch.eye(2), torch.tensor([1.0, -1.0]), lambda z: 2 * z)
    read = last_token.of_lens(norms, head, reading, "float32")
    normed = np.array([6, 8]) / np.sqrt(12.5)
    assert (read.ids, read.readers) == ((1, 2), ("a",))
    assert read.stream is stream
    assert read.normed == pytest.approx(normed)
    assert read.unembedded == pytest.approx(2 * normed + [1, -1])
    assert read.logits == pytest.approx(4 * normed + [2, -2])
    half = last_token.of_lens(norms, head, reading, "bfloat16").normed
    assert half is not None
    assert half.tolist() == torch.tensor(normed).bfloat16().tolist()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError(), "KeyError"),
        (ValueError("needs\n  pixels"), "needs pixels"),
        (ValueError("word\n" * 100), "word " * 60),
    ],
)
def test_what_transformers_raises_is_reported_in_one_line(
    error: Exception, reason: str, models: Path
) -> None:
    def fail(*given: Any) -> None:
        raise error

    model = AutoModelForCausalLM.from_pretrained(models / "rms-rope")
    model.register_forward_pre_hook(fail)
    with pytest.raises(LensError) as caught:
        last_token.of_transformers(model, [1, 2], "org/m")
    assert str(caught.value) == (
        f"transformers itself cannot run org/m on token ids: {reason}; a lens reads models of text that need nothing "
        "else"
    )


def test_the_vocabulary_is_the_head_s_or_else_the_config_s() -> None:
    head = nn.Linear(2, 7)

    def none() -> None:
        raise NotImplementedError

    text = SimpleNamespace(vocab_size=5)
    config = SimpleNamespace(get_text_config=lambda: text)
    named = SimpleNamespace(get_output_embeddings=lambda: head, config=config)
    assert last_token.vocabulary(named) == 7
    for unnamed in (none, lambda: None):
        model = SimpleNamespace(get_output_embeddings=unnamed, config=config)
        assert last_token.vocabulary(model) == 5


def test_a_module_under_two_names_is_read_by_both() -> None:
    shared = nn.Linear(1, 1)
    wrapped = nn.Module()
    wrapped._original_component = shared
    model = nn.ModuleDict({"first": shared, "second": wrapped})
    modules = last_token.wrapped_modules(model)
    assert [name for name, module in modules.items() if module is shared] == ["first", "second"]


def test_several_streams_are_refused() -> None:
    one = torch.zeros(1, 3, 4)
    assert last_token.one_stream((one, None)) is one
    for shape in ((1, 3, 2, 4), (3, 4)):
        with pytest.raises(LensError) as caught:
            last_token.one_stream(torch.zeros(shape))
        assert str(caught.value) == (
            f"a block of this model passes on a tensor of shape {list(shape)}, several streams a token; a lens reads "
            "one stream [batch, tokens, width]"
        )


class Widened(nn.Module):
    """A norm without a parameter whose output is wider than its input, as one computed in float64."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.double()


def test_a_norm_without_a_weight_is_called_and_its_output_has_the_stream_s_dtype() -> None:
    x = torch.tensor([[1.0, -2.0], [3.0, 0.5], [4.0, 4.0]]).bfloat16()
    read = ModuleNorms((Widened(), None)).apply(x, torch.tensor([0, 1, 0]))
    assert read.dtype == torch.bfloat16
    assert read.tolist() == [[2, -4], [3, 0.5], [8, 8]]


def test_a_block_that_passes_on_several_streams_is_refused() -> None:
    """Also where what enters the first block is one stream."""

    class Doubles(nn.Module):
        def forward(self, hidden_states: Tensor) -> Tensor:
            return torch.stack([hidden_states] * 2, 2)

    block, rows = Doubles(), dict[Any, Any]()
    handles = last_token.add_hooks(nn.Module(), [block], rows)
    with pytest.raises(LensError, match=r"a tensor of shape \[1, 3, 2, 4\], several streams"):
        block(torch.zeros(1, 3, 4))
    assert list(rows) == [0]
    assert len(handles) == 2
