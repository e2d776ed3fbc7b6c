"""The fit of a tuned lens: its numbers by hand, its schedule, when it ends, and all that it writes."""

import json
import math
import time
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.text import Text

from lenses_min import LensError, RunOptions
from lenses_min.fit import tuned as fitting
from lenses_min.fit.artifacts import Checkpoint
from lenses_min.fit.corpus import cut, sequences, stream
from lenses_min.fit.options import TunedOptions
from lenses_min.lenses.tuned import TunedLens, read_translators
from lenses_min.model.load import LoadedModel, load
from spec import oracle

WORDS = "The capital of Germany is called simply Berlin . The capital of France is called simply Paris . "
ROOM = 11  # tokens of a sequence of 12 behind BOS


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(WORDS * 40, encoding="utf-8")
    return path


@pytest.fixture
def options(text: Path, tmp_path: Path) -> TunedOptions:
    return TunedOptions(
        (str(text),), str(tmp_path / "out"), tokens=21 * ROOM, length=12, lr=1e-3, ridge=0.1
    )


@pytest.fixture
def trainer(fact_model: LoadedModel, options: TunedOptions) -> fitting.Trainer:
    return fitting.Trainer(fact_model, options)


def wide(x: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return x.detach().double().numpy()


def kl_bits(z: torch.Tensor, final: torch.Tensor) -> list[float]:
    """Of every row of logits, by the oracle."""
    return [
        oracle.kl_bits(oracle.softmax(a), oracle.softmax(b))
        for a, b in zip(wide(z), wide(final), strict=True)
    ]


def test_texts_are_cut_one_after_the_other_and_a_short_end_is_left_out(
    fact_model: LoadedModel, tmp_path: Path
) -> None:
    tokens = fact_model.tokens
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for file, words in zip(
        files, ("The capital of", "Germany is called simply Berlin"), strict=True
    ):
        file.write_text(words, encoding="utf-8")
    names = [str(file) for file in files]
    ids = tokens.context("The capital of") + tokens.context("Germany is called simply Berlin")
    assert (len(ids), len(set(ids)), list(tokens.bos.ids)) == (8, 8, [1])
    whole = [[1, *ids[:2]], [1, *ids[2:4]], [1, *ids[4:6]], [1, *ids[6:]]]
    assert cut(tokens, names, 3, 100) == whole
    assert cut(tokens, names, 3, 7) == whole[:3]
    assert cut(tokens, names, 4, 100) == [[1, *ids[:3]], [1, *ids[3:6]]]
    assert cut(tokens, names, 10, 100) == []


@pytest.mark.parametrize(
    ("count", "every", "held_out"), [(10, 10, 1), (161, 11, 15), (400, 25, 16)]
)
def test_every_tenth_sequence_is_held_out_or_sixteen_at_most(
    count: int, every: int, held_out: int, fact_model: LoadedModel, text: Path
) -> None:
    pieces = cut(fact_model.tokens, [str(text)], 2, count)
    training, validation = sequences(fact_model.tokens, [str(text)], 2, count)
    assert (len(pieces), len(validation)) == (count, held_out)
    assert validation == [pieces[i] for i in range(0, count, every)]
    assert training == [pieces[i] for i in range(count) if i % every]


def test_a_text_that_is_not_utf_8_is_refused(fact_model: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(
        LensError, match=f"^cannot read the text {path}: 'utf-8' codec can't decode"
    ):
        cut(fact_model.tokens, [str(path)], 12, 100)


def test_the_start_is_the_ridge_regression_on_the_last_residual(trainer: fitting.Trainer) -> None:
    """Its normal equations in float64: rows [x, 1] and y − x, each times 1 / sqrt(mean(y²))."""
    residuals = [wide(stream(trainer.model.bridge, ids, trainer.n)[0]) for ids in trainer.training]
    x = np.concatenate(residuals, axis=1)  # [layers, rows, D]
    y = x[-1]
    root = 1 / np.sqrt(np.mean(y * y, axis=1, keepdims=True))
    for layer in range(trainer.n):
        a = np.concatenate([x[layer], np.ones((len(y), 1))], axis=1) * root
        gram = a.T @ a
        penalty = 0.1 * np.mean(np.diag(gram)) * np.eye(len(gram))
        solved = np.linalg.solve(gram + penalty, a.T @ ((y - x[layer]) * root))
        assert wide(trainer.weight[layer]) == pytest.approx(solved[:-1].T, abs=2e-4)
        assert wide(trainer.bias[layer]) == pytest.approx(solved[-1], abs=2e-4)
        assert np.abs(solved[-1]).max() > 2e-3


def test_all_that_the_start_makes_is_on_the_device_of_the_model(trainer: fitting.Trainer) -> None:
    with torch.device("meta"):  # where a tensor lands whose device nobody names
        weight, bias = trainer.start()
    assert (weight.device.type, bias.device.type) == ("cpu", "cpu")


def test_the_loss_is_on_the_device_of_the_model(
    trainer: fitting.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer.weight.requires_grad_()
    for draw in ("randint", "randperm"):  # the host draws
        monkeypatch.setattr(torch, draw, partial(getattr(torch, draw), device="cpu"))
    with torch.device("meta"):
        assert trainer.loss().device.type == "cpu"


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("softcap-postnorm", "float32"), ("biased-head", "float32"), ("layernorm-bf16", "bfloat16")],
)
def test_a_fit_reads_a_layer_as_the_lens_does(
    name: str, dtype: str, models: Path, options: TunedOptions
) -> None:
    """With the model's output transform and bias, and in its own dtype."""
    model = load(RunOptions(str(models / name), device="cpu", dtype=dtype, contract="corrected"))
    trainer = fitting.Trainer(model, replace(options, tokens=10 * ROOM))
    x, _ = stream(model.bridge, trainer.validation[0], trainer.n)
    lens = TunedLens(model.norms, model.head, trainer.weight, trainer.bias)
    for layer in range(trainer.n):
        at = torch.full((len(x[layer]),), layer)
        expected = lens.decode(x[layer].to(getattr(torch, dtype)), at)
        torch.testing.assert_close(trainer.read(x[layer], layer), expected, rtol=1e-5, atol=1e-6)


def test_a_model_without_a_last_norm_is_read_without_one(
    fact_model: LoadedModel, options: TunedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare: Any = SimpleNamespace(
        bridge=SimpleNamespace(original_model=torch.nn.Module()),
        facts=fact_model.facts,
        head=fact_model.head,
        tokens=fact_model.tokens,
    )
    monkeypatch.setattr(fitting.Trainer, "start", lambda self: (torch.zeros(6, 128, 128),) * 2)
    x = torch.ones(2, 128)
    read = fitting.Trainer(bare, options).read(x, 0, translated=False)
    torch.testing.assert_close(read, x @ fact_model.head.weight.T)


def test_validation_is_the_mean_kl_in_bits_at_every_fourth_position(
    trainer: fitting.Trainer,
) -> None:
    kls: list[list[list[float]]] = [[[] for _ in range(trainer.n)] for _ in range(2)]
    assert len(trainer.validation) == 3
    for ids in trainer.validation:
        x, final = stream(trainer.model.bridge, ids, trainer.n)
        for layer in range(trainer.n):
            z, q = trainer.read(x[layer], layer, translated=False)[[3, 7, 11]], final[[3, 7, 11]]
            kls[0][layer] += kl_bits(z, q)
            kls[1][layer] += kl_bits(q, z)
    forward, back = ([fitting.mean(values) for values in layers] for layers in kls)
    assert min(forward[:4]) > 0.1
    losses = trainer.validate(translated=False)
    assert list(losses) == ["lens-model", "model-lens"]
    assert losses["lens-model"] == pytest.approx(forward, rel=1e-4)
    assert losses["model-lens"] == pytest.approx(back, rel=1e-4)


@pytest.mark.parametrize("direction", ["lens-model", "model-lens"])
def test_the_loss_is_the_kl_in_nats_summed_over_layers_and_the_model_gets_no_gradient(
    direction: str, fact_model: LoadedModel, options: TunedOptions
) -> None:
    every = replace(options, positions=99, kl=direction)  # all of a sequence
    trainer = fitting.Trainer(fact_model, every)
    trainer.training = trainer.training[:1]
    x, final = stream(fact_model.bridge, trainer.training[0], trainer.n)
    read = [trainer.read(x[layer], layer) for layer in range(trainer.n)]
    lens_first = direction == "lens-model"
    kls = [kl_bits(*((z, final) if lens_first else (final, z))) for z in read]
    trainer.weight.requires_grad_()
    trainer.bias.requires_grad_()
    loss = float(trainer.loss())
    assert loss == pytest.approx(sum(map(fitting.mean, kls)) * math.log(2), rel=1e-4)
    assert trainer.bias.grad is not None
    assert all(p.grad is None for p in fact_model.bridge.original_model.parameters())

    step = 1e-3 * trainer.bias.grad / trainer.bias.grad.norm()
    slope = float((step * trainer.bias.grad).sum())
    with torch.no_grad():
        trainer.bias += step
    assert float(trainer.loss()) - loss == pytest.approx(slope, rel=0.1)


class Steps(torch.optim.AdamW):
    """AdamW that notes the settings of every step."""

    noted: list[dict[str, float]]

    def step(self, closure: Any = None) -> Any:
        (group,) = self.param_groups
        norm = math.hypot(*(float(p.grad.norm()) for p in group["params"]))
        self.noted.append({key: group[key] for key in ("lr", "weight_decay")} | {"norm": norm})
        return super().step(closure)


def test_the_rate_is_half_a_cosine_gradients_are_clipped_and_nothing_decays(
    trainer: fitting.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer.options = replace(trainer.options, steps=4, lr=0.01)
    monkeypatch.setattr(Steps, "noted", [], raising=False)
    monkeypatch.setattr(torch.optim, "AdamW", Steps)
    true_loss = trainer.loss

    def steep() -> torch.Tensor:
        loss = true_loss()
        for p in (trainer.weight, trainer.bias):
            assert p.grad is not None
            p.grad *= 1e3
        return loss

    monkeypatch.setattr(trainer, "loss", steep)
    trainer.train(
        Checkpoint(Path(trainer.options.out) / "c.pt", {}),
        time.monotonic(),
        trainer.validate()["lens-model"],
    )
    rates = [0.01, 0.01 * (2 + math.sqrt(2)) / 4, 0.005, 0.01 * (2 - math.sqrt(2)) / 4]
    assert [step["lr"] for step in Steps.noted] == pytest.approx(rates)
    assert [step["weight_decay"] for step in Steps.noted] == [0.0] * 4
    assert [step["norm"] for step in Steps.noted] == pytest.approx([1.0] * 4, abs=1e-4)


class Scripted(fitting.Trainer):
    """Two parameters, a loss that moves them, and validations that are given."""

    def __init__(self, script: list[float], **settings: Any) -> None:
        given = {
            "kl": "lens-model",
            "lr": 0.1,
            "minutes": 10.0,
            "evaluate_every": 1,
            "patience": 9,
            "steps": 9,
        }
        self.options = SimpleNamespace(**{**given, **settings})  # type: ignore[assignment]
        self.weight, self.bias, self.n = torch.ones(1, 1, 1), torch.ones(1, 1), 2
        self.draw, self.script = torch.Generator(), iter(script)
        self.seen: list[float] = []  # the bias at every validation

    def loss(self) -> torch.Tensor:
        loss = self.weight.sum() + self.bias.sum()
        loss.backward()
        return loss.detach()

    def validate(self, translated: bool = True, shown: bool = False) -> dict[str, list[float]]:
        self.seen.append(float(self.bias.detach()))
        return {"lens-model": [next(self.script)]}


def train(trainer: Scripted, folder: Path, start: float = 5.0) -> dict[str, Any]:
    return trainer.train(Checkpoint(folder / "training.pt", {}), time.monotonic(), [start])


@pytest.mark.parametrize(
    ("script", "patience", "steps", "best"),
    [
        ([4.0, 3.0, 3.5, 3.0], 2, 4, 2),  # the same again is no gain
        ([4.0, 4.5, 3.0, 3.5, 3.5], 2, 5, 3),  # a gain begins the count anew
        ([6.0, 7.0], 2, 2, 0),
        ([6.0], 1, 1, 0),
    ],
)
def test_the_best_is_kept_and_patience_ends_the_training(
    script: list[float], patience: int, steps: int, best: int, tmp_path: Path
) -> None:
    trainer = Scripted(script, patience=patience)
    trained = train(trainer, tmp_path)
    assert trained == {"steps": steps, "kl_bits": [[5.0, *script][best]]}
    assert float(trainer.bias) == [1.0, *trainer.seen][best]


def test_validation_comes_every_few_steps_and_at_the_end(tmp_path: Path) -> None:
    trainer = Scripted([4.0, 3.0, 2.0], evaluate_every=2, steps=5)
    assert train(trainer, tmp_path) == {"steps": 5, "kl_bits": [2.0]}
    moved = [1 - bias for bias in trainer.seen]  # by 0.1 a step at first: the sign of the gradient
    rates = [0.1 * (1 + math.cos(math.pi * step / 5)) / 2 for step in range(5)]
    assert moved == pytest.approx([sum(rates[:2]), sum(rates[:4]), sum(rates)], rel=1e-3)


def test_time_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 60.0, 120.0, 121.0])
    monkeypatch.setattr(fitting, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    trainer = Scripted([4.0, 3.0, 2.0], minutes=2.0)
    checkpoint = Checkpoint(tmp_path / "training.pt", {})
    assert trainer.train(checkpoint, next(ticks), [5.0]) == {"steps": 2, "kl_bits": [3.0]}
    assert float(trainer.bias) == trainer.seen[1]


def test_a_training_that_goes_on_without_gain_keeps_what_it_had(tmp_path: Path) -> None:
    first = Scripted([4.0, 4.5], steps=2)
    train(first, tmp_path)
    second = Scripted([6.0], steps=3)
    assert train(second, tmp_path) == {"steps": 3, "kl_bits": [4.0]}
    assert float(second.bias) == first.seen[0]
    third = Scripted([], steps=9, patience=2)
    assert train(third, tmp_path) == {"steps": 3, "kl_bits": [4.0]}, "two evaluations without gain"


def test_the_bar_tells_step_loss_and_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich draws as on a terminal
    trainer = Scripted([4.0], steps=4, evaluate_every=4)
    train(trainer, tmp_path)
    printed = Text.from_ansi(capsys.readouterr().err).plain
    rates = [0.1 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(3)]
    loss = 2 * (1 - sum(rates)) / 2 / math.log(2)  # of two layers
    assert f"loss {loss:.3f}, best 5.000 bits " in printed
    assert " 4/4 " in printed
    again = Scripted([], steps=4)
    train(again, tmp_path)
    printed = Text.from_ansi(capsys.readouterr().err).plain
    assert "4.000 bits " in printed
    assert " 4/4 " in printed


def test_all_that_a_fit_writes(
    fact_model: LoadedModel, options: TunedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count(100.0, 0.52)
    monkeypatch.setattr(fitting, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    options = replace(options, steps=2, out=str(Path(options.out) / "tiny" / "Fact"))
    folder = Path(options.out)
    provenance = fitting.fit(fact_model, options)
    assert sorted(p.name for p in folder.iterdir()) == [
        "provenance.json",
        "translators.safetensors",
    ]
    text = (folder / "provenance.json").read_text(encoding="utf-8")
    assert text == json.dumps(provenance, indent=2) + "\n"
    assert provenance.pop("seconds") == 1.6, "two steps: three ticks of 0.52 s"
    keys = {"lens-model": "held_out_kl_bits", "model-lens": "held_out_kl_model_lens_bits"}
    kls = {direction: provenance.pop(key) for direction, key in keys.items()}
    trainer = fitting.Trainer(fact_model, options)
    validated = {"final": trainer.validate(translated=False), "start": trainer.validate()}
    trainer.weight, trainer.bias = read_translators(folder, 6, 128)
    validated["tuned"] = trainer.validate()
    for direction, of in kls.items():
        assert [*of] == ["final", "start", "tuned"]
        for name, values in of.items():
            assert values == pytest.approx(validated[name][direction])
    expected_options = {
        "text": options.text,
        "out": options.out,
        "tokens": 231,
        "length": 12,
        "steps": 2,
        "positions": 32,
        "kl": "lens-model",
        "lr": 1e-3,
        "ridge": 0.1,
        "minutes": 10.0,
        "patience": 3,
        "evaluate_every": 40,
    }
    assert provenance == {
        "lens": "tuned",
        "fitted_on": list(options.text),
        "options": expected_options,
        "fingerprint": fact_model.facts.fingerprint,
        "training_sequences": 18,
        "held_out_sequences": 3,
        "steps": 2,
    }


def test_a_fit_is_reported_in_five_lines() -> None:
    kls = {"final": [8.0, 9.0], "start": [2.5, 2.5], "tuned": [2.0, 2.34567]}
    back = {name: [2 * value for value in values] for name, values in kls.items()}
    provenance = {"held_out_kl_bits": kls, "held_out_kl_model_lens_bits": back}
    assert fitting.sentence(provenance) == (
        "mean over layers, held-out text, bits\n"
        "         KL(lens‖model) KL(model‖lens)\n"
        "  final          8.5000        17.0000\n"
        "  start          2.5000         5.0000\n"
        "  tuned          2.1728         4.3457"
    )


def test_an_unknown_direction_is_refused(text: Path) -> None:
    with pytest.raises(LensError, match=r"^kl must be one of lens-model, model-lens, got 'both'$"):
        TunedOptions((str(text),), "out", kl="both")


def test_a_training_is_announced_before_it_starts(
    fact_model: LoadedModel, options: TunedOptions, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "lenses_min"):
        kls = fitting.fit(fact_model, replace(options, steps=0))["held_out_kl_bits"]
    final, start = (fitting.mean(kls[name]) for name in ("final", "start"))
    message = f"held-out KL: final lens {final:.3f} bits, closed-form start {start:.3f} bits"
    assert message in caplog.messages
    assert kls["tuned"] == kls["start"]


def test_a_checkpoint_is_read_as_data_only_and_one_line_tells_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # the default of old versions
    checkpoint = Checkpoint(tmp_path / "training.pt", {"lr": 1.0})
    assert checkpoint.read() is None
    torch.save({"settings": {"lr": 1.0}, "state": {"code": Path("x")}}, checkpoint.path)
    with pytest.raises(LensError) as refused:
        checkpoint.read()
    first = "Weights only load failed."
    begins = f"cannot go on from {checkpoint.path}: {first}"
    assert str(refused.value).startswith(begins)
    assert str(refused.value).endswith("; remove it to start anew")
    assert "\n" not in str(refused.value)


def test_folders_above_and_earlier_files_are_no_hindrance(
    fact_model: LoadedModel, options: TunedOptions, tmp_path: Path
) -> None:
    settings = replace(options, steps=0, out=str(tmp_path / "a" / "b"))
    for ridge in (0.1, 0.2):
        fitting.fit(fact_model, replace(settings, ridge=ridge))
    written = json.loads((tmp_path / "a" / "b" / "provenance.json").read_text())
    assert written["options"]["ridge"] == 0.2


def test_no_step_is_a_number_of_steps_and_a_negative_one_is_not(options: TunedOptions) -> None:
    assert replace(options, steps=0).steps == 0
    with pytest.raises(LensError, match=r"^steps must be 0 or above, got -1$"):
        replace(options, steps=-1)
