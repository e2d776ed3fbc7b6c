"""The steps of loading: what each gets of those before it, what each reads, and the error of each."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lenses_min import LensError, RunOptions
from lenses_min.core.tokens import Tokens
from lenses_min.core.types import Bos, ModelInfo
from lenses_min.model import gguf_cache, pretrained, source
from lenses_min.model import load as loading
from lenses_min.model.bos import Declared
from lenses_min.model.load import LoadedModel
from lenses_min.model.placement import Placement
from lenses_min.options import CORRECTED
from tests.tiny_tokenizers import tokenizer

LOCAL = {"local_files_only": True}
FILE = LOCAL | {"gguf_file": "m.gguf"}
CPU = Placement("cpu", torch.bfloat16)
CONFIG: Any = SimpleNamespace(model_type="gpt2")
OWN, OTHER = Bos((1,), "own"), Bos((2,), "other")
OPTIONS = RunOptions("org/m", contract="corrected")
FIRST = "Give the city name only, plain text. The capital of Germany is called simply"

Calls = list[tuple[Any, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls of the steps, each of which returns something to know it by."""
    made: Calls = []

    def step(name: str, result: Any, module: Any = loading) -> None:
        def note(*given: Any) -> Any:
            made.append((name, *given))
            return result

        monkeypatch.setattr(module, name, note)

    step("read_config", CONFIG)
    step("place_weights", CPU)
    step("read_tokenizer", "tokenizer")
    step("read_bos", (OWN, OTHER))
    step("read_model", ("model", ["unread"]))
    step("copy_mapped_weights", None)
    step("vocabulary", 9)
    step("first_reading", "reading")
    step("boot", "bridge")
    step("read_parts", ("facts", "head", "norms"))
    step("unused_code", ["unused"])
    step("source_of", ("entry", LOCAL))
    step("keep", True, gguf_cache)
    return made


@pytest.mark.parametrize(("prompt", "read"), [("A prompt", "A prompt"), ("", FIRST)])
def test_each_step_gets_what_those_before_it_made(prompt: str, read: str, calls: Calls) -> None:
    """Without a prompt the model reads the first one of the built-in suite."""
    loaded: Any = loading.load_from("folder", LOCAL, OPTIONS, prompt)
    tokens = Tokens("tokenizer", OWN, vocab=9, other=OTHER, rules=CORRECTED)
    assert calls == [
        ("read_config", "folder", LOCAL, "org/m"),
        ("place_weights", "folder", LOCAL, CONFIG, OPTIONS),
        ("read_tokenizer", "folder", LOCAL, "org/m"),
        ("read_bos", "folder", LOCAL, CONFIG, "tokenizer", OPTIONS),
        ("read_model", "folder", LOCAL, CONFIG, CPU, "org/m"),
        ("vocabulary", "model"),
        ("first_reading", "model", tokens, read, "org/m"),
        ("boot", "model", CPU, "org/m"),
        ("read_parts", "bridge", "reading", OPTIONS, "gpt2", CPU),
        ("unused_code", CONFIG),
    ]
    parts: Any = ("bridge", tokens, "norms", "head", "facts", CPU, "reading", ("unused", "unread"))
    assert loaded == LoadedModel(*parts)


IN_FILE, IN_ENTRY = (
    [f"read_config {place}", f"read_model {place}"] for place in ("folder", "entry")
)
COPY = "copy_mapped_weights model"


@pytest.mark.parametrize(
    ("case", "steps"),
    [  # the option, whether an entry is there, whether it can be kept, the device
        ((False, True, True, "cpu"), IN_FILE),
        ((True, True, True, "cpu"), [*IN_ENTRY, COPY]),
        ((True, True, True, "cuda"), IN_ENTRY),
        ((True, False, True, "cpu"), [*IN_FILE, "keep place", *IN_ENTRY, COPY]),
        ((True, False, False, "cpu"), [*IN_FILE, "keep place", "read_model folder", COPY]),
    ],
)
def test_a_file_is_read_from_the_cache_where_it_is_or_can_be_kept(
    case: tuple[bool, bool, bool, str],
    steps: list[str],
    calls: Calls,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights that the host maps from the cache are copied."""
    (cache, there, kept, device), place = case, tmp_path / "place"
    if there:
        place.mkdir()
    entries: dict[Path, Path] = {}
    monkeypatch.setattr(gguf_cache, "entry", lambda file: entries.setdefault(file, place))
    monkeypatch.setattr(loading, "place_weights", lambda *given: Placement(device, torch.float16))
    keep = gguf_cache.keep
    monkeypatch.setattr(gguf_cache, "keep", lambda *given: keep(given[0].name, *given[1:]) and kept)
    loading.load_from("folder", FILE, RunOptions("m.gguf", cache=cache), "A prompt")
    names = ("read_config", "read_model", "keep", "copy_mapped_weights")
    assert [f"{call[0]} {call[1]}" for call in calls if call[0] in names] == steps
    assert entries == ({Path("folder/m.gguf"): place} if cache else {})


@pytest.mark.parametrize(
    ("known", "ids", "read"),
    [
        ({"max_position_embeddings": 3}, [5, 6, 7, 8], [5, 6, 7]),
        ({"max_position_embeddings": 3}, [5, 6], [5, 6]),
        ({}, [5, 6, 7, 8], [5, 6, 7, 8]),
        ({"max_position_embeddings": 3}, [], [0]),
    ],
)
def test_the_model_first_reads_as_much_of_the_prompt_as_it_can(
    known: dict[str, int], ids: list[int], read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id 0 where the prompt has none."""
    monkeypatch.setattr(loading, "of_transformers", lambda *given: given[1:])
    monkeypatch.setattr(loading, "check_width", lambda *given: None)
    text = SimpleNamespace(**known)
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text))
    tokens: Any = SimpleNamespace(model_input=lambda prompt: ids)
    reading: Any = loading.first_reading(model, tokens, "A prompt", "org/m")
    assert reading == (read, "org/m")


