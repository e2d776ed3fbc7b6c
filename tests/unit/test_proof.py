"""The proof of a run can fail: it finds every planted fault, names the place, and takes no rounding for a fault."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import CONFIG_MAPPING

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.cli import command_line
from lenses_min.core import forward
from lenses_min.core.last_layer import LastLogits
from lenses_min.model import last_token, load, proof
from lenses_min.model.architecture import unusual_options
from lenses_min.model.bridge import boot
from lenses_min.model.last_token import LastToken, of_transformers
from lenses_min.pipeline import analysis
from spec.recipe import build, new_model

pytestmark = pytest.mark.long

CONTRACTS = ("reference", "corrected")
HALF = ("float16", "bfloat16")
# Options that TransformerLens leaves out where it computes attention by itself.
IGNORED: dict[str, tuple[str, dict[str, Any]]] = {
    "scale": ("gpt2", {"scale_attn_weights": False}),
    "scale-bfloat16": ("gpt2", {"scale_attn_weights": False, "dtype": "bfloat16"}),
    "scale-float16": ("gpt2", {"scale_attn_weights": False, "dtype": "float16"}),
}


def options(model: Path, contract: str = "corrected", **more: Any) -> RunOptions:
    return RunOptions(str(model), device="cpu", contract=contract, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A tiny model by family and configuration, built once."""
    root = tmp_path_factory.mktemp("models")
    built: dict[str, Path] = {}

    def make(family: str, **overrides: Any) -> Path:
        key = repr((family, sorted(overrides.items())))
        if key not in built:
            built[key] = build(new_model(family, 5, **overrides), root / str(len(built)))
        return built[key]

    return make


# The bound.


@given(
    st.lists(st.floats(-30, 0), min_size=2, max_size=40),
    st.floats(-1000, 1000),
    st.sampled_from(("float16", "bfloat16")),
)
def test_rounding_the_logits_once_keeps_the_bound_of_one_rounding(
    depths: list[float], top: float, dtype: str
) -> None:
    z = np.array([0.0, *depths]) + top
    rounded = torch.tensor(z).to(getattr(torch, dtype)).double().numpy()
    error = proof.compare(z, rounded, dtype, 1)
    assert error["max_logit_error"] <= max(proof.step(rounded, dtype), proof.step(z, dtype)) / 2
    assert error["kl_bits"] <= max(error["bound_bits"], proof.bound_bits(z, dtype, 1)) + 1e-12


@pytest.mark.parametrize(
    ("size", "dtype", "step"),
    [
        (400, "bfloat16", 2.0),
        (400, "float16", 0.25),
        (400, "float32", 2.0**-15),
        (40000, "float32", 2.0**-8),
        (7.9, "bfloat16", 2.0**-5),
        (8.1, "bfloat16", 2.0**-4),
        (0, "float16", 2.0**-24),
    ],
)
def test_the_bound_follows_dtype_and_size(size: float, dtype: str, step: float) -> None:
    z = np.array([size, size - size / 2, -1e9])  # a masked token has no share in KL
    assert proof.step(z, dtype) == step
    bits = step**2 / 8 / np.log(2)
    more, least = (64, 1e-6) if dtype == "float32" else (1, 1e-9)
    assert proof.bound_bits(z, dtype, 3) == pytest.approx(max(3 * more * bits, least))


def test_the_error_is_zero_for_equal_logits_and_in_bits() -> None:
    z = np.array([1.0, 2.0, -3.0])
    equal = proof.last_layer_error(LastLogits(z, z.copy()), "float32")
    assert equal == {"kl_bits": 0.0, "max_logit_error": 0.0, "bound_bits": 1e-6}
    two = LastLogits(np.array([1.0, 0.0]), np.array([0.0, 0.0]))
    off = proof.last_layer_error(two, "float32")
    p = 1 / (1 + np.exp(-1))
    assert off["kl_bits"] == pytest.approx(1 + p * np.log2(p) + (1 - p) * np.log2(1 - p))
    assert off["max_logit_error"] == 1.0


def test_the_block_is_of_the_pass_nearest_to_its_bound() -> None:
    errors = [
        {"kl_bits": kl, "max_logit_error": 0.0, "bound_bits": bound}
        for kl, bound in ((0.4, 0.5), (0.2, 0.21), (1e-9, 1e-6))
    ]
    block = proof.proof(errors, "bfloat16", {"kl_bits": 0.0})
    assert (block["kl_bits"], block["bound_bits"], block["holds"]) == (0.2, 0.21, True)
    errors[2]["kl_bits"] = 2e-6
    assert proof.worst_of(errors) == 2
    assert not proof.proof(errors, "bfloat16", {})["holds"]


# Half precision is no fault.


