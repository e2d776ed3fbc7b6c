"""A fit of a tuned lens on residuals that are given: its start, draws, bars and files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lenses_min.core.unembedding import Unembedding
from lenses_min.fit import corpus
from lenses_min.fit import tuned as fitting
from lenses_min.fit.artifacts import Checkpoint, save_translators
from lenses_min.fit.options import TunedOptions
from lenses_min.lenses.tuned import read_translators

D, V, N = 3, 5, 2
TRAINING, VALIDATION = [[0] * 6, [1] * 6, [2] * 6, [3] * 6], [[4] * 6]
DRAW = torch.Generator().manual_seed(0)
RESIDUALS = torch.randn(5, N + 1, 6, D, generator=DRAW) + 0.5  # of every sequence
HEAD = Unembedding(torch.randn(V, D, generator=DRAW), None)


def stream(bridge: object, ids: list[int], n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = RESIDUALS[ids[0]]
    return x, HEAD.logits(x[-1])


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Without a last norm."""
    monkeypatch.setattr(fitting, "sequences", lambda *given: (TRAINING, VALIDATION))
    monkeypatch.setattr(fitting, "stream", stream)
    facts = SimpleNamespace(n_layers=N, d_model=D, dtype="float32", fingerprint="f")
    bridge = SimpleNamespace(original_model=torch.nn.Module())
    return SimpleNamespace(bridge=bridge, facts=facts, head=HEAD, tokens=None)


@pytest.fixture
def options(tmp_path: Path) -> TunedOptions:
    text = tmp_path / "text.txt"
    text.touch()
    return TunedOptions((str(text),), str(tmp_path / "out"), positions=3, ridge=0.2)


class Bridge:
    """On a device whose tensors have no values; it keeps the tokens and makes up the residuals."""

    cfg = SimpleNamespace(device=torch.device("meta"))

    @contextmanager
    def hooks(self, fwd_hooks: list[tuple[str, Any]]) -> Iterator[None]:
        self.named = fwd_hooks
        yield

    def __call__(self, tokens: torch.Tensor, return_type: str) -> torch.Tensor:
        self.tokens = tokens
        for name, keep in self.named:
            keep(torch.zeros(*tokens.shape, D), SimpleNamespace(name=name))
        return torch.zeros(*tokens.shape, V)


def test_the_tokens_of_a_sequence_are_on_the_device_of_the_model() -> None:
    bridge: Any = Bridge()
    x, logits = corpus.stream(bridge, [1, 2], N)
    assert (bridge.tokens.device.type, bridge.tokens.shape) == ("meta", (1, 2))
    assert (x.shape, logits.shape) == ((N + 1, 2, D), (2, V))


def test_the_start_is_the_least_squares_solution_with_the_penalty_as_rows(
    model: Any, options: TunedOptions
) -> None:
    """Rows [x, 1] → y − x times 1 / sqrt(mean(y²)), then sqrt(penalty) · I → 0; float64."""
    trainer = fitting.Trainer(model, options)
    x = np.concatenate(list(RESIDUALS[:4].double().numpy()), axis=1)  # [layers, rows, D]
    root = 1 / np.sqrt(np.mean(x[-1] ** 2, axis=1, keepdims=True))
    for layer in range(N):
        rows = np.concatenate([x[layer], np.ones((24, 1))], axis=1) * root
        penalty = 0.2 * np.sum(rows**2) / (D + 1)
        a = np.concatenate([rows, np.sqrt(penalty) * np.eye(D + 1)])
        b = np.concatenate([(x[-1] - x[layer]) * root, np.zeros((D + 1, D))])
        solved = np.linalg.lstsq(a, b)[0]
        assert trainer.weight[layer].numpy() == pytest.approx(solved[:-1].T, abs=1e-5)
        assert trainer.bias[layer].numpy() == pytest.approx(solved[-1], abs=1e-5)


def test_a_layer_is_read_in_the_dtype_of_the_model(model: Any, options: TunedOptions) -> None:
    model.facts.dtype, weight = "bfloat16", HEAD.weight.bfloat16()
    model.head = Unembedding(weight, None)
    read = fitting.Trainer(model, options).read(RESIDUALS[0, 0], 0, translated=False)
    rounded = RESIDUALS[0, 0].bfloat16().double() @ weight.double().T
    assert read.double().numpy() == pytest.approx(rounded.numpy(), rel=1e-6)


def test_a_loss_draws_from_its_own_generator_alone(model: Any, options: TunedOptions) -> None:
    trainer = fitting.Trainer(model, options)
    trainer.weight.requires_grad_()
    of_process, own = torch.get_rng_state(), trainer.draw.get_state()
    losses = [float(trainer.loss()) for _ in range(4)]
    assert len(set(losses)) > 1
    assert torch.equal(torch.get_rng_state(), of_process)
    trainer.draw.set_state(own)
    assert [float(trainer.loss()) for _ in range(4)] == losses


@pytest.mark.parametrize(("steps", "validations"), [(0, 2), (2, 3)])
def test_a_bar_counts_the_regression_and_every_validation_outside_the_training(
    steps: int,
    validations: int,
    model: Any,
    options: TunedOptions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end is validated only where training had a step."""
    bars: list[tuple[str, int]] = []

    def tracked(items: list[list[int]], description: str) -> list[list[int]]:
        bars.append((description, len(items)))
        return items

    monkeypatch.setattr(fitting, "tracked", tracked)
    fitting.fit(model, replace(options, steps=steps))
    assert bars == [("regression", 4), *[("held-out text", 1)] * validations]


def test_translators_are_written_into_a_folder_that_is_made_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    weight, bias = torch.arange(18.0).reshape(N, D, D), torch.arange(6.0).reshape(N, D)
    for factor in (1, 2):  # the later ones replace the earlier ones
        save_translators(folder, factor * weight, bias, {"lens": "tuned", "steps": factor})
    assert sorted(path.name for path in folder.iterdir()) == [
        "provenance.json",
        "translators.safetensors",
    ]
    assert all(map(torch.equal, read_translators(folder, N, D), (2 * weight, bias)))
    text = (folder / "provenance.json").read_bytes().decode()
    assert text == '{\n  "lens": "tuned",\n  "steps": 2\n}\n'


def test_a_checkpoint_makes_its_folder_and_replaces_the_one_before(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "a" / "b" / "training.pt", {"lr": 1.0})
    for step in (1, 2):
        checkpoint.write({"step": step})
    assert checkpoint.read() == {"step": 2}
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["training.pt"]
