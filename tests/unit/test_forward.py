"""Step 2: one residual lookup. R8: no hook is left behind."""

import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lenses_min import LensError
from lenses_min.core.forward import (
    TOKENS,
    UNEMBED,
    ForwardRequest,
    ResidualRecorder,
    Residuals,
    batches,
    hook_name,
    last_logits,
    logits_at,
    lookup,
    uncached,
)
from lenses_min.model.load import LoadedModel
from lenses_min.model.verify import capture


def live_hooks(model: LoadedModel) -> int:
    return sum(len(point.fwd_hooks) for point in model.bridge.hook_dict.values())


def test_lookup_lists_nearby_keys() -> None:
    captured = {hook_name(layer): torch.zeros(1, 2) for layer in range(3)}
    with pytest.raises(
        LensError, match=r"no residual was captured at 'blocks.7.hook_out'; nearby keys: .*blocks.1"
    ):
        lookup(captured, "blocks.7.hook_out")
    with pytest.raises(LensError, match="nearby keys: none"):
        lookup({}, "blocks.0.hook_in")


def test_full_layers_keep_every_position_and_others_the_last(fact_model: LoadedModel) -> None:
    ids = fact_model.tokens.model_input("The capital of Germany")
    every, final = capture(fact_model.bridge, ids, 6, range(7))
    some, same = capture(fact_model.bridge, ids, 6, [0])
    assert torch.equal(final, same)
    for layer in range(7):
        assert every.at(layer).shape == (len(ids), 128)
        assert torch.equal(some.at(layer), every.at(layer) if layer == 0 else every.at(layer)[-1:])
    rows = some.rows({0})
    assert list(zip(rows.layer, rows.pos, strict=True)) == [(0, pos) for pos in range(len(ids))] + [
        (layer, len(ids) - 1) for layer in range(1, 7)
    ]


def test_no_hook_stays_behind(fact_model: LoadedModel) -> None:
    before = live_hooks(fact_model)
    capture(fact_model.bridge, [1, 2, 3], 6, [0])
    assert live_hooks(fact_model) == before
    with pytest.raises(LensError, match="cannot run the model: IndexError: "):
        capture(fact_model.bridge, [1, 10**6], 6, [0])
    assert live_hooks(fact_model) == before


