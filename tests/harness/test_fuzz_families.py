"""scripts/fuzz_families.py finds a wrong number; a fixed sample of it passes, and each kind that it found."""

import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lenses_min import LensError
from lenses_min.lenses.final import FinalLens
from lenses_min.model.architecture import leaves
from spec.golden import GOLDEN

pytestmark = pytest.mark.long

SCRIPTS = str(GOLDEN.parent / "scripts")


def load_fuzz() -> SimpleNamespace:
    """The script and its modules, which lie beside it and not in a package."""
    path = list(sys.path)
    sys.path.insert(0, SCRIPTS)
    try:
        return SimpleNamespace(**runpy.run_path(f"{SCRIPTS}/fuzz_families.py"))
    finally:
        sys.path[:] = path


FUZZ = load_fuzz()
# One of each way to build a model: dense, parallel, mixture of experts, no RoPE, scaled, with a part for images.
SAMPLE = ("bloom", "cohere2", "deepseek_v3", "falcon", "gemma3", "glm4_moe", "granite", "olmo2")
# Blocks whose norm is none of those that TransformerLens calls ln1, or lies deeper in the block.
OWN_NORMS = ("falcon_mamba", "mamba", "mamba2", "nemotron_h", "recurrent_gemma", "rwkv", "zamba2")
# What TransformerLens ignores; the refusal names it.
IGNORED: dict[str, dict[str, Any]] = {
    "gemma3": {"text_config": {"attn_logit_softcapping": 0.5}},
    "gpt2": {"scale_attn_weights": False},
}
# What TransformerLens does not take, with an assertion or no word: the refusal names the option, and no class of error.
UNTAKEN = {
    "gpt_neox": {"attention_bias": False},
    "gpt_bigcode": {"multi_query": False},
    "phi": {"qk_layernorm": True},
}
# What a model lacks and TransformerLens has a place for: RoPE, the last norm.
ABSENT: dict[str, dict[str, Any]] = {
    "granitemoehybrid": {"position_embedding_type": None},
    "opt": {"do_layer_norm_before": False, "hidden_size": 16, "word_embed_proj_dim": 16},
}
Perform = Callable[..., list[str]]


@pytest.fixture
def differences(tmp_path: Path) -> Perform:
    """What `perform` finds in the first example of a family that transformers can run, with some options given."""

    def found(
        family: str, seed: str = "suite/1", contract: str = "corrected", **given: Any
    ) -> list[str]:
        folder = tmp_path / seed
        example = FUZZ.built(family, seed, folder, given)
        assert not isinstance(example, str), example
        options = {**example.options, "contract": contract}
        return FUZZ.perform(replace(example, options=options), folder)

    return found


@pytest.mark.parametrize("family", SAMPLE)
def test_a_fixed_sample_is_what_transformers_computes(family: str, differences: Perform) -> None:
    assert differences(family) == []


@pytest.mark.parametrize("family", OWN_NORMS)
def test_the_norm_lens_reads_by_the_first_norm_of_the_next_block(
    family: str, differences: Perform
) -> None:
    """The final norm took its place without a word where the block's is not called ln1."""
    assert differences(family) == []


@pytest.mark.parametrize("family", IGNORED)
def test_a_refusal_names_the_option_that_is_ignored(family: str, differences: Perform) -> None:
    """Also one of the text part of a model."""
    ignored = IGNORED[family]
    with pytest.raises(LensError, match="does not compute what transformers computes") as caught:
        differences(family, **ignored)
    options = str(caught.value).partition("not its family's defaults: ")[2]
    for key, value in leaves(ignored.get("text_config", ignored)):
        assert f"{key}={value}" in options


@pytest.mark.parametrize("family", UNTAKEN)
def test_what_transformer_lens_does_not_take_is_reported(family: str, differences: Perform) -> None:
    with pytest.raises(LensError, match="does not take it, though transformers runs it") as caught:
        differences(family, **UNTAKEN[family])
    for key, value in UNTAKEN[family].items():
        assert f"{key}={value}" in str(caught.value)
    assert "Error" not in str(caught.value)


