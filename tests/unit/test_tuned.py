"""The tuned lens: its formula, the two layouts of its artifacts, and a fit that can be stopped and goes on."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.cli import command_line
from lenses_min.core.norms import FormulaNorms
from lenses_min.core.unembedding import Unembedding
from lenses_min.fit import tuned as fitting
from lenses_min.fit.options import TunedOptions
from lenses_min.lenses.final import FinalLens
from lenses_min.lenses.tuned import TunedLens, read_translators
from lenses_min.model.load import LoadedModel
from spec import oracle
from spec.runs.run import read_run
from spec.schema.validate import validate

D, V, N = 4, 7, 2
WORDS = "The capital of Germany is called simply Berlin . The capital of France is called simply Paris . "


def parts(seed: int = 0) -> tuple[FormulaNorms, Unembedding, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    scale = 1 + 0.2 * torch.randn(N + 1, D, generator=draw)
    norms = FormulaNorms(
        scale, torch.full((N + 1, 1), 1e-3), torch.zeros(N + 1, 1, dtype=torch.bool)
    )
    head = Unembedding(torch.randn(V, D, generator=draw), torch.randn(V, generator=draw))
    return norms, head, torch.randn(N, D, D, generator=draw), torch.randn(N, D, generator=draw)


def test_the_formula_is_the_oracle_s_and_the_last_layer_is_read_as_it_is() -> None:
    norms, head, weight, bias = parts()
    x, layers = (
        torch.randn(5, D, generator=torch.Generator().manual_seed(9)),
        torch.tensor([0, 0, 1, 2, 2]),
    )
    logits = TunedLens(norms, head, weight, bias).decode(x, layers)
    assert head.bias is not None
    wide = [t.double().numpy() for t in (norms.scale[-1], head.weight.T, head.bias)]
    for i, layer in enumerate(layers.tolist()):
        a, c = (torch.zeros(D, D), torch.zeros(D)) if layer == N else (weight[layer], bias[layer])
        arguments = x[i].double().numpy(), a.double().numpy(), c.double().numpy()
        expected = oracle.tuned_lens(
            *arguments, lambda row: oracle.rms_norm(row, wide[0], 1e-3), *wide[1:]
        )
        assert logits[i].double().numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_identity_is_the_final_lens_and_half_precision_stays() -> None:
    norms, head, weight, bias = parts()
    x, layers = (
        torch.randn(3, D, generator=torch.Generator().manual_seed(3)),
        torch.tensor([0, 1, 2]),
    )
    unmoved = TunedLens(norms, head, 0 * weight, 0 * bias)
    assert torch.equal(unmoved.decode(x, layers), FinalLens(norms, head).decode(x, layers))
    assert unmoved.translate(x.bfloat16(), 0).dtype == torch.bfloat16


def state(prefix: str = "", n: int = N, width: int = D) -> dict[str, torch.Tensor]:
    _, _, weight, bias = parts()
    named = {
        f"{prefix}{layer}.weight": weight[layer % N][:width, :width].clone() for layer in range(n)
    }
    return named | {f"{prefix}{layer}.bias": bias[layer % N][:width].clone() for layer in range(n)}


@pytest.mark.parametrize("prefix", ["", "layer_translators."])
def test_both_layouts_are_read(prefix: str, tmp_path: Path) -> None:
    _, _, weight, bias = parts()
    torch.save(state(prefix), tmp_path / "params.pt")
    (tmp_path / "config.json").write_text(
        json.dumps({"d_model": D, "num_hidden_layers": N, "bias": True})
    )
    assert all(map(torch.equal, read_translators(tmp_path, N, D), (weight, bias)))
    save_file({key: 2 * t for key, t in state().items()}, tmp_path / "translators.safetensors")
    assert torch.equal(read_translators(tmp_path, N, D)[0], 2 * weight), "our own file comes first"


def test_a_published_lens_needs_no_config(tmp_path: Path) -> None:
    _, _, weight, bias = parts()
    torch.save(state(), tmp_path / "params.pt")
    assert all(map(torch.equal, read_translators(tmp_path, N, D), (weight, bias)))


def test_a_corrupt_lens_is_reported_by_the_first_line_of_the_error(tmp_path: Path) -> None:
    (tmp_path / "params.pt").touch()

    def fail(*given: object, **more: object) -> None:
        raise RuntimeError("Invalid magic number\nSee the\nmanual")

    with patch("torch.load", fail), pytest.raises(LensError) as caught:
        read_translators(tmp_path, N, D)
    assert str(caught.value) == (
        f"the tuned lens in {tmp_path} is corrupt (RuntimeError: Invalid magic number)"
    )


def write_config(folder: Path, **fields: int) -> None:
    torch.save(state(), folder / "params.pt")
    (folder / "config.json").write_text(json.dumps(fields))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: None, "no tuned lens in .*; fit one with lenses-min fit tuned"),
    "layers": (
        lambda f: save_file(state(n=1), f / "translators.safetensors"),
        "is not for 2 layers of width 4",
    ),
    "more layers": (
        lambda f: save_file(state(n=3), f / "translators.safetensors"),
        "is not for 2 layers of width 4",
    ),
    "width": (
        lambda f: save_file(state(width=3), f / "translators.safetensors"),
        "is not for 2 layers of width 4",
    ),
    "not finite": (
        lambda f: save_file(
            state() | {"0.bias": torch.full((D,), torch.nan)}, f / "translators.safetensors"
        ),
        "not finite",
    ),
    "cut off": (lambda f: (f / "translators.safetensors").write_bytes(b"\x08"), "is corrupt"),
    "another width": (
        lambda f: write_config(f, d_model=8),
        "is of another model: d_model 8, not 4",
    ),
    "another depth": (
        lambda f: write_config(f, num_hidden_layers=9),
        "is of another model: num_hidden_layers 9, not 2",
    ),
    "code": (
        lambda f: torch.save({"0.weight": Path("x")}, f / "params.pt"),
        "is corrupt .*UnpicklingError",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_tuned_lens_of_this_model_is_refused(name: str, tmp_path: Path) -> None:
    make, message = BROKEN[name]
    make(tmp_path)
    with pytest.raises(LensError, match=message):
        read_translators(tmp_path, N, D)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(WORDS * 20, encoding="utf-8")
    return path


@pytest.fixture
def quick(text: Path, tmp_path: Path) -> TunedOptions:
    sizes: Any = {
        "tokens": 400,
        "length": 12,
        "steps": 6,
        "positions": 8,
        "evaluate_every": 2,
        "patience": 9,
    }
    return TunedOptions((str(text),), str(tmp_path / "out"), lr=1e-3, **sizes)


def test_a_fit_brings_the_kl_down_and_serves_the_lens(
    text: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = str(models / "deep-tied"), tmp_path / "tuned"
    small = [
        "--tokens",
        "600",
        "--length",
        "16",
        "--steps",
        "4",
        "--evaluate-every",
        "2",
        "--device",
        "cpu",
    ]
    assert (
        command_line.main(["fit", "tuned", model, "--text", str(text), "--out", str(out), *small])
        == 0
    )
    assert capsys.readouterr().out.startswith("deep-tied: mean over layers, held-out text, bits\n")
    provenance = json.loads((out / "deep-tied" / "provenance.json").read_text())
    final, start, tuned = (
        fitting.mean(provenance["held_out_kl_bits"][name]) for name in ("final", "start", "tuned")
    )
    assert tuned <= start < final / 4
    assert sorted(p.name for p in (out / "deep-tied").iterdir()) == [
        "provenance.json",
        "translators.safetensors",
    ]

    options = RunOptions(
        model,
        device="cpu",
        lenses=("final", "tuned"),
        tuned_dir=str(out),
        out_dir=str(tmp_path / "o"),
    )
    run = pipeline.run(options)
    run.save()
    written = read_run(tmp_path / "o", "deep-tied")
    assert {"records-tuned", "pure-next-token-tuned"} <= set(written.tables)
    assert validate(written) == []
    assert run.pure("tuned")[12] == replace(run.pure("final")[12])
    assert run.pure("tuned")[5] != run.pure("final")[5]


def test_a_training_that_was_stopped_goes_on_to_the_same_end(
    fact_model: LoadedModel, quick: TunedOptions
) -> None:
    fitting.fit(fact_model, quick)
    straight = load_file(Path(quick.out) / "translators.safetensors")
    other, real, calls = replace(quick, out=quick.out + "2"), fitting.Trainer.loss, []

    def interrupted(self: fitting.Trainer) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(self)

    with patch.object(fitting.Trainer, "loss", interrupted), pytest.raises(KeyboardInterrupt):
        fitting.fit(fact_model, other)
    assert [p.name for p in Path(other.out).iterdir()] == ["training.pt"]
    with pytest.raises(LensError, match="is of a training with other settings"):
        fitting.fit(fact_model, replace(other, lr=1.0))
    assert fitting.fit(fact_model, other)["steps"] == 6
    resumed = load_file(Path(other.out) / "translators.safetensors")
    assert all(torch.allclose(resumed[key], straight[key], atol=1e-6) for key in straight)
    assert not (Path(other.out) / "training.pt").exists()


def test_a_broken_checkpoint_and_a_short_text_are_refused(
    fact_model: LoadedModel, quick: TunedOptions
) -> None:
    Path(quick.out).mkdir()
    (Path(quick.out) / "training.pt").write_bytes(b"no")
    with pytest.raises(LensError, match=r"cannot go on from .*; remove it to start anew"):
        fitting.fit(fact_model, quick)
    with pytest.raises(
        LensError, match="the texts hold 4 sequences of 100 tokens, 10 are needed; give more"
    ):
        fitting.fit(fact_model, replace(quick, length=100))


def test_wrong_options_of_a_fit(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", "tuned", "m", "--out", str(tmp_path / "out")]
    assert command_line.main([*command, "--text", "none.txt"]) == 2
    assert (
        "there is no text file none.txt; --text takes files of plain text"
        in capsys.readouterr().err
    )
    assert command_line.main([*command, "--text", str(text), "--lr", "0"]) == 2
    assert re.search("lr must be above 0, got 0", capsys.readouterr().err)
    assert (
        command_line.main([*command, "--text", str(text), "--model-id", "x", "--device", "cpu"])
        == 1
    )
    assert not (tmp_path / "out").exists()


def test_tuned_without_artifacts_is_one_clear_error(models: Path, tmp_path: Path) -> None:
    options = RunOptions(
        str(models / "fact"), device="cpu", lenses=("tuned",), tuned_dir=str(tmp_path)
    )
    with pytest.raises(LensError, match=r"no tuned lens in .*; fit one with lenses-min fit tuned"):
        pipeline.run(options)


def test_every_layer_is_solved_whatever_number_of_threads_was_set() -> None:
    """torch's solver of many systems at once fails here with MKL and 577 rows."""
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(2, 577, 577, generator=draw)
    gram, cross = a @ a.mT + torch.eye(577), torch.randn(2, 577, 5, generator=draw)
    count = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        solved = fitting.solve_layers(gram, cross)
    finally:
        torch.set_num_threads(count)
    torch.testing.assert_close(gram @ solved, cross, rtol=1e-2, atol=1e-2)
