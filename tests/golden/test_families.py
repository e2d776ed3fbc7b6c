"""Families that golden/ does not hold meet the schema, and agree with the model as plain transformers runs it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from lenses_min import RunOptions, pipeline
from spec import oracle
from spec.reading import read_run
from spec.recipe import FAMILIES, build, new_model
from spec.schema import validate

LAYERNORM = {"bloom", "cohere", "falcon", "gpt2", "gpt_neox", "gptj", "opt", "phi", "stablelm"}
TRANSFORMED = {"cohere": (0.0625, None), "gemma2": (None, 30.0), "granite": (0.25, None)}
WITHOUT_BOS = {"bloom", "qwen2", "qwen3"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_outside_golden(family: str, tmp_path: Path) -> None:
    folder = build(new_model(family, seed=5), tmp_path / family)
    options = RunOptions(str(folder), device="cpu", out_dir=str(tmp_path / "out"), raw_lens="full", keep_residuals=True)
    run = pipeline.run(options)
    run.save()
    assert validate(read_run(tmp_path / "out", family)) == []

    ids = run.passes[0].encoded.token_ids
    assert (ids[0] == 1) == (family not in WITHOUT_BOS)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        z = plain(torch.tensor([ids])).logits[0, -1].double().numpy()
    listed = [p for _, p in run.document["final_prediction"]["topk"]]
    assert listed == pytest.approx(sorted(oracle.softmax(z), reverse=True)[:20], rel=1e-4, abs=2e-6)

    warned = {warning.split(":")[0] for warning in run.manifest["warnings"]}
    assert warned == ({"R1"} if family in LAYERNORM else set()) | ({"R3"} if family in TRANSFORMED else set())
    kl = run.document["diagnostics"]["last_layer_consistency"]["kl_to_final_bits"]
    assert (abs(kl) <= 1e-6) == (not warned), "the last layer is the model's own output unless a defect is told"
    assert run.manifest["last_layer_proof"]["holds"] == (not warned)

    corrected = pipeline.run(replace(options, contract="corrected", lenses=("final", "raw"), keep_residuals=False))
    corrected.save()
    assert validate(read_run(tmp_path / "out", family)) == []
    held = corrected.manifest["last_layer_proof"]
    assert held["kl_bits"] <= held["bound_bits"] == 1e-6
    assert corrected.manifest["warnings"] == []
    end = corrected.pure()[len(corrected.pure()) // 3 - 1]
    probabilities = oracle.softmax(z)
    assert [p for _, p in end.top] == pytest.approx(sorted(probabilities, reverse=True)[:5], rel=1e-4, abs=2e-6)
    assert corrected.pure("final")[end.layer].entropy == end.entropy
    told = corrected.document["diagnostics"]["last_layer_consistency"]["cfg_transform"]
    assert (told["scale"], told["softcap"]) == TRANSFORMED.get(family, (None, None))
