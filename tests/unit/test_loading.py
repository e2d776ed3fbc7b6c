"""What is read from a model once: its norms, its head, its fingerprint."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

from lenses_min import LensError, RunOptions
from lenses_min.core.host import to_host
from lenses_min.errors import library_errors
from lenses_min.model import gguf_file, pretrained
from lenses_min.model import load as loading
from lenses_min.model.architecture import check_causal
from lenses_min.model.bridge import boot, leave_out_absent
from lenses_min.model.load import LoadedModel, load, norm_name, read_norms
from lenses_min.model.placement import Placement
from lenses_min.model.pretrained import read_config, read_model, read_tokenizer
from lenses_min.model.verify import capture
from lenses_min.model.weights import fingerprint


def test_the_unembedding_is_the_model_s_own_in_any_precision(models: Path) -> None:
    for name, dtype in (("rms-rope", torch.float32), ("rms-rope-34B", torch.bfloat16)):
        options = RunOptions(str(models / "rms-rope"), model_id=f"tiny/{name}", device="cpu")
        model = load(options)
        own = model.bridge.unembed.original_component.weight
        assert model.head.weight.dtype == dtype
        assert model.head.weight.data_ptr() == own.data_ptr()


def norm(weight: list[float] | None = None, offset: bool = False, **eps: float) -> SimpleNamespace:
    """A norm as the bridge wraps it; 7 is the configuration's eps."""
    parameters = {} if weight is None else {"weight": torch.tensor(weight)}
    inner = SimpleNamespace(**parameters, **eps)
    return SimpleNamespace(
        original_component=inner, uses_weight_offset=offset, config=SimpleNamespace(eps=7.0)
    )


def test_norms_without_a_weight_without_an_eps_and_without_a_module() -> None:
    head = SimpleNamespace(original_component=SimpleNamespace(weight=torch.zeros(3, 2)))
    modules = [
        norm([1.0, 2.0], eps=0.5, variance_epsilon=9),
        norm(variance_epsilon=0.25),
        norm([1.0, 2.0], True),
    ]
    blocks = [*(SimpleNamespace(ln1=module) for module in modules), SimpleNamespace()]
    cfg = SimpleNamespace(d_model=2, device="cpu", rmsnorm_uses_offset=True)
    norms = read_norms(SimpleNamespace(cfg=cfg, unembed=head, blocks=blocks))
    assert norms.scale.tolist() == [[1, 2], [1, 1], [2, 3], [1, 1], [1, 1]]
    assert norms.eps.tolist() == [[0.5], [0.25], [7], [0], [0]]
    assert norms.identity.tolist() == [[False], [False], [False], [True], [True]]


def test_names_of_norms() -> None:
    modules = [None, SimpleNamespace(uses_rms_norm=True), SimpleNamespace(uses_rms_norm=False)]
    names = ["Identity", "RMSNorm", "LayerNorm"]
    for rms in (False, True):
        cfg = SimpleNamespace(uses_rms_norm=rms)
        assert [norm_name(module, cfg) for module in modules] == names
        assert norm_name(SimpleNamespace(), cfg) == names[1 if rms else 2]


def test_the_first_and_the_last_norm_of_a_model_are_named(fact_model: LoadedModel) -> None:
    assert (fact_model.facts.first_norm, fact_model.facts.final_norm) == ("RMSNorm", "RMSNorm")


def weights(*kinds: torch.dtype) -> SimpleNamespace:
    parameters = {
        f"p{i}": torch.nn.Parameter(torch.ones(3, dtype=k), requires_grad=False)
        for i, k in enumerate(kinds)
    }
    return SimpleNamespace(original_model=torch.nn.ParameterDict(parameters))


def test_the_fingerprint_tells_every_bit_name_and_dtype() -> None:
    kinds = (torch.int8, torch.bfloat16, torch.float32, torch.float64)
    fingerprints = {fingerprint(weights(*kinds), "m"), fingerprint(weights(*reversed(kinds)), "m")}
    for i in range(len(kinds)):
        changed = weights(*kinds)
        changed.original_model[f"p{i}"].data[1] = 2
        fingerprints.add(fingerprint(changed, "m"))
    assert len(fingerprints) == 6
    assert fingerprint(weights(*kinds), "m") in fingerprints


