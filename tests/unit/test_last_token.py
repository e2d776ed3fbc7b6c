"""The values at the last token, of a model whose numbers are worked out by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_cuda import fake_cuda
from torch import Tensor, nn

from lenses_min.model import last_token
from lenses_min.model.last_token import LastToken

ROW = np.array([3.0, 4.0], np.float32)


def values(reading: LastToken) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(reading).items()
    }


def config(**more: Any) -> SimpleNamespace:
    return SimpleNamespace(get_text_config=lambda: SimpleNamespace(**more))


class PlainNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Block(nn.Module):
    """Adds 1. Four norms run before and after the one that is the first to read the stream as the block does."""

    def __init__(self, reads: bool) -> None:
        super().__init__()
        self.reads = reads
        self.other = nn.Identity()
        self.scaled, self.named, self.own, self.again = (PlainNorm() for _ in range(4))

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, None]:
        self.scaled(3 * self.other(hidden_states))
        self.named(x=hidden_states)
        if self.reads:
            self.again(self.own(hidden_states) / 2)
        return hidden_states + 1, None


class Model(nn.Module):
    """Two blocks, a norm that doubles, a head, and an output transform that multiplies by 10."""

    def __init__(self, by_keyword: bool) -> None:
        super().__init__()
        self.by_keyword = by_keyword
        self.embed = nn.Embedding.from_pretrained(torch.tensor([[1.0, 2.0], [7.0, 8.0]]))
        self.blocks = nn.ModuleList([Block(reads=True), Block(reads=False)])
        self.norm = PlainNorm()
        self.head = nn.Linear(2, 3, bias=False)
        self.head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        self.config = config(num_hidden_layers=2)
        self.config._attn_implementation = "sdpa"
        self.asked: dict[str, Any] = {}

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, use_cache: bool = True) -> SimpleNamespace:
        attention = self.config._attn_implementation
        self.asked = {"ids": input_ids.tolist(), "cache": use_cache, "attention": attention}
        x = self.embed(input_ids)
        for block in self.blocks:
            x, _ = block(hidden_states=x) if self.by_keyword else block(x)
        return SimpleNamespace(logits=10 * self.head(self.norm(x)))


@pytest.mark.parametrize("by_keyword", [False, True])
def test_every_value_on_the_way_of_the_last_token_is_read(by_keyword: bool) -> None:
    """Attention runs as eager code, without a cache of keys and values; the model may pass its stream by name."""
    model = Model(by_keyword)
    assert values(last_token.of_transformers(model, (1, 0), "org/m")) == {
        "ids": (1, 0),
        "stream": [[1, 2], [2, 3], [3, 4]],
        "normed": [6, 8],
        "unembedded": [6, 8, 14],
        "logits": [60, 80, 140],
        "readers": ("blocks.0.own", ""),
    }
    assert model.asked == {"ids": [[1, 0]], "cache": False, "attention": "eager"}


def test_token_ids_are_put_where_the_embeddings_are() -> None:
    devices = []

    def forward(input_ids: Tensor) -> SimpleNamespace:
        devices.append(str(input_ids.device))
        return SimpleNamespace(logits=torch.zeros(1, 1, 2))

    model: Any = nn.Module()
    model.config, model.forward = config(), forward
    model.get_output_embeddings = lambda: None
    with fake_cuda():
        embed = SimpleNamespace(weight=torch.zeros(2, 2, device="cuda:0"))
        model.get_input_embeddings = lambda: embed
        last_token.of_transformers(model, (1, 0), "org/m")
    assert devices == ["cuda:0"]


class Head(nn.Module):
    """Keeps what it is given."""

    def forward(self, x: Tensor, factor: int) -> Tensor:
        self.given = x.tolist(), factor
        return x * factor


@pytest.mark.parametrize("by_batch", [True, False])
def test_of_a_batch_of_prompts_the_last_token_alone_is_unembedded(by_batch: bool) -> None:
    """Rows that are no batch are all unembedded; further arguments of the head stay."""
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    head, rows = Head(), dict[Any, Any]()
    model: Any = SimpleNamespace(get_output_embeddings=lambda: head)
    handles = last_token.add_hooks(model, [], rows)
    head(x[None] if by_batch else x, 10)
    assert head.given == ([[[3, 4]]] if by_batch else x.tolist(), 10)
    assert {name: row.tolist() for name, row in rows.items()} == {
        "normed": [3, 4],
        "unembedded": [30, 40],
    }
    assert len(handles) == 2


def test_an_unembedding_is_a_module() -> None:
    head = nn.Linear(1, 1)
    for named, module in ((head, head), (torch.zeros(1, 1), None), (None, None)):
        model = SimpleNamespace(get_output_embeddings=lambda named=named: named)
        assert last_token.unembedding(model) is module


SMALL, LARGE = nn.Linear(1, 1), nn.Linear(9, 9)


@pytest.mark.parametrize(
    ("n_layers", "lists", "blocks"),
    [
        (1, [[LARGE]], [LARGE]),
        (1, [[SMALL], [LARGE]], [LARGE]),
        (1, [[LARGE], [SMALL]], [LARGE]),
        (2, [[LARGE], [SMALL, SMALL]], [SMALL, SMALL]),
        (2, [[LARGE]], []),
        (None, [[LARGE]], []),  # the config names no number of layers
        (0, [[]], []),
    ],
)
def test_the_blocks_are_the_largest_list_with_a_module_a_layer(
    n_layers: int | None, lists: list[list[nn.Module]], blocks: list[nn.Module]
) -> None:
    model: Any = nn.ModuleDict({str(i): nn.ModuleList(some) for i, some in enumerate(lists)})
    model.config = config() if n_layers is None else config(num_hidden_layers=n_layers)
    assert last_token.decoder_blocks(model) == blocks


@pytest.mark.parametrize(
    ("layers", "n_layers", "seen"),
    [((0, 1), 1, True), ((0, 1), 2, False), ((1, 2), 2, False), ((0,), 0, False)],
)
def test_a_stream_has_the_embeddings_and_every_block(
    layers: tuple[int, ...], n_layers: int, seen: bool
) -> None:
    rows: dict[int | str, np.ndarray] = {layer: ROW + layer for layer in layers}
    stream = last_token.last_token((1,), rows | {"logits": ROW}, n_layers).stream
    assert (None if stream is None else stream.tolist()) == ([[3, 4], [4, 5]] if seen else None)


def test_rows_of_two_widths_are_no_stream() -> None:
    rows: dict[int | str, np.ndarray] = {0: ROW, 1: ROW[:1], "logits": ROW}
    assert last_token.last_token((1,), rows, 1).stream is None


def test_the_hooks_of_the_bridge_are_the_fields_of_the_reading() -> None:
    names = ("blocks.0.hook_in", "blocks.0.hook_out", "unembed.hook_in", "unembed.hook_out")
    rows = {name: ROW + i for i, name in enumerate((*names, "logits"))}
    whole = {
        "ids": (5, 6),
        "stream": [[3, 4], [4, 5]],
        "normed": [5, 6],
        "unembedded": [6, 7],
        "logits": [7, 8],
        "readers": (),
    }
    assert values(last_token.of_hooks(rows, (5, 6), 1)) == whole
    bare = last_token.of_hooks({"logits": rows["logits"]}, (5, 6), 1)
    assert values(bare) == whole | dict.fromkeys(("stream", "normed", "unembedded"))


def test_the_last_row_is_of_a_matrix_a_batch_or_the_first_of_several() -> None:
    matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    for value in (matrix, matrix[None], (matrix, None), (matrix, -matrix), [matrix[None]]):
        assert last_token.last_row(value).tolist() == [3, 4]


WHOLE = LastToken((1,), np.stack([ROW, ROW + 1]), ROW + 2, ROW + 3, ROW + 4)


@pytest.mark.parametrize(
    ("absent", "names"),
    [
        (
            (),
            ["the embeddings", "block 0", "the final norm", "the head", "the output transform"],
        ),
        (("unembedded",), ["the embeddings", "block 0", "the final norm", "the head"]),
        (("stream",), ["the final norm", "the head", "the output transform"]),
        (("stream", "normed", "unembedded"), ["the head"]),
    ],
)
def test_places_are_named_in_the_order_of_the_model(
    absent: tuple[str, ...], names: list[str]
) -> None:
    """Where the model names no unembedding, its logits are the head's."""
    reading = LastToken(**vars(WHOLE) | dict.fromkeys(absent))
    places = list(reading.places())
    assert [name for name, _ in places] == names
    assert places[-1][1] is WHOLE.logits