def lifted(source: Path, target: Path, by: float) -> Path:
    """The same model with every logit higher: a bias of the final norm along a direction of the unembedding."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        model.transformer.ln_f.weight[0] = 0
        model.transformer.ln_f.bias[0] = by / 8
        model.lm_head.weight[:, 0] = 8
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
    return target


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("dtype", HALF)
def test_logits_of_400_are_rounded_and_no_fault(
    dtype: str, contract: str, folder: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    model = lifted(folder("gpt2"), tmp_path / "lifted", 400)
    command = ["run", str(model), "--device", "cpu", "--contract", contract, "--self-test"]
    sound = contract == "corrected" or dtype == "bfloat16"  # float16 still shows R1
    assert command_line.main([*command, "--dtype", dtype]) == (0 if sound else 1)
    assert ("equals the model's own output" in capsys.readouterr().out) == sound


@pytest.mark.parametrize("dtype", ["float32", *HALF])
@pytest.mark.parametrize("name", ["softcap-postnorm", "layernorm-parallel", "fact", "deep-tied"])
def test_the_proof_holds_with_room_in_every_dtype(name: str, dtype: str, models: Path) -> None:
    """Nearest to its bound comes softcap-postnorm in float16, whose soft cap rounds three times: 0.41."""
    block = pipeline.self_test(options(models / name, dtype=dtype))
    assert block["holds"]
    assert block["parts_at"] is None
    assert -1e-12 <= block["kl_bits"] <= block["bound_bits"] / 2
    bridge = block["transformers"]
    assert -1e-12 <= bridge["kl_bits"] <= bridge["bound_bits"] / 2


@pytest.mark.parametrize("dtype", HALF)
def test_a_soft_cap_left_out_is_reported_in_half_precision(dtype: str, models: Path) -> None:
    block = pipeline.self_test(options(models / "softcap-postnorm", "reference", dtype=dtype))
    assert (block["holds"], block["parts_at"]) == (False, "the output transform")


# What TransformerLens ignores.


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("name", IGNORED)
def test_an_option_that_transformer_lens_ignores_is_refused(
    name: str, contract: str, folder: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    family, overrides = IGNORED[name]
    dtype = overrides.get("dtype", "float32")
    model = folder(family, **{key: v for key, v in overrides.items() if key != "dtype"})
    command = ["run", str(model), "--device", "cpu", "--contract", contract, "--dtype", dtype]
    more = ["--self-test"] if dtype != "float32" else ["--out-dir", str(tmp_path / "out")]
    assert command_line.main([*command, *more]) == 1
    error = capsys.readouterr().err
    assert "does not compute what transformers computes" in error
    assert "they part at block 0" in error
    assert "scale_attn_weights=False" in error
    assert not list((tmp_path / "out").glob("*.csv"))


def test_the_numbers_of_the_untouched_model_are_those_of_transformers(
    folder: Callable[..., Path],
) -> None:
    from transformers import AutoModelForCausalLM

    path, ids = folder("gpt2", scale_attn_weights=False), (1, 9, 30, 12, 40)
    reading = of_transformers(AutoModelForCausalLM.from_pretrained(path).eval(), ids, "m")
    plain = AutoModelForCausalLM.from_pretrained(path).eval()
    with torch.no_grad():
        output = plain(torch.tensor([ids]), output_hidden_states=True)
    assert reading.stream is not None
    assert reading.logits == pytest.approx(output.logits[0, -1].numpy(), abs=1e-4)
    for layer, state in enumerate(output.hidden_states[:-1]):
        assert reading.stream[layer] == pytest.approx(state[0, -1].numpy(), abs=1e-4)
    assert reading.normed == pytest.approx(output.hidden_states[-1][0, -1].numpy(), abs=1e-4)


# Planted faults: each is found, and its place is named.


def scaled(name: str) -> Callable[[Any], None]:
    def plant(bridge: Any) -> None:
        bridge.hook_dict[name].add_hook(lambda x, hook: x * 1.05, is_permanent=True)

    return plant


def uncapped(bridge: Any) -> None:
    bridge.original_model.config.final_logit_softcapping = None


FAULTS = {
    "the embeddings": scaled("blocks.0.hook_in"),
    "block 0": scaled("blocks.0.mlp.hook_out"),
    "block 2": scaled("blocks.2.attn.hook_out"),
    "block 3": scaled("blocks.3.hook_out"),
    "the final norm": scaled("ln_final.hook_out"),
    "the head": scaled("unembed.hook_out"),
    "the output transform": uncapped,
}


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("place", FAULTS)
def test_a_fault_of_the_bridge_is_reported_at_its_place(
    place: str, contract: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty_boot(*args: Any) -> Any:
        bridge = boot(*args)
        FAULTS[place](bridge)
        return bridge

    monkeypatch.setattr(load, "boot", faulty_boot)
    name = "softcap-postnorm" if place == "the output transform" else "rms-rope"
    with pytest.raises(LensError, match=rf"transformers computes\. .* part at {place}, by "):
        pipeline.self_test(options(models / name, contract))


@pytest.mark.parametrize("contract", CONTRACTS)
def test_residuals_of_another_layer_are_refused_though_the_logits_are_right(
    contract: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(layer: int) -> str:
        return f"blocks.{layer}.hook_in" if layer < 4 else "blocks.3.mlp.hook_out"

    monkeypatch.setattr(forward, "hook_name", shifted)
    with pytest.raises(LensError, match=r"read otherwise than by transformers from block 3 on"):
        pipeline.run(options(models / "rms-rope", contract))
    monkeypatch.setattr(last_token, "hook_name", shifted)
    with pytest.raises(LensError, match=r"they part at block 3, by"):
        pipeline.self_test(options(models / "rms-rope", contract))


def test_a_lens_that_leaves_the_model_is_an_error_under_the_corrected_contract(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Planted behind the check at loading; under the reference contract, whose defects are known, it is logged."""
    real = analysis.build_lenses

    def untransformed(model: Any, run_options: RunOptions) -> Any:
        object.__setattr__(model, "head", replace(model.head, transform=None))
        return real(model, run_options)

    monkeypatch.setattr(analysis, "build_lenses", untransformed)
    model = options(models / "softcap-postnorm")
    with pytest.raises(LensError, match=r"NOT THE MODEL'S .*; they part at the output transform"):
        pipeline.run(model)
    with caplog.at_level(logging.ERROR, "lenses_min"):
        logging.getLogger("lenses_min").propagate = True
        block = pipeline.run(replace(model, contract="reference")).manifest["last_layer_proof"]
    assert (block["holds"], block["parts_at"]) == (False, "the output transform")
    assert caplog.messages == [f"{model.model_id}: {proof.sentence(block)}"]