def test_layer_zero_holds_learned_positions(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lenses_min import RunOptions
    from lenses_min.model.load import load

    model = load(RunOptions(str(models / "layernorm-learned-pos"), device="cpu"))
    residuals, _ = capture(model.bridge, [5, 5, 5], 4, [0])
    weights = model.bridge.original_model.transformer
    expected = weights.wte.weight[5] + weights.wpe.weight[:3]
    assert torch.allclose(residuals.at(0), expected)


@pytest.mark.parametrize(
    ("key", "nearby"),
    [
        ("blocks.9.hook_out", [f"blocks.{i}.hook_out" for i in (7, 6, 5, 4, 3)]),
        ("hook", ["blocks.0.hook_in", *(f"blocks.{i}.hook_out" for i in (7, 6, 5, 4))]),
        ("zzz", ["blocks.0.hook_in", *(f"blocks.{i}.hook_out" for i in range(4))]),
    ],
)
def test_five_nearby_keys_are_listed(key: str, nearby: list[str]) -> None:
    captured = {hook_name(layer): torch.zeros(1, 2) for layer in range(9)}
    with pytest.raises(LensError) as caught:
        lookup(captured, key)
    assert (
        str(caught.value)
        == f"no residual was captured at {key!r}; nearby keys: {', '.join(nearby)}"
    )


def test_only_wanted_positions_are_unembedded(fact_model: LoadedModel) -> None:
    ids = fact_model.tokens.model_input("The capital of Germany")
    sizes: list[int] = []
    with fact_model.bridge.hooks(
        fwd_hooks=[("unembed.hook_out", lambda z, hook: sizes.append(z.shape[1]))]
    ):
        first, second = logits_at(fact_model.bridge, [ids, ids[:3]], [range(3, 5), range(2, 3)])
        assert sizes == [3], "the positions 2, 3 and 4"
    assert (first.shape[0], second.shape[0]) == (2, 1)
    assert torch.allclose(first[1], last_logits(fact_model.bridge, [ids])[0], rtol=1e-4, atol=1e-4)
    assert torch.allclose(
        second[0], last_logits(fact_model.bridge, [ids[:3]])[0], rtol=1e-4, atol=1e-4
    )


def test_logits_are_the_same_where_the_unembedding_has_no_hook(
    fact_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [
        fact_model.tokens.model_input(text) for text in ("The capital of Germany", "The capital")
    ]
    expected = last_logits(fact_model.bridge, batch)
    monkeypatch.setattr("lenses_min.core.forward.UNEMBED", "nowhere.hook_in")
    assert UNEMBED in fact_model.bridge.hook_dict
    assert torch.allclose(last_logits(fact_model.bridge, batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [
        ([], 3, []),
        ([5, 3, 4], 3, [[1, 2, 0]]),
        ([5, 3, 4, 3], 2, [[1, 3], [2, 0]]),
        ([TOKENS // 2, 1, TOKENS // 2, TOKENS + 1], 8, [[1, 0], [2], [3]]),
    ],
)
def test_prompts_of_like_length_share_a_forward_within_bounds(
    lengths: list[int], most: int, expected: list[list[int]]
) -> None:
    assert batches(lengths, most) == expected


def test_residuals_of_a_shard_come_to_the_device_that_reads_the_tokens() -> None:
    """The device `meta` holds no numbers; it stands for the first of several."""
    home = torch.device("meta")
    recorder = ResidualRecorder(ForwardRequest([1, 2], [0], [3, 4]), 1, home)
    for name in (hook_name(0), hook_name(1)):
        recorder.keep(name, torch.zeros(4, 5))
    assert [tuple(view.shape) for view in recorder.views.values()] == [(2, 5), (1, 5)]
    assert [tuple(rows.shape) for rows in recorder.answer_residuals] == [(2, 5)] * 2
    assert {x.device for x in (recorder.buffer, *recorder.answer_residuals)} == {home}


def test_rows_are_all_positions_of_some_layers_and_the_last_of_the_others() -> None:
    x = torch.arange(12.0).reshape(6, 2)
    residuals = Residuals({hook_name(0): x[:3], hook_name(1): x[3:]}, x, 1, 3)
    every, some = residuals.rows({0, 1}), residuals.rows({1})
    assert torch.equal(every.x, x)
    assert (every.layer, every.pos) == ([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])
    assert torch.equal(some.x, x[2:])
    assert (some.layer, some.pos) == ([0, 1, 1, 1], [2, 0, 1, 2])


def test_the_answer_after_a_prompt_is_captured_at_every_layer() -> None:
    """And is kept as it was, whatever the model writes into its own tensors later."""
    recorder = ResidualRecorder(ForwardRequest([1, 2], [0], [3, 4]), 1, torch.device("cpu"))
    x, logits = torch.arange(20.0).reshape(4, 5), torch.arange(21.0).reshape(3, 7)
    for layer in (0, 1):
        own = x + 100 * layer
        recorder.keep(hook_name(layer), own)
        own.zero_()
    captured = recorder.captured(logits)
    answer = captured.answer_residuals
    assert torch.equal(answer.x, torch.cat([x[2:], x[2:] + 100]))
    assert (answer.layer, answer.pos) == ([0, 0, 1, 1], [2, 3, 2, 3])
    assert torch.equal(captured.residuals.rows({0}).x, torch.cat([x[:2], x[1:2] + 100]))
    assert torch.equal(captured.final, logits[0])
    assert torch.equal(captured.answer_logits, logits[1:])


def test_logits_come_to_the_device_that_reads_the_tokens() -> None:
    home = torch.device("meta")
    recorder = ResidualRecorder(ForwardRequest([1, 2], [], [3]), 0, home)
    recorder.keep(hook_name(0), torch.zeros(3, 5))
    captured = recorder.captured(torch.zeros(2, 7))
    assert {captured.final.device, captured.answer_logits.device} == {home}


class Reader:
    """A bridge whose logits are the ids that it reads; it raises its error, where it has one."""

    cfg = SimpleNamespace(device="cpu")
    original_model = SimpleNamespace(forward=lambda ids, use_cache=True: ids)

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.hook_dict = error, dict[str, Any]()

    def hooks(self, fwd_hooks: object) -> AbstractContextManager[None]:
        return nullcontext()

    def __call__(self, tokens: torch.Tensor, **arguments: Any) -> torch.Tensor:
        if self.error:
            raise self.error
        self.read, self.arguments = tokens.tolist(), arguments
        return tokens[:, :, None].float()


def test_shorter_prompts_are_filled_up_with_their_own_last_token() -> None:
    """Prompts of one token too; and no cache of keys and values is kept."""
    bridge: Any = Reader()
    logits = logits_at(bridge, [[5], [7, 8, 9], [3, 4]], [range(1), range(1, 3), range(1, 2)])
    assert bridge.read == [[5, 5, 5], [7, 8, 9], [3, 4, 4]]
    assert [row.tolist() for row in logits] == [[[5.0]], [[8.0], [9.0]], [[4.0]]]
    assert bridge.arguments["use_cache"] is False


def test_a_model_that_cannot_run_is_an_error_with_its_likely_causes() -> None:
    bridge: Any = Reader(RuntimeError("no room"))
    message = (
        "cannot run the model: RuntimeError: no room; TransformerLens may lack an option of its "
        "config, or a prompt be too long for model or memory"
    )
    with pytest.raises(LensError, match=f"^{re.escape(message)}$"):
        last_logits(bridge, [[1, 2]])


def test_the_cache_is_switched_off_where_a_model_takes_the_argument() -> None:
    def none(ids: object) -> None: ...

    def own(ids: object, use_cache: bool = True) -> None: ...

    def passed_on(ids: object, **arguments: object) -> None: ...

    arguments = [uncached(SimpleNamespace(forward=f)) for f in (none, own, passed_on)]
    assert arguments == [{}, {"use_cache": False}, {"use_cache": False}]
