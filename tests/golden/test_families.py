"""Families that golden/ does not hold meet the schema, and agree with the model as plain transformers runs it."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from transformers import AutoModelForCausalLM

from lenses_min import RunOptions, pipeline
from lenses_min.model import load
from spec import oracle
from spec.recipe import FAMILIES, build, new_model
from spec.runs.run import read_run
from spec.schema.validate import validate

pytestmark = pytest.mark.long

LAYERNORM = {"bloom", "cohere", "falcon", "gpt2", "gpt_neox", "gptj", "opt", "phi", "stablelm"}
TRANSFORMED = {"cohere": (0.0625, None), "gemma2": (None, 30.0), "granite": (0.25, None)}
GERMANY = "Give the city name only, plain text. The capital of Germany is called simply"
SHORT = [{"id": f"s{i}", "context": " the capital" * i, "answer": "Berlin"} for i in range(1, 4)]
WITHOUT_BOS = {"bloom", "qwen2", "qwen3"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_outside_golden(family: str, tmp_path: Path) -> None:
    folder = build(new_model(family, seed=5), tmp_path / family)
    options = RunOptions(
        str(folder),
        device="cpu",
        out_dir=str(tmp_path / "out"),
        raw_lens="full",
        keep_residuals=True,
    )
    loaded = load.load(options)
    with patch.object(pipeline, "load", lambda options, prompt: loaded):
        run = pipeline.run(options)
    run.save()
    assert validate(read_run(tmp_path / "out", family)) == []

    ids = run.manifest["prompts"][0]["token_ids"]
    assert (ids[0] == 1) == (family not in WITHOUT_BOS)
    plain = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        z = plain(torch.tensor([ids])).logits[0, -1].double().numpy()
    listed = [p for _, p in run.document["final_prediction"]["topk"]]
    assert listed == pytest.approx(sorted(oracle.softmax(z), reverse=True)[:20], rel=1e-4, abs=2e-6)

    warned = {warning.split(":")[0] for warning in run.manifest["warnings"]}
    assert warned == ({"R1"} if family in LAYERNORM else set()) | (
        {"R3"} if family in TRANSFORMED else set()
    )
    kl = run.document["diagnostics"]["last_layer_consistency"]["kl_to_final_bits"]
    assert (abs(kl) <= 1e-6) == (not warned), (
        "the last layer is the model's own output unless a defect is reported"
    )
    assert run.manifest["last_layer_proof"]["holds"] == (not warned)

    own = tmp_path / "own.json"
    own.write_text(
        json.dumps({"passes": [{"id": "be", "context": GERMANY, "answer": "Berlin Paris"}, *SHORT]})
    )
    with patch.object(pipeline, "load", lambda options, prompt: loaded):
        together, alone = (
            pipeline.run(replace(options, prompts=str(own), batch_size=size)) for size in (8, 1)
        )
    for a, b in zip(together.pure(), alone.pure(), strict=True):
        assert (a.entropy, a.kl_to_final_bits) == pytest.approx(
            (b.entropy, b.kl_to_final_bits), rel=1e-4, abs=1e-5
        )
    rows = [row for row in together.rows("answers") if row.lens == "model"]
    assert [row.prompt_id for row in rows] == ["be", "s1", "s2", "s3"]
    answer = together.document["passes"][0]["gold_answer"]["answer_ids"]
    with torch.no_grad():
        answer_prefix_ids = plain(
            torch.tensor([[*together.manifest["prompts"][0]["token_ids"], *answer[:-1]]])
        ).logits[0, -len(answer) :]
    assert rows[0].surprisal_bits == pytest.approx(
        oracle.surprisal_bits(answer_prefix_ids.double().numpy(), answer), rel=1e-4, abs=1e-4
    )

    corrected = pipeline.run(
        replace(options, contract="corrected", lenses=("final", "raw"), keep_residuals=False)
    )
    corrected.save()
    assert validate(read_run(tmp_path / "out", family)) == []
    proof = corrected.manifest["last_layer_proof"]
    assert proof["kl_bits"] <= proof["bound_bits"] == 1e-6
    assert corrected.manifest["warnings"] == []
    end = corrected.pure()[len(corrected.pure()) // 3 - 1]
    probabilities = oracle.softmax(z)
    assert [p for _, p in end.top] == pytest.approx(
        sorted(probabilities, reverse=True)[:5], rel=1e-4, abs=2e-6
    )
    assert corrected.pure("final")[end.layer].entropy == end.entropy
    transform = corrected.document["diagnostics"]["last_layer_consistency"]["cfg_transform"]
    assert (transform["scale"], transform["softcap"]) == TRANSFORMED.get(family, (None, None))