def test_the_rules_of_bos_are_those_of_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "read_declared", lambda *given: Declared())
    config = SimpleNamespace(model_type="qwen2")
    options, read = RunOptions("org/m"), tokenizer(bos_token="<s>")
    assert loading.read_bos("folder", LOCAL, config, read, options) == (
        Bos((), "TransformerLens 2.16 puts none before qwen2"),
        Bos((), "qwen2 is trained without BOS"),
    )


def fail(*given: Any, **more: Any) -> None:
    raise ValueError("no good.")


WHOLE: Any = SimpleNamespace(original_model=None, blocks=[1], unembed=1)
READERS: dict[str, tuple[Any, str, Any, Callable[[Path], object], str]] = {
    # the part that fails, the call that reads by it, and its error
    "place": (
        *(loading, "place", fail),
        lambda folder: loading.place_weights("m", {}, CONFIG, OPTIONS),
        "read the weights of org/m: no good; get a sound checkpoint",
    ),
    "declared BOS": (
        *(loading, "read_declared", fail),
        lambda folder: loading.read_bos("m", {}, CONFIG, None, OPTIONS),
        "read the tokenizer of org/m: no good; get a sound tokenizer_config.json",
    ),
    "facts": (
        *(loading, "read_facts", fail),
        lambda folder: loading.read_parts(WHOLE, CONFIG, OPTIONS, "gpt2", CPU),
        "read org/m through TransformerLens: no good; it is built as no lens reads it; use a model of another "
        "architecture",
    ),
    "tokenizer": (
        *(pretrained, "cached_file", fail),
        lambda folder: pretrained.read_tokenizer("m", {}, "org/m"),
        "read the tokenizer of org/m: no good; get a sound tokenizer.json",
    ),
    "weights": (
        *(pretrained, "model_class", lambda *given: (SimpleNamespace(from_pretrained=fail), None)),
        lambda folder: pretrained.read_model("m", {}, CONFIG, CPU, "org/m"),
        "read the weights of org/m: no good; get a sound checkpoint",
    ),
    "names of weight files": (
        *(source, "weight_files", fail),
        lambda folder: source.check_weight_files(folder, "org/m"),
        "read the weights of org/m: no good; get a sound checkpoint",
    ),
    "headers of weight files": (
        *(source, "stored_tensors", fail),
        lambda folder: source.check_weight_files(folder, "org/m"),
        "read the weights of org/m: no good; get a sound checkpoint",
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_what_a_library_raises_at_a_step_is_reported_with_the_remedy(
    name: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, part, instead, read, message = READERS[name]
    monkeypatch.setattr(module, part, instead)
    with pytest.raises(LensError) as caught:
        read(models / "rms-rope")
    assert str(caught.value) == f"cannot {message}"


def test_the_facts_of_a_model_are_read_from_its_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first block without a norm, no final norm, and an unembedding wider than the configuration's vocabulary."""
    monkeypatch.setattr(loading, "transform_of", lambda bridge: (0.5, 30.0))
    monkeypatch.setattr(loading, "alone_above", lambda model: 64)
    monkeypatch.setattr(loading, "fingerprint", lambda bridge, model: f"of {model}")
    sizes = {"n_layers": 2, "d_model": 4, "n_heads": 3, "n_ctx": 5, "d_vocab": 6}
    bridge: Any = SimpleNamespace(
        cfg=SimpleNamespace(**sizes, uses_rms_norm=True),
        unembed=SimpleNamespace(original_component=SimpleNamespace(weight=torch.zeros(7, 4))),
        blocks=[SimpleNamespace(), SimpleNamespace(ln1=SimpleNamespace())],
        hook_dict={"pos_embed.hook_out": None},
        original_model=None,
    )
    facts = ModelInfo(
        family="gpt2",
        n_layers=2,
        d_model=4,
        n_heads=3,
        d_vocab=7,
        n_ctx=5,
        alone_above=64,
        device="cuda",
        dtype="bfloat16",
        first_norm="Identity",
        final_norm="Identity",
        learned_positions=True,
        output_transform=True,
        logit_scale=0.5,
        soft_cap=30.0,
        fingerprint="of org/m",
    )
    placement = Placement("cuda:1", torch.bfloat16)
    assert loading.read_facts(bridge, OPTIONS, "gpt2", placement) == facts
    bridge.hook_dict.clear()
    assert not loading.read_facts(bridge, OPTIONS, "gpt2", placement).learned_positions