@pytest.mark.parametrize(
    ("bad", "message"), [(1, "p0;"), (2, "p0 and 1 more;"), (3, "p0 and 2 more;")]
)
def test_weights_that_are_not_finite_are_counted(bad: int, message: str) -> None:
    model = weights(*[torch.float32] * 4)
    for i in range(bad):
        model.original_model[f"p{i}"].data[0] = torch.inf
    with pytest.raises(LensError) as caught:
        fingerprint(model, "org/m")
    assert (
        str(caught.value)
        == f"org/m has weights that are not finite: {message} get a sound checkpoint"
    )


class Loader:
    """What transformers is asked for, in place of its class that loads a model."""

    arguments_seen: ClassVar[dict[str, Any]] = {}

    @classmethod
    def from_pretrained(cls, name: str, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        cls.arguments_seen = arguments | {"name": name}
        return cls.model(), dict.fromkeys(
            ("missing_keys", "unexpected_keys", "mismatched_keys"), ()
        )

    @staticmethod
    def model() -> Any:
        return torch.nn.Linear(1, 1)


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> type[Loader]:
    monkeypatch.setattr(pretrained, "model_class", lambda config, model: (Loader, None))
    monkeypatch.setattr(pretrained, "check_source", lambda *given: [])
    return Loader


@pytest.mark.parametrize("file", [{}, {"gguf_file": "m.gguf"}])
def test_transformers_reads_all_weights_and_runs_no_code(
    file: dict[str, str], loader: type[Loader]
) -> None:
    """Blocks of a .gguf file are unpacked: kernels for them would be downloaded."""
    location = {"local_files_only": True} | file
    read_model("folder", location, "config", Placement("cpu", torch.bfloat16), "m")
    if file:
        assert loader.arguments_seen.pop("quantization_config").dequantize
    assert loader.arguments_seen == location | {
        "name": "folder",
        "config": "config",
        "dtype": torch.bfloat16,
        "attn_implementation": "eager",
        "trust_remote_code": False,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
    }


SHARDED = Placement("cuda", torch.float16, device_map="auto", max_memory={0: 5, 1: 7})


def test_a_device_map_of_accelerate_changes_no_number(
    models: Path, fact_model: loading.LoadedModel
) -> None:
    """The blocks come from the disk by accelerate's own hooks; two fake GPUs are in test_fake_cuda.py."""
    name = str(models / "fact")
    parts = ("model.embed_tokens", "model.layers", "model.norm", "model.rotary_emb", "lm_head")
    mapped = Placement(
        "cpu", torch.float32, device_map=dict.fromkeys(parts, "cpu") | {"model.layers": "disk"}
    )
    location = {"local_files_only": True}
    hf_model, _ = read_model(name, location, read_config(name, location, name), mapped, name)
    bridge = boot(hf_model, mapped, name)
    assert set(bridge.original_model.hf_device_map) == set(parts)
    (residuals, final), (own, same) = (
        capture(b, [5, 6, 7], 6, range(7)) for b in (bridge, fact_model.bridge)
    )
    assert torch.equal(final, same)
    assert all(torch.equal(residuals.at(layer), own.at(layer)) for layer in range(7))


@pytest.mark.parametrize("file", [{}, {"gguf_file": "m.gguf"}])
def test_a_sharded_model_is_never_moved_to_a_device(
    file: dict[str, str], loader: type[Loader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.Module, "to", lambda *_: pytest.fail("moved"))
    read_model("folder", file, None, SHARDED, "m")
    spread = {"device_map": "auto", "max_memory": {0: 5, 1: 7}, "dtype": torch.float16}
    spread |= {"attn_implementation": "eager"}
    assert {key: loader.arguments_seen[key] for key in spread} == spread


def test_shared_weights_on_two_devices_are_one_clear_error(fact_model: loading.LoadedModel) -> None:
    hf_model = SimpleNamespace(
        hf_device_map={"lm_head": 1}, get_submodule=lambda name: torch.nn.Linear(1, 1)
    )
    with pytest.raises(LensError, match=r"m cannot be sharded: lm_head is not where its part of"):
        boot(hf_model, SHARDED, "m")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError(" one line\nand  another."), "one line and another"),
        (KeyError(), "KeyError"),
        (KeyError("norm"), "KeyError: 'norm'"),
        (AttributeError("no blocks"), "AttributeError: no blocks"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (ValueError("word " * 100), ("word " * 80).strip() + " …"),
        (ValueError("x" * 400), "x" * 400),
        (ValueError("word " * 79 + "words"), "word " * 79 + "words"),
        (ValueError("word " * 79 + "words6"), ("word " * 79).strip() + " …"),
        (ValueError("cannot read X.."), "cannot read X"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_what_a_library_raises_becomes_one_line(error: Exception, message: str) -> None:
    def read(advice: str = "") -> None:
        with library_errors("read the weights of org/m", advice):
            raise error

    for advice, end in (("", ""), ("get another", "; get another")):
        with pytest.raises(LensError) as caught:
            read(advice)
        assert str(caught.value) == f"cannot read the weights of org/m: {message}{end}"
        assert caught.value.__cause__ is error


def test_an_error_of_ours_passes_as_it_is() -> None:
    error = LensError("as it is")

    def read() -> None:
        with library_errors("read"):
            raise error

    with pytest.raises(LensError) as caught:
        read()
    assert caught.value is error


def config(**known: Any) -> Any:
    namespace = SimpleNamespace(**{"architectures": [], "model_type": "llama"} | known)
    namespace.get_text_config = lambda: namespace
    return namespace


TWO_HALVES = {"architectures": ["XForConditionalGeneration"], "is_encoder_decoder": True}


@pytest.mark.parametrize(
    ("known", "refused"),
    [
        ({"architectures": ["XForCausalLM"]}, ""),
        ({"architectures": ["XForCausalLM"], "is_encoder_decoder": False}, ""),
        ({}, ""),
        ({"num_hidden_layers": 1}, ""),
        ({"architectures": None}, ""),
        ({"architectures": ["X", "Y"]}, "X, Y, not"),
        (TWO_HALVES, "XForConditionalGeneration, not"),
        ({"model_type": "bert"}, "of the type 'bert', not"),
        ({"model_type": "bert", "is_decoder": True}, ""),
        ({"model_type": "t5", "is_encoder_decoder": True}, "of the type 't5', not"),
    ],
)
def test_decoders_alone_are_read(known: dict[str, Any], refused: str) -> None:
    if not refused:
        check_causal(config(**known), "m")
        return
    with pytest.raises(LensError) as caught:
        check_causal(config(**known), "m")
    assert str(caught.value) == (
        f"m is {refused} a causal language model; the lens reads decoders only"
    )


@pytest.mark.parametrize("layers", [0, -1, "4", 2.0])
def test_a_model_without_layers_is_none(layers: object) -> None:
    with pytest.raises(LensError, match=f"has num_hidden_layers {layers!r}; the lens reads one"):
        check_causal(config(num_hidden_layers=layers), "m")


def test_a_tokenizer_file_is_read_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except where a .gguf file holds the tokenizer."""
    calls: list[tuple[str, str, dict[str, Any]]] = []

    class Tokenizer:
        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [5]}

        def decode(self, ids: list[int]) -> str:
            return "a"

    def note(kind: str) -> Callable[..., Any]:
        def read(name: str, **more: Any) -> Tokenizer:
            calls.append((kind, name, more))
            return Tokenizer()

        return read

    for kind in ("PreTrainedTokenizerFast", "AutoTokenizer"):
        monkeypatch.setattr(getattr(pretrained, kind), "from_pretrained", note(kind))
    monkeypatch.setattr(gguf_file, "split_digits", lambda *given: None)
    location, never = {"local_files_only": True}, {"trust_remote_code": False}
    file, name = location | {"gguf_file": "m.gguf"}, str(tmp_path)
    read_tokenizer(name, location, "m")
    (tmp_path / "tokenizer.json").write_text("{}")
    read_tokenizer(name, location, "m")
    read_tokenizer(name, file, "m")
    assert calls == [
        ("AutoTokenizer", name, location | never),
        ("PreTrainedTokenizerFast", name, location),
        ("AutoTokenizer", name, file | never),
    ]


def test_what_was_read_first_reaches_what_is_read_later(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, object] = {}
    name, location = str(models / "rms-rope"), {"local_files_only": True}

    def place(options: object, config: Any) -> Placement:
        arguments["placed"] = config.model_type
        return Placement("cpu", torch.float16)

    def read(name: str, location: object, config: Any, placement: Placement, model: str) -> None:
        arguments.update(
            name=name, location=location, config=config.model_type, dtype=placement.dtype
        )
        raise LensError("enough")

    monkeypatch.setattr(loading, "place", place)
    monkeypatch.setattr(loading, "read_model", read)
    with pytest.raises(LensError, match="enough"):
        load(RunOptions(name))
    assert arguments == {
        "placed": "llama",
        "name": name,
        "location": location,
        "config": "llama",
        "dtype": torch.float16,
    }


def test_a_head_without_bias_stays_without() -> None:
    linear = torch.nn.Linear(2, 3, bias=False)
    bridge = SimpleNamespace(
        unembed=SimpleNamespace(original_component=linear), cfg=SimpleNamespace(device="cpu")
    )
    assert loading.read_head(bridge, False).bias is None


def test_a_model_that_must_be_downloaded_and_cannot_be_is_named_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*given: object) -> None:
        raise OSError("no connection.")

    monkeypatch.setattr(pretrained, "check_type", fail)
    for location, message in (
        (
            {},
            "cannot download org/m, of which there is neither a folder nor a cached copy: no connection; check the "
            "name, or name a folder",
        ),
        (
            {"local_files_only": True},
            "cannot read the config of org/m: no connection; get a sound config.json, or another model",
        ),
    ):
        with pytest.raises(LensError) as caught:
            read_config("org/m", location, "org/m")
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("tree", "name"),
    [
        ({"x": torch.tensor([1.0, torch.nan])}, "x"),
        ({"x": {"y": torch.tensor(torch.inf)}}, "y of x"),
        ({"a": torch.ones(2), "x": {"y": {"z": torch.tensor([-torch.inf])}}}, "z of y"),
    ],
)
def test_a_number_that_is_none_is_refused_with_its_name(tree: dict[str, Any], name: str) -> None:
    with pytest.raises(LensError) as caught:
        to_host(tree)
    assert str(caught.value) == (
        f"{name} is not finite: the model overflows; get a sound checkpoint, or let it compute in a wider dtype"
    )


def test_parts_that_a_model_lacks_are_none_again() -> None:
    """In the bridge and in the model below it."""
    absent, present = GeneralizedComponent("absent"), GeneralizedComponent("present")
    present.set_original_component(torch.nn.Linear(1, 1))

    def holder() -> torch.nn.Module:
        module = torch.nn.Module()
        module.add_module("norm", absent)
        module.add_module("head", present)
        module.add_module("plain", torch.nn.Linear(1, 1))
        return module

    outer, inner = holder(), holder()
    bridge = SimpleNamespace(modules=outer.modules, original_model=inner)
    leave_out_absent(bridge)
    for module in (outer, inner):
        assert [name for name, part in module._modules.items() if part is None] == ["norm"]
        assert module.head is present


@pytest.mark.parametrize("parts", [{}, {"blocks": [1]}, {"blocks": [], "unembed": 1}])
def test_a_bridge_without_blocks_or_unembedding_is_refused(parts: dict[str, Any]) -> None:
    bridge: Any = SimpleNamespace(original_model=torch.nn.Identity(), **parts)
    with pytest.raises(LensError) as caught:
        loading.check_parts(bridge, "org/m")
    assert str(caught.value) == (
        "org/m is Identity, which has no single stack of blocks before an unembedding; use a model of another "
        "architecture"
    )
