"""No neighbour changes a prompt: neither what shares its forward or fills it up, nor the tokens of its own answer."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lenses_min import RunOptions, pipeline
from lenses_min.core.forward import (
    ForwardRequest,
    batches,
    capture_batch,
    last_logits,
)
from lenses_min.core.probes import test_prompts as run_test_prompts
from lenses_min.model import load as loading
from lenses_min.model.load import LoadedModel
from lenses_min.model.verify import capture
from lenses_min.pipeline.apart import capture_apart
from spec.recipe import build, new_model

pytestmark = pytest.mark.long

SWITCH = 12
LONG = {
    "rope_theta": 10000.0,
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": SWITCH,
}
PHI3 = {"rope_parameters": LONG, "original_max_position_embeddings": SWITCH}
DYNAMIC = {"rope_theta": 10000.0, "rope_type": "dynamic", "factor": 4.0}
LLAMA3 = {
    "rope_theta": 10000.0,
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": SWITCH,
}
YARN = {
    "rope_theta": 10000.0,
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": SWITCH,
}
# A family, its configuration, and the longest prompt that may share a forward.
SCHEMES: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "longrope": ("phi3", PHI3, SWITCH),
    "dynamic": ("llama", {"rope_parameters": DYNAMIC, "max_position_embeddings": 32}, 32),
    "llama3": ("llama", {"rope_parameters": LLAMA3}, None),
    "yarn": ("llama", {"rope_parameters": YARN}, None),
    "alibi": ("bloom", {}, None),
    "falcon-alibi": ("falcon", {"alibi": True}, None),
    "learned": ("opt", {}, None),
    "learned-padded": ("opt", {"pad_token_id": 1}, None),
    "windows": ("gemma3_text", {"sliding_window": 4}, None),
    "window": ("mistral", {"sliding_window": 4}, None),
    "experts": ("mixtral", {}, None),
    "bidirectional": ("gemma3_text", {"use_bidirectional_attention": True}, 0),
}


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedModel]:
    root = tmp_path_factory.mktemp("schemes")

    @cache
    def load(scheme: str) -> LoadedModel:
        family, overrides, _ = SCHEMES[scheme]
        folder = build(new_model(family, 5, **overrides), root / scheme)
        return loading.load(RunOptions(str(folder), scheme, device="cpu"))

    return load


def ids_of(seed: int, length: int) -> list[int]:
    return torch.randint(4, 115, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def stack(captured: Any) -> torch.Tensor:
    return torch.stack([captured.at(layer) for layer in captured.layers])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_may_share_a_forward_is_seen_in_the_model(
    scheme: str, model_of: Callable[[str], LoadedModel]
) -> None:
    assert model_of(scheme).facts.alone_above == SCHEMES[scheme][2]


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=8)
@given(lengths=st.lists(st.integers(1, 30), min_size=2, max_size=5), size=st.integers(2, 5))
def test_residuals_beside_other_prompts_are_those_of_the_prompt_alone(
    scheme: str, lengths: list[int], size: int, model_of: Callable[[str], LoadedModel]
) -> None:
    """Equal but for the order of float32 sums, which a matrix of another height changes: at most 3e-6 was measured."""
    model = model_of(scheme)
    n, prompts = model.facts.n_layers, [ids_of(i, length) for i, length in enumerate(lengths)]
    for members in batches(lengths, size, model.facts.alone_above):
        asks = [ForwardRequest(prompts[i], range(n + 1)) for i in members]
        for i, captured in zip(members, capture_batch(model.bridge, asks, n), strict=True):
            alone, final = capture(model.bridge, prompts[i], n, range(n + 1))
            wanted = stack(alone)
            assert (stack(captured.residuals) - wanted).abs().max() <= 2e-5 * wanted.abs().max()
            assert (captured.final - final).abs().max() <= 2e-5 * final.abs().max()


@pytest.mark.parametrize("scheme", ["longrope", "bidirectional"])
def test_without_the_rule_neighbours_do_change_a_prompt(
    scheme: str, model_of: Callable[[str], LoadedModel]
) -> None:
    """The test above can fail."""
    model = model_of(scheme)
    n, prompts = model.facts.n_layers, [ids_of(0, 5), ids_of(1, 20)]
    captured = capture_batch(model.bridge, [ForwardRequest(ids, ()) for ids in prompts], n)[0]
    assert (captured.final - capture(model.bridge, prompts[0], n, ())[1]).abs().max() > 1e-2


def test_a_long_prompt_leaves_no_trace_in_a_later_short_one(
    model_of: Callable[[str], LoadedModel],
) -> None:
    """transformers keeps the frequencies of the longest sequence in dynamic RoPE until a short one comes."""
    for scheme, lengths in (("dynamic", (20, 32, 20)), ("longrope", (5, 40, 5))):
        model = model_of(scheme)
        finals = [
            capture(model.bridge, ids_of(7, length), model.facts.n_layers, ())[1]
            for length in lengths
        ]
        assert torch.equal(finals[0], finals[2])


@pytest.mark.parametrize("scheme", ["longrope", "bidirectional", "llama3"])
def test_the_tokens_of_an_answer_change_neither_the_prompt_nor_one_another(
    scheme: str, model_of: Callable[[str], LoadedModel]
) -> None:
    """Each is what the model gives where nothing stands behind it."""
    model = model_of(scheme)
    n, ids, answer_prefix_ids = model.facts.n_layers, ids_of(3, SWITCH - 2), ids_of(4, 4)
    captured = capture_apart(model.bridge, ForwardRequest(ids, [0], answer_prefix_ids), n)
    alone, final = capture(model.bridge, ids, n, [0])
    assert torch.equal(captured.final, final)
    assert torch.equal(captured.residuals.buffer, alone.buffer)
    assert captured.answer_residuals.layer == [y for y in range(n + 1) for _ in answer_prefix_ids]
    assert captured.answer_residuals.pos == [len(ids) + i for i in range(4)] * (n + 1)
    for i in range(4):
        read, logits = capture(model.bridge, [*ids, *answer_prefix_ids[: i + 1]], n, ())
        assert torch.equal(captured.answer_logits[i], logits)
        assert torch.equal(
            captured.answer_residuals.x.reshape(n + 1, 4, -1)[:, i], stack(read)[:, 0]
        )
    if scheme == "llama3":
        (together,) = capture_batch(model.bridge, [ForwardRequest(ids, [0], answer_prefix_ids)], n)
        assert torch.allclose(
            together.answer_residuals.x, captured.answer_residuals.x, rtol=1e-4, atol=1e-4
        )
        assert torch.allclose(together.answer_logits, captured.answer_logits, rtol=1e-4, atol=1e-4)


def words(count: int) -> str:
    return " ".join((["The", "capital", "of", "Germany", "is", "called"] * 6)[:count])


def prompts_file(path: Path, contexts: Sequence[str], answer: str) -> str:
    passes = [{"id": f"w{i}", "context": c, "answer": answer} for i, c in enumerate(contexts)]
    path.write_text(json.dumps({"passes": passes, "test_prompts": list(contexts)}))
    return str(path)


@pytest.mark.parametrize("contract", ["reference", "corrected"])
def test_a_run_gives_every_prompt_what_plain_transformers_gives_it_alone(
    contract: str, tmp_path: Path
) -> None:
    """Prompts on both sides of the switch of LongRoPE, whose answers reach over it."""
    from transformers import AutoModelForCausalLM

    folder = build(new_model("phi3", 5, **PHI3), tmp_path / "m")
    own = prompts_file(
        tmp_path / "own.json", [words(n) for n in (4, 9, 10, 11, 20, 30)], "is Berlin of Rome"
    )
    options = RunOptions(
        str(folder), device="cpu", contract=contract, prompts=own, lenses=("norm",)
    )
    run, alone = pipeline.run(options), pipeline.run(replace(options, batch_size=1))
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()

    def log_p(ids: Sequence[int]) -> np.ndarray:
        with torch.no_grad():
            z = plain(torch.tensor([ids])).logits[0, -1].double()
        return torch.log_softmax(z, -1).numpy()

    of_model = [row for row in run.rows("answers") if row.lens == "model"]
    for i, entry in enumerate(run.manifest["prompts"]):
        ids, answer = entry["token_ids"], run.document["passes"][i]["gold_answer"]["answer_ids"]
        here, there = (r.passes()[f"w{i}/orig"][-1] for r in (run, alone))
        p = np.exp(log_p(ids))
        entropy = -(p * np.log2(p)).sum()
        assert (here.entropy, there.entropy) == pytest.approx((entropy, entropy), rel=1e-5)
        assert run.document["test_prompts"][i]["entropy"] == pytest.approx(entropy, rel=1e-5)
        nats = [log_p([*ids, *answer[:k]])[answer[k]] for k in range(len(answer))]
        assert len(nats) == 4
        assert of_model[i].surprisal_bits == pytest.approx(-sum(nats) / np.log(2), rel=1e-5)


def test_test_prompts_beyond_the_switch_run_alone(model_of: Callable[[str], LoadedModel]) -> None:
    model = model_of("longrope")
    sizes: list[int] = []

    def read(batch: Sequence[Sequence[int]]) -> torch.Tensor:
        sizes.append(len(batch))
        return last_logits(model.bridge, batch)

    texts = [words(n) for n in (3, 20, 4, 30, 11)]
    together = run_test_prompts(texts, model.tokens, read, model.facts.alone_above)
    assert sizes == [3, 1, 1]
    for text, entry in zip(texts, together, strict=True):
        (only,) = run_test_prompts([text], model.tokens, read, model.facts.alone_above)
        assert entry["entropy"] == pytest.approx(only["entropy"], rel=1e-5)
