"""Prism fitted here: moments, sample, rotation, and artifacts that the lens and the reference read."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.cli import command_line
from lenses_min.core.types import Bos
from lenses_min.fit import prism
from lenses_min.fit.options import PrismOptions
from lenses_min.model.load import LoadedModel
from lenses_min.prompts.suite import BUILT_IN
from spec.runs.run import read_run
from spec.schema.validate import validate

WORDS = "The capital of Germany is called simply Berlin . The capital of France is called simply Paris . "
SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(SEEDS, st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_moments_of_a_stream_are_those_of_the_whole(seed: int, sizes: list[int]) -> None:
    x = draw(seed, sum(sizes), 3) * 5 + 100
    moments = prism.Moments(3)
    for part in torch.split(x, sizes):
        moments.add(part)
    assert moments.count == len(x)
    assert torch.allclose(moments.mean, x.mean(0))
    assert torch.allclose(moments.variance, x.var(0, correction=0))


def test_a_reservoir_keeps_all_it_can_and_samples_evenly_beyond() -> None:
    few = prism.Reservoir(5, 1)
    few.add(torch.arange(3.0)[:, None])
    assert few.sample.flatten().tolist() == [0, 1, 2]
    counts = np.zeros(20)
    for seed in range(300):
        many = prism.Reservoir(5, 1)
        many.draw.manual_seed(seed)
        many.add(torch.arange(20.0)[:, None])
        assert len(set(many.sample.flatten().tolist())) == 5
        counts[many.sample.flatten().int().numpy()] += 1
    assert counts.min() > 45, "300 samples of 5 in 20: 75 of each expected, deviation 7.5"
    assert counts.max() < 105
    second = prism.Reservoir(1, 1)
    second.seen = 1
    assert {second.pick() for _ in range(64)} == {0, 1}, "the second of two rows, or not"


def test_the_vocabulary_is_multiplied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prism, "CHUNK", 2)
    weight = draw(0, 5, 3)
    torch.testing.assert_close(prism.gram_of(weight), weight.T @ weight)


@given(SEEDS, st.integers(1, 6))
def test_procrustes_is_orthogonal_and_takes_one_basis_to_the_other(seed: int, k: int) -> None:
    e, u = (torch.linalg.qr(draw(seed + i, 6, 6)).Q[:, :k] for i in (0, 1))
    q = prism.procrustes(e, u)
    assert torch.allclose(q.T @ q, torch.eye(6, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(e.T @ q, u.T, atol=1e-9)


@given(SEEDS)
def test_directions_are_those_of_the_singular_value_decomposition(seed: int) -> None:
    weight = draw(seed, 40, 5) * torch.tensor([5.0, 4, 3, 2, 1])
    directions = prism.leading(prism.gram_of(weight.float()), 3)
    left = np.linalg.svd(weight.numpy().T)[0][:, :3]
    assert np.abs(np.sum(directions.numpy() * left, 0)) == pytest.approx(1, abs=1e-4)
    assert (directions.gather(0, directions.abs().argmax(0, keepdim=True)) > 0).all()


def test_a_fit_whitens_what_the_lens_reads(fact_model: LoadedModel, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(WORDS * 20)
    options = PrismOptions(
        (str(text),),
        str(tmp_path / "out" / "Fact"),
        tokens=600,
        length=16,
        prompts=str(BUILT_IN),
        k=20,
    )
    provenance = prism.fit(fact_model, options)
    layers, sequences = [0, 2, 4, 5], prism.material(fact_model, options)
    assert [len(ids) for ids in sequences[:2]] == [16, 16]
    assert len(sequences) == provenance["sequences"] > 17 + 10, (
        "17 are those of the built-in prompts"
    )
    rows = torch.cat(list(prism.normed_rows(fact_model, sequences, layers)))
    whiten = torch.load(tmp_path / "out" / "Fact" / "whiten.pt", weights_only=True)
    assert torch.allclose(whiten["mean"], rows.mean(0), atol=1e-5)
    assert torch.allclose(whiten["var"], rows.var(0, correction=0), rtol=1e-4, atol=1e-6)
    assert whiten["eps"] == 1e-8
    q = torch.load(tmp_path / "out" / "Fact" / "Q_prism.pt", weights_only=True)
    white = (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-8).sqrt()
    e = np.linalg.svd(white.numpy(), full_matrices=False)[2][:20]
    u = np.linalg.svd(fact_model.head.weight.numpy().T)[0][:, :20]
    assert np.abs(np.linalg.svd(e @ q.numpy() @ u)[1]) == pytest.approx(1, abs=1e-2), (
        "E_k goes to the span of U_k"
    )
    written = (tmp_path / "out" / "Fact" / "provenance.json").read_text(encoding="utf-8")
    assert written == json.dumps(provenance, indent=2) + "\n"
    assert provenance.pop("orthogonality_error") < 1e-5
    assert provenance == {
        "method": "procrustes",
        "k": 20,
        "layers": ["embed", 1, 3, 4],
        "seed": 316,
        "d_model": 128,
        "residuals": len(rows),
        "sampled": len(rows),
        "sequences": len(sequences),
        "norms": "reference formula",
        "fingerprint": fact_model.facts.fingerprint,
        "options": {
            "text": options.text,
            "out": options.out,
            "tokens": 600,
            "length": 16,
            "prompts": str(BUILT_IN),
            "k": 20,
            "samples": 20_000,
        },
    }
    assert sorted(p.name for p in (tmp_path / "out" / "Fact").iterdir()) == [
        "Q_prism.pt",
        "provenance.json",
        "whiten.pt",
    ]


def test_a_direction_that_never_varies_is_whitened_by_epsilon(
    fact_model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = draw(0, 300, fact_model.facts.d_model).float()
    rows[:, 3] = 1
    monkeypatch.setattr(prism, "normed_rows", lambda *_: iter([rows]))
    text = tmp_path / "text.txt"
    text.write_text(WORDS * 20)
    provenance = prism.fit(
        fact_model, PrismOptions((str(text),), str(tmp_path / "out"), length=16, k=20)
    )
    assert provenance["orthogonality_error"] < 1e-5
    q = torch.load(tmp_path / "out" / "Q_prism.pt", weights_only=True)
    assert q.isfinite().all()


@pytest.mark.parametrize(("length", "kept"), [(0, False), (1, True), (8, True), (9, False)])
def test_prompts_of_one_token_to_the_context_are_read(
    length: int, kept: bool, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "a", "context": "x", "answer": "y"}\n')
    tokens = SimpleNamespace(bos=Bos((), "none"), model_input=lambda text: [1] * length)
    model: Any = SimpleNamespace(tokens=tokens, facts=SimpleNamespace(n_ctx=8))
    options = PrismOptions((), str(tmp_path / "out"), prompts=str(prompts))
    if kept:
        assert prism.material(model, options) == [[1] * length]
    else:
        with pytest.raises(LensError, match="the texts hold no sequence"):
            prism.material(model, options)


def test_on_the_command_line_and_in_a_run(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = (
        str(models / "layernorm-parallel"),
        ["--out", str(tmp_path / "prisms"), "--device", "cpu"],
    )
    command = ["fit", "prism", model, *out, "--prompts", str(BUILT_IN)]
    assert command_line.main([*command, "--contract", "corrected"]) == 0
    folder = tmp_path / "prisms" / "layernorm-parallel"
    note = json.loads((folder / "provenance.json").read_text())
    message = f"32 of 32 directions aligned, from {note['residuals']} residuals"
    error = f"max |QᵀQ − I| is {note['orthogonality_error']:.1e}"
    printed = capsys.readouterr().out
    assert printed == f"layernorm-parallel: {message}; {error}\n{folder}\n"
    assert note["norms"] == "the model's own modules"
    options = RunOptions(
        model,
        device="cpu",
        contract="corrected",
        prism_dir=str(tmp_path / "prisms"),
        out_dir=str(tmp_path / "o"),
    )
    run = pipeline.run(replace(options, prism="on"))
    run.save()
    assert run.lenses == ["norm", "prism"]
    assert validate(read_run(tmp_path / "o", "layernorm-parallel")) == []

    assert command_line.main([*command, "--samples", "8"]) == 1
    assert (
        "8 residuals do not span 32 directions; give more text or a smaller --k"
        in capsys.readouterr().err
    )
    assert command_line.main(["fit", "prism", model, *out]) == 2
    assert "a fit needs a --text file to learn from" in capsys.readouterr().err
    assert command_line.main([*command, "--k", "0"]) == 2
    assert "k must be above 0, got 0" in capsys.readouterr().err


def test_texts_without_a_sequence_are_refused(fact_model: LoadedModel, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The capital")
    with pytest.raises(
        LensError,
        match=r"the texts hold no sequence of 256 tokens; give more, or a smaller --length",
    ):
        prism.fit(fact_model, PrismOptions((str(text),), str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_every_prompt_that_the_model_can_read_is_material(
    fact_model: LoadedModel, tmp_path: Path
) -> None:
    """From one token up to all that its context holds, and none that is longer."""
    prompts = tmp_path / "prompts.yaml"
    texts = ["Berlin", "The capital", "The capital of"]
    tests = "".join(f"  - {text!r}\n" for text in texts)
    first = "passes:\n  - {id: a, context: The capital of Germany, answer: Berlin}\n"
    prompts.write_text(f"{first}test_prompts:\n{tests}", encoding="utf-8")
    short = replace(fact_model, facts=replace(fact_model.facts, n_ctx=3))
    options = PrismOptions((), str(tmp_path / "out"), prompts=str(prompts))
    read = [fact_model.tokens.model_input(text) for text in texts]
    assert [len(ids) for ids in read] == [2, 3, 4]
    assert prism.material(short, options) == read[:2]
    assert prism.material(fact_model, options)[1:] == read
    without = replace(fact_model.tokens, bos=replace(fact_model.tokens.bos, ids=()))
    bare = replace(short, tokens=without)
    assert prism.material(bare, options) == [ids[1:] for ids in read]


def test_as_many_residuals_as_directions_are_enough(
    fact_model: LoadedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And an earlier fit of the same name is replaced; a bar that is done leaves nothing behind."""
    folder = tmp_path / "a" / "b"
    options = PrismOptions((), str(folder), prompts=str(BUILT_IN), k=9, samples=9)
    for _ in range(2):
        assert prism.fit(fact_model, options)["sampled"] == 9
    assert (folder / "Q_prism.pt").is_file()
    assert "residuals" not in capsys.readouterr().out