def test_a_transform_that_transformer_lens_does_not_tell_of_is_refused_at_loading(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = load.read_head
    monkeypatch.setattr(
        load, "read_head", lambda *args: replace(real(*args), transform=lambda z: z)
    )
    with pytest.raises(LensError, match="what TransformerLens tells of the output transform does"):
        load.load(options(models / "softcap-postnorm"))


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_manifest_has_both_halves_of_the_proof(contract: str, models: Path) -> None:
    block = pipeline.run(options(models / "rms-rope", contract)).manifest["last_layer_proof"]
    errors = ["kl_bits", "max_logit_error", "bound_bits"]
    assert list(block) == [*errors, "dtype", "holds", "parts_at", "transformers"]
    assert list(block["transformers"]) == [*errors, "parts_at"]
    assert block["holds"]
    assert block["transformers"]["kl_bits"] <= block["transformers"]["bound_bits"] == 1e-6


# What cannot be read at all.


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("more", [{}, {"do_layer_norm_before": False}])
def test_a_projection_before_the_unembedding_is_refused_under_either_contract(
    more: dict[str, Any], contract: str, folder: Callable[..., Path]
) -> None:
    model = folder("opt", word_embed_proj_dim=16, **more)
    message = r"residual stream is 32 wide and its unembedding 16, .* under either contract"
    with pytest.raises(LensError, match=message) as caught:
        pipeline.run(options(model, contract))
    assert "--contract" not in str(caught.value)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_overflow_in_float16_is_named_as_such(
    contract: str, folder: Callable[..., Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    source = folder("llama")
    weights = load_file(source / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"] *= 2e4
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(LensError, match=r"in float16: block 1 .* not finite; .*--dtype float32"):
        pipeline.run(options(tmp_path, contract, dtype="float16"))
    assert pipeline.self_test(options(tmp_path, dtype="float32"))["holds"]


def test_a_model_that_cannot_run_on_ids_alone_is_refused(folder: Callable[..., Path]) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder("gpt2")).eval()
    before = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    with pytest.raises(LensError, match=r"transformers itself cannot run org/m on token ids: "):
        of_transformers(model, [10**6], "org/m")
    after = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    assert (before, after) == (0, 0), "no hook stays behind"


def test_a_prompt_longer_than_the_model_reads_is_named_by_its_length(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"passes: [{{id: long, context: '{'the ' * 200}', answer: Berlin}}]")
    with pytest.raises(LensError, match="the model reads 1 to 128"):
        pipeline.run(options(folder("gpt2"), prompts=str(own)))


def test_places_without_a_stack_of_blocks() -> None:
    """Where transformers names no blocks or no unembedding, the logits alone are compared."""
    bare = LastToken((1,), None, None, None, np.array([1.0, 2.0]))
    whole = LastToken((1,), np.ones((3, 2)), np.ones(2), np.ones(2), np.array([1.0, 2.5]))
    assert proof.deviations(bare, whole) == [("the head", 0.25)]
    assert proof.bridge_error(bare, whole, "float32")["parts_at"] == "the head"


def test_options_of_every_depth_are_named() -> None:
    """Those of RoPE and of the text part of a model; sizes, ids and what changes no number are not."""
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0}
    text: dict[str, Any] = {
        "rope_parameters": rope,
        "hidden_size": 32,
        "use_cache": False,
        "bos_token_id": 7,
    }
    options = "rope_parameters.factor=2.0, rope_parameters.rope_type=yarn"
    assert unusual_options(CONFIG_MAPPING["llama"](**text)) == options
    with_image_part: Any = CONFIG_MAPPING["gemma3"]
    capped = with_image_part(text_config={"final_logit_softcapping": 30.0})
    assert unusual_options(capped) == "final_logit_softcapping=30.0"
    assert unusual_options(CONFIG_MAPPING["llama"]()) == "none"


OWN_BLOCK = {"kl_bits": 0.25, "bound_bits": 0.5, "dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            {"holds": True, "parts_at": None},
            "the last layer equals the model's own output: KL 0.25 bits, at most 0.5 allowed in bfloat16",
        ),
        (
            {"holds": False, "parts_at": "block 3"},
            "the last layer IS NOT THE MODEL'S OWN OUTPUT: KL 0.25 bits, at most 0.5 allowed in bfloat16; they part at "
            "block 3",
        ),
        (
            {"holds": False, "parts_at": None},
            "the last layer IS NOT THE MODEL'S OWN OUTPUT: KL 0.25 bits, at most 0.5 allowed in bfloat16",
        ),
    ],
)
def test_the_proof_is_reported_in_one_sentence(found: dict[str, Any], sentence: str) -> None:
    assert proof.sentence(OWN_BLOCK | found) == sentence


