"""What is read from a model once: its norms, its head, its fingerprint."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lenses_min import LensError, RunOptions, loading
from lenses_min.forward import capture
from lenses_min.loading import fingerprint, load, norm_name, read_norms
from lenses_min.placement import Placement


def test_the_head_is_float32_in_half_precision(models: Path) -> None:
    model = load(RunOptions(str(models / "rms-rope"), model_id="tiny/rms-rope-34B", device="cpu"))
    assert model.facts.dtype == "bfloat16"
    assert model.head.weight.dtype == torch.float32


def norm(weight: list[float] | None = None, offset: bool = False, **eps: float) -> SimpleNamespace:
    """A norm as the bridge wraps it; 7 is the configuration's eps."""
    kept = {} if weight is None else {"weight": torch.tensor(weight)}
    inner = SimpleNamespace(**kept, **eps)
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
    found = read_norms(
        SimpleNamespace(cfg=SimpleNamespace(d_model=2, device="cpu"), unembed=head, blocks=blocks)
    )
    assert found.scale.tolist() == [[1, 2], [1, 1], [2, 3], [1, 1], [1, 1]]
    assert found.eps.tolist() == [[0.5], [0.25], [7], [0], [0]]
    assert found.identity.tolist() == [[False], [False], [False], [True], [True]]


def test_names_of_norms() -> None:
    modules = [None, SimpleNamespace(uses_rms_norm=True), SimpleNamespace(uses_rms_norm=False)]
    assert list(map(norm_name, modules)) == ["Identity", "RMSNorm", "LayerNorm"]


def weights(*kinds: torch.dtype) -> SimpleNamespace:
    kept = {
        f"p{i}": torch.nn.Parameter(torch.ones(3, dtype=k), requires_grad=False)
        for i, k in enumerate(kinds)
    }
    return SimpleNamespace(original_model=torch.nn.ParameterDict(kept))


def test_the_fingerprint_tells_every_bit_name_and_dtype() -> None:
    kinds = (torch.int8, torch.bfloat16, torch.float32, torch.float64)
    found = {fingerprint(weights(*kinds), "m"), fingerprint(weights(*reversed(kinds)), "m")}
    for i in range(len(kinds)):
        changed = weights(*kinds)
        changed.original_model[f"p{i}"].data[1] = 2
        found.add(fingerprint(changed, "m"))
    assert len(found) == 6
    assert fingerprint(weights(*kinds), "m") in found


@pytest.mark.parametrize(
    ("bad", "told"), [(1, "p0;"), (2, "p0 and 1 more;"), (3, "p0 and 2 more;")]
)
def test_weights_that_are_not_finite_are_counted(bad: int, told: str) -> None:
    model = weights(*[torch.float32] * 4)
    for i in range(bad):
        model.original_model[f"p{i}"].data[0] = torch.inf
    with pytest.raises(LensError) as caught:
        fingerprint(model, "org/m")
    assert (
        str(caught.value) == f"org/m has weights that are not finite: {told} get a sound checkpoint"
    )


def test_a_gguf_file_is_read_by_transformers_and_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Model(torch.nn.Module):
        def to(self, device: str) -> "Model":
            assert device == "cpu"
            return self

    asked: dict[str, object] = {}
    monkeypatch.setattr(
        loading.AutoModelForCausalLM,
        "from_pretrained",
        lambda name, **more: asked.update(more, name=name) or Model(),
    )
    monkeypatch.setattr(loading.TransformerBridge, "boot_transformers", lambda _, **more: more)
    where = {"gguf_file": "m.gguf", "local_files_only": True}
    given = loading.boot("folder", where, None, Placement("cpu", torch.bfloat16))
    assert asked == where | {"dtype": torch.bfloat16, "name": "folder"}
    assert isinstance(given["hf_model"], Model)
    assert not given["hf_model"].training
    assert "hf_model" not in loading.boot("folder", {}, None, Placement("cpu", torch.float32))


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
    bridge = loading.boot(name, {"local_files_only": True}, fact_model.bridge.tokenizer, mapped)
    assert set(bridge.original_model.hf_device_map) == set(parts)
    (residuals, final), (ours, same) = (
        capture(b, [5, 6, 7], 6, range(7)) for b in (bridge, fact_model.bridge)
    )
    assert torch.equal(final, same)
    assert all(torch.equal(residuals.at(y), ours.at(y)) for y in range(7))


