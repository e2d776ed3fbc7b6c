"""The document and the manifest of a run, from passes and facts made by hand."""

import resource
import sys
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from platform import python_version
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lenses_min import RunOptions, __version__
from lenses_min.core.types import Gold, ModelInfo
from lenses_min.model.determinism import SEED
from lenses_min.output import document, manifest
from lenses_min.output.digest import Digest

FACTS = ModelInfo(
    family="Gemma2",
    n_layers=6,
    d_model=32,
    n_heads=4,
    d_vocab=64,
    n_ctx=128,
    alone_above=None,
    device="cpu",
    dtype="bfloat16",
    first_norm="RMSNorm",
    final_norm="LayerNorm",
    learned_positions=False,
    output_transform=True,
    logit_scale=0.5,
    soft_cap=30.0,
    fingerprint="1a2b",
)
REFERENCE, CORRECTED = (
    RunOptions("org/M", device="cpu", contract=contract) for contract in ("reference", "corrected")
)


@pytest.mark.parametrize(
    ("learned", "positions"),
    [(True, "additive_pos_embed_included"), (False, "token_only_rotary_model")],
)
def test_what_a_document_states_of_the_model(learned: bool, positions: str) -> None:
    assert document.of_model(replace(FACTS, learned_positions=learned), REFERENCE) == {
        "type": "diagnostics",
        "model": "org/M",
        "device": "cpu",
        "use_norm_lens": True,
        "use_fp32_unembed": True,
        "unembed_dtype": "torch.float32",
        "first_block_ln1_type": "RMSNorm",
        "final_ln_type": "LayerNorm",
        "layernorm_bias_fix": "not_needed_rms_model",
        "norm_alignment_fix": "using_ln2_rmsnorm_for_post_block",
        "layer0_norm_fix": "using_real_ln1_on_embeddings",
        "mixed_precision_fix": "casting_to_fp32_before_unembed",
        "layer0_position_info": positions,
    }


def test_only_a_corrected_document_names_the_output_transform() -> None:
    consistency = {"kl_to_final_bits": 0.25}
    assert document.last_layer(FACTS, REFERENCE, consistency) == consistency
    assert document.last_layer(FACTS, CORRECTED, consistency) == {
        "kl_to_final_bits": 0.25,
        "cfg_transform": {"scale": 0.5, "softcap": 30.0},
    }


def result(*defects: str) -> Any:
    """A pass without rows, whose prompt has some defects."""
    return SimpleNamespace(
        encoded=SimpleNamespace(
            prompt=SimpleNamespace(text="The capital", answer="Berlin"),
            gold=Gold("Berlin", ("Berlin",), (7,), "with_space"),
            defects=defects,
        ),
        pure={"norm": []},
        predictions={"temperature_exploration": [], "final_prediction": {}},
        consistency={},
        raw_samples=[],
    )


@pytest.mark.parametrize(
    ("passes", "ids"),
    [
        ([result(), result(), result()], []),
        ([result("R14"), result(), result()], ["R14"]),
        ([result(), result("R15"), result("R14")], ["R14", "R15"]),
    ],
)
def test_a_corrected_document_lists_the_defects_of_all_its_prompts(
    passes: list[Any], ids: list[str]
) -> None:
    always = ["R1", "R2", "R3", "R4", "R5", "R6", "R7", "rank"]
    corrected = document.document(FACTS, CORRECTED, passes, [], {})
    assert [entry["id"] for entry in corrected["differs"]] == [*always, *ids]
    assert "differs" not in document.document(FACTS, REFERENCE, passes, [], {})


def test_a_whole_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    of_process = {"inputs": {"model": "3c"}, "versions": {"torch": "2"}, "now": "noon"}
    for name, value in {**of_process, "peak_memory": {"host": 5}}.items():
        monkeypatch.setattr(manifest, name, lambda *_, value=value: value)
    monkeypatch.setattr(time, "perf_counter", lambda: 102.5)
    lenses: dict[str, Any] = {"raw": {"a/orig": {}}}
    prompts, agreement = [{"prompt_id": "a"}], [{"layer": 1}]
    passes = Digest([], [], prompts, lenses, agreement, [])
    checks = {"last_layer_proof": {"passed": True}, "warnings": ["R1: no bias"]}
    content = manifest.manifest(FACTS, CORRECTED, passes, {"bos": {"ids": [1]}}, checks, 100.0)
    assert content == {
        "model_id": "org/M",
        "contract": "corrected",
        **asdict(FACTS),
        "options": asdict(CORRECTED),
        "inputs": {"model": "3c"},
        "versions": {"torch": "2"},
        "seed": SEED,
        "bos": {"ids": [1]},
        "prompts": prompts,
        "lenses": lenses,
        "last_layer_proof": {"passed": True},
        "last_layer_agreement": agreement,
        "warnings": ["R1: no bias"],
        "finished_at": "noon",
        "elapsed_s": 2.5,
        "peak_memory": {"host": 5},
    }


def test_the_versions_are_of_all_that_makes_the_numbers() -> None:
    packages = ("torch", "transformer-lens", "transformers", "numpy")
    own = {"lenses-min": __version__, "python": python_version()}
    assert manifest.versions() == own | {name: version(name) for name in packages}


@pytest.mark.parametrize(("platform", "host"), [("linux", 3072), ("darwin", 3)])
def test_peak_memory_is_in_bytes_and_of_all_gpus(
    platform: str, host: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux counts the memory of a process in units of 1024 bytes, macOS in bytes."""
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3))
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda gpu: 10 + gpu)
    assert manifest.peak_memory() == {"host": host, "cuda": 21}