def reading(first: float, logit: float) -> LastToken:
    stream = np.array([[1.0, 2.0], [first, 4.0]])
    return LastToken((1,), stream, None, None, np.array([logit, 0.0]))


@pytest.mark.parametrize("dtype", ["float32", *HALF])
def test_a_bridge_that_is_not_the_model_is_refused_with_place_size_and_options(dtype: str) -> None:
    """Block 0 is off by 1 where its largest value is 4; half precision may be the cause, float32 not."""
    own, other = reading(3, 1), reading(2, 1)
    error = proof.bridge_error(own, other, dtype)
    bound = f"{proof.bound_bits(own.logits, dtype, 3):.2g}"
    half = "" if dtype == "float32" else "; --dtype float32 tells whether this is rounding"
    assert proof.bridge_refusal(own, other, error, dtype, "a=1") == (
        "TransformerLens does not compute what transformers computes. On the first prompt they part at block 0, by "
        f"0.25 of its largest value; at the logits: KL 0 bits, at most {bound} allowed in {dtype}. No contract can "
        f"read it. Options of its config that are not its family's defaults: a=1{half}"
    )


def test_neighbours_that_change_a_prompt_are_named_as_such() -> None:
    own = reading(3, 1)
    error = proof.bridge_error(own, reading(2, 1), "float32")
    assert proof.bridge_refusal(own, own, error, "float32", "a=1") == (
        "the first prompt is read otherwise than by transformers from block 0 on, and rightly where it runs alone "
        "(KL 0 bits, at most 1e-06 allowed in float32); --batch-size 1 runs every prompt alone"
    )


def test_readings_that_are_equal_part_nowhere() -> None:
    assert proof.place(reading(3, 1), reading(3, 1), "float32") is None
    assert proof.place(reading(3, 1), reading(2, 1), "float32") == "block 0"
    tiny = proof.place(reading(3, 1), reading(3, 1 + 1e-12), "float32")
    assert tiny == "the head", "known to differ, however little"


def test_the_pass_nearest_to_its_bound_is_measured_and_the_bridge_by_the_pass_that_was_read() -> (
    None
):
    def passed(kl: float, ids: tuple[int, ...], bridge: dict[str, float]) -> Any:
        error = {"kl_bits": kl, "bound_bits": 1.0}
        encoded = SimpleNamespace(token_ids=ids)
        return SimpleNamespace(error=error, encoded=encoded, bridge_error=bridge)

    passes = [passed(0.25, (1,), {}), passed(0.5, (2,), {}), passed(0.125, (3,), {"x": 1.0})]
    numbers = proof.measured(passes)
    assert numbers.error["kl_bits"] == 0.5
    assert numbers.token_ids == (2,)
    assert numbers.bridge_error == {"x": 1.0}
    assert proof.measured(passes[:2]).bridge_error == {}