def test_a_sharded_model_is_never_moved_to_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge takes a device or a device_map; from a .gguf file transformers spreads the model itself."""
    spread = {"device_map": "auto", "max_memory": {0: 5, 1: 7}}
    asked: dict[str, object] = {}
    monkeypatch.setattr(loading.TransformerBridge, "boot_transformers", lambda _, **more: more)
    monkeypatch.setattr(
        loading.AutoModelForCausalLM,
        "from_pretrained",
        lambda name, **more: asked.update(more) or torch.nn.Module(),
    )
    monkeypatch.setattr(torch.nn.Module, "to", lambda *_: pytest.fail("moved"))
    given = loading.boot("folder", {}, None, SHARDED)
    wanted = {
        "device": None,
        "dtype": torch.float16,
        "tokenizer": None,
        "model_class": loading.Whole,
    }
    assert given == wanted | spread
    given = loading.boot("folder", {"gguf_file": "m.gguf"}, None, SHARDED)
    assert asked == spread | {"dtype": torch.float16, "gguf_file": "m.gguf"}
    assert set(given) == {"device", "dtype", "tokenizer", "hf_model"}


def test_where_a_model_is_read_from(tmp_path: Path) -> None:
    """A local model is never looked up on the hub."""
    (tmp_path / "m.gguf").write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    local = {"local_files_only": True}
    assert loading.source_of(str(tmp_path / "m.gguf")) == (
        str(tmp_path),
        {"gguf_file": "m.gguf"} | local,
    )
    assert loading.source_of(str(tmp_path)) == (str(tmp_path), local)
    assert loading.source_of("org/m") == ("org/m", {})
    (tmp_path / "file").write_text("")
    for missing in (str(tmp_path / "file"), "~m"):
        with pytest.raises(LensError, match="there is no checkpoint folder"):
            loading.source_of(missing)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError(" one line\nand another"), "one line"),
        (KeyError(), "KeyError"),
        (ValueError("x" * 400), "x" * 300),
        (ValueError("two  words"), "two  words"),
    ],
)
def test_what_a_library_raises_becomes_one_line(error: Exception, told: str) -> None:
    def read() -> None:
        raise error

    with pytest.raises(LensError) as caught:
        loading.attempt("weights", "org/m", read)
    assert str(caught.value) == f"cannot read the weights of org/m: {told}"


@pytest.mark.parametrize(
    ("names", "encoder", "refused"),
    [
        (["XForCausalLM"], {}, ""),
        (["XForCausalLM"], {"is_encoder_decoder": False}, ""),
        ([], {}, ""),
        (["X", "Y"], {}, "X, Y"),
        (["XForConditionalGeneration"], {"is_encoder_decoder": True}, "XForConditionalGeneration"),
    ],
)
def test_decoders_alone_are_read(names: list[str], encoder: dict[str, bool], refused: str) -> None:
    config = SimpleNamespace(architectures=names, **encoder)
    if not refused:
        loading.check_causal(config, "m")
        return
    with pytest.raises(LensError) as caught:
        loading.check_causal(config, "m")
    assert (
        str(caught.value)
        == f"m is {refused}, not a causal language model; the lens reads decoders only"
    )


def test_a_tokenizer_file_is_read_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except where a .gguf file holds the tokenizer."""
    monkeypatch.setattr(
        loading.PreTrainedTokenizerFast,
        "from_pretrained",
        lambda name, **more: ("fast", name, more),
    )
    monkeypatch.setattr(
        loading.AutoTokenizer, "from_pretrained", lambda name, **more: ("auto", name, more)
    )
    where = {"local_files_only": True}
    assert loading.read_tokenizer(str(tmp_path), where) == ("auto", str(tmp_path), where)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert loading.read_tokenizer(str(tmp_path), where) == ("fast", str(tmp_path), where)
    gguf = where | {"gguf_file": "m.gguf"}
    assert loading.read_tokenizer(str(tmp_path), gguf) == ("auto", str(tmp_path), gguf)


def test_what_was_read_first_reaches_what_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}
    config = SimpleNamespace(
        architectures=["XForCausalLM"], model_type="llama", dtype=torch.bfloat16
    )
    (tmp_path / "config.json").write_text("{}")

    def boot(name: str, where: object, tokenizer: object, placement: object) -> None:
        asked.update(name=name, where=where, tokenizer=tokenizer, placement=placement)
        raise LensError("enough")

    def place(options: object, config: object) -> Placement:
        asked["placed"] = config
        return Placement("cpu", torch.float16)

    def configure(name: str, **where: object) -> SimpleNamespace:
        asked["config"] = where
        return config

    monkeypatch.setattr(loading.AutoConfig, "from_pretrained", configure)
    monkeypatch.setattr(loading, "read_tokenizer", lambda name, where: "tokenizer")
    monkeypatch.setattr(loading, "choose_bos", lambda *given: (None, None))
    monkeypatch.setattr(loading, "place", place)
    monkeypatch.setattr(loading, "boot", boot)
    with pytest.raises(LensError, match="enough"):
        load(RunOptions(str(tmp_path)))
    where = {"local_files_only": True}
    assert asked.pop("placement") == Placement("cpu", torch.float16)
    assert asked == {
        "config": where,
        "name": str(tmp_path),
        "where": where,
        "tokenizer": "tokenizer",
        "placed": config,
    }


def test_a_head_without_bias_stays_without() -> None:
    linear = torch.nn.Linear(2, 3, bias=False)
    bridge = SimpleNamespace(
        unembed=SimpleNamespace(original_component=linear), cfg=SimpleNamespace(device="cpu")
    )
    assert loading.read_head(bridge, False).bias is None