def test_what_transformer_lens_cannot_run_is_reported(differences: Perform) -> None:
    """The advice was about other inputs, where transformers had read the prompt already."""
    expected = "cannot run the model: clip_qkv .*; TransformerLens may lack an option of its config"
    with pytest.raises(LensError, match=expected):
        differences("olmoe", clip_qkv=0.5)


@pytest.mark.parametrize("contract", ["reference", "corrected"])
@pytest.mark.parametrize("family", ABSENT)
def test_a_model_without_a_part_is_read_without_it(
    family: str, contract: str, differences: Perform
) -> None:
    """TransformerLens put a part that cannot run where transformers has None."""
    assert differences(family, contract=contract, **ABSENT[family]) == []


@pytest.mark.parametrize("contract", ["reference", "corrected"])
@pytest.mark.parametrize("family", ["gemma4", "gemma4_text", "gemma4_unified"])
def test_norms_whose_wrapper_does_not_tell_their_kind(
    family: str, contract: str, differences: Perform, caplog: pytest.LogCaptureFixture
) -> None:
    """Gemma 4 is RMSNorm without 1 + w, as its adapter tells; it was refused."""
    assert differences(family, contract=contract) == []
    assert not [r for r in caplog.records if "IS NOT THE MODEL" in r.getMessage()]


EPS = [
    ("gemma4_text", 0.5),
    ("llama", 0.5),
    ("phi", 0.5),
    ("starcoder2", 1e-6),
    ("starcoder2", 0.5),
]


@pytest.mark.parametrize(("family", "eps"), EPS)
def test_every_norm_computes_with_its_own_eps(
    family: str, eps: float, differences: Perform
) -> None:
    """TransformerLens did not know norm_epsilon: 1e-6 was read as 1e-5, too little for the proof to see."""
    names = ("rms_norm_eps", "layer_norm_eps", "norm_epsilon")
    known = FUZZ.fuzz_configs.CONFIG_MAPPING[family]().to_dict()
    assert differences(family, **{name: eps for name in names if name in known}) == []


def test_attention_to_the_best_tokens_is_run_alone(differences: Perform) -> None:
    """Of equal scores it chooses by the length of all that is read."""
    sizes = {"index_topk": 2, "index_n_heads": 1, "num_attention_heads": 2, "hidden_size": 32}
    for i in range(3):
        assert differences("glm_moe_dsa", seed=f"best/{i}", **sizes) == []


def test_a_table_of_ids_is_no_quantized_weight(differences: Perform) -> None:
    """DeepSeek V4 routes its first layers by a table; what cannot be read of it are its several streams."""
    with pytest.raises(LensError, match="several streams a token"):
        differences("deepseek_v4", mlp_layer_types=["hash_moe"], num_hidden_layers=1)


def test_all_shared_families_are_drawn() -> None:
    families = FUZZ.fuzz_configs.shared_families()
    assert {"llama", "qwen3_5", *SAMPLE, *OWN_NORMS} <= set(families)
    assert len(families) >= 90


def test_a_wrong_number_is_reported(differences: Perform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lens that moves the stream of one layer."""
    right = FinalLens.decode

    def wrong(lens: FinalLens, x: Any, layers: Any) -> Any:
        return right(lens, x + (layers == 0)[:, None], layers)

    monkeypatch.setattr(FinalLens, "decode", wrong)
    assert any(" final layer 0 " in each for each in differences("llama"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.25, []), (0.2495, ["x: 'a' 0.2495, transformers 'a' 0.25"])],
)
def test_what_counts_as_a_difference(value: float, expected: list[str]) -> None:
    block = {"topk": [["b", 0.75], ["a", value]], "entropy": 0.8112781}
    assert FUZZ.distribution("x", block, np.array([0.25, 0.75]), ["a", "b"]) == expected
