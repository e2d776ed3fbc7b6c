"""The GPU path without a GPU: on fake CUDA memory every lens decodes, nothing mixes devices, the host never waits."""

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from fake_cuda import FakeCuda, fake_cuda, move
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM

from lenses_min import LensError, RunOptions
from lenses_min.core import probes
from lenses_min.core.decode import RowBlock
from lenses_min.core.forward import Captured, Residuals, hook_name, last_logits
from lenses_min.core.host import to_host
from lenses_min.core.norms import FormulaNorms, ModuleNorms
from lenses_min.core.types import Lens, Norms, Rows, upload
from lenses_min.core.unembedding import Unembedding
from lenses_min.lenses import LENSES
from lenses_min.lenses.prism import PrismLens, Whitening
from lenses_min.lenses.tuned import TunedLens
from lenses_min.model import load, readout
from lenses_min.model.load import LoadedModel
from lenses_min.model.weights import fingerprint
from lenses_min.pipeline.passes import Pass, PassRunner
from lenses_min.prompts.suite import built_in

pytestmark = pytest.mark.long

CUDA = "cuda:0"


def on_device(thing: Any, device: str = CUDA) -> Any:
    """A tensor, or a dataclass with all its tensors, on a device."""
    if isinstance(thing, Tensor):
        return thing.to(device)
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(
            thing,
            **{f.name: on_device(getattr(thing, f.name), device) for f in fields(thing) if f.init},
        )
    return thing


def lenses_of(norms: Norms, head: Unembedding) -> list[Lens]:
    """Every lens of the registry; those that read artifacts are made here."""
    n, width = norms.last, head.weight.shape[1]
    frame = Whitening(torch.zeros(width), torch.ones(width), torch.eye(width))
    tuned = TunedLens(norms, head, torch.zeros(n, width, width), torch.zeros(n, width))
    fitted: dict[str, Lens] = {"prism": PrismLens(norms, head, frame), "tuned": tuned}
    options = RunOptions("any")
    built = (fitted.get(name) or build(norms, head, options)[0] for name, build in LENSES.items())
    return [lens for lens in built if lens is not None]


def test_the_fake_refuses_what_a_gpu_would_wait_for() -> None:
    with fake_cuda() as mode:
        x, y, host = torch.ones(3, device=CUDA), torch.ones(3, device="cuda:1"), torch.arange(2)
        operations: tuple[Callable[[], Tensor], ...] = (
            lambda: x + y,
            lambda: x + torch.ones(3),
            lambda: torch.cat([x, y]),
        )
        for wrong in operations:
            with pytest.raises((RuntimeError, TypeError), match="device"):
                wrong()
        for waiting in (
            x.sum().item,
            x.nonzero,
            x.tolist,
            lambda: bool(x[0] > 0),
            lambda: x[x > 0],
        ):
            with pytest.raises(Exception, match=r"aten|not linked with support for cuda"):
                waiting()
        assert (mode.down, mode.waits) == ([], [])
        host.to(CUDA, non_blocking=True)
        assert host.unique_consecutive().tolist() == [0, 1], "the host's own work is real"
        assert mode.waits == []
        x[host], x.cpu(), host.to(CUDA)
        assert (len(mode.down), len(mode.waits)) == (1, 2)


def sharded(name: str, n: int, tokenizer: Any) -> Any:
    """A bridge over two GPUs as accelerate routes it: the first half of the blocks on one, the rest on the other."""

    def device(module: str) -> str:
        block = re.search(r"\.(?:layers|h)\.(\d+)", module)
        first = (
            int(block[1]) < n // 2
            if block
            else bool(re.search("embed_in|embed_t|wte|wpe|rotary", module))
        )
        return f"cuda:{int(not first)}"

    model = AutoModelForCausalLM.from_pretrained(name, attn_implementation="eager").eval()
    move(model, device)
    names = [
        part
        for part, _ in model.named_modules()
        if re.fullmatch(r"lm_head|\w+\.(\w+|(layers|h)\.\d+)", part)
    ]
    parts = {
        part: model.get_submodule(part) for part in names if not part.endswith((".layers", ".h"))
    }
    device_map = {
        part: next((str(p.device) for p in module.parameters()), device(part))
        for part, module in parts.items()
    }
    for part, at in device_map.items():
        add_hook_to_module(parts[part], AlignDevicesHook(at))
    model.hf_device_map = device_map
    add_hook_to_module(model, AlignDevicesHook(device_map[names[0]], io_same_device=True))
    return TransformerBridge.boot_transformers(name, hf_model=model, tokenizer=tokenizer)


@pytest.fixture(
    params=[
        ("fact", "reference", 1),
        ("layernorm-parallel", "corrected", 2),
        ("softcap-postnorm", "corrected", 2),
    ],
    ids=lambda p: "-".join(map(str, p)),
)
def on_gpus(
    request: Any, models: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[PassRunner, FakeCuda]]:
    """A golden model under five lenses on one or two GPUs."""
    name, contract, gpus = request.param
    suite = replace(built_in(), passes=built_in().passes[::2])
    options = RunOptions(str(models / name), device="cpu", contract=contract, keep_residuals=True)
    model = load.load(options)
    monkeypatch.setattr(readout, "bridge_error", lambda own, reading, dtype: {"parts_at": None})
    with fake_cuda() as mode:
        if gpus == 1:
            move(model.bridge.original_model, lambda _: CUDA)
            model.bridge.cfg.device = CUDA
            bridge, norms = model.bridge, on_device(model.norms)
        else:
            plain: Any = model.bridge
            bridge = sharded(options.model, model.facts.n_layers, plain.tokenizer)
            head = load.read_head(bridge, options.rules.output_transform)
            norms = readout.own_norms(bridge, model.own, head, name)
        model = replace(
            model,
            bridge=bridge,
            norms=norms,
            head=load.read_head(bridge, options.rules.output_transform),
        )
        assert len({p.device for p in bridge.original_model.parameters()}) == gpus
        yield (
            PassRunner(
                model,
                [on_device(lens) for lens in lenses_of(model.norms, model.head)],
                suite,
                options,
            ),
            mode,
        )


def test_every_lens_decodes_on_the_gpus(on_gpus: tuple[PassRunner, FakeCuda]) -> None:
    """A whole run but for the numbers: forwards, lenses, metrics, rows, residuals to keep, test prompts."""
    runner, mode = on_gpus
    mode.down.clear()
    mode.waits.clear()
    passes = runner.run()
    assert [set(result.pure) for result in passes] == [set(LENSES)] * 2
    assert len(mode.down) == 2 + 1, "one transfer a pass, one more for the residuals of the first"
    assert mode.waits == []
    forward = partial(last_logits, runner.model.bridge)
    probes.test_prompts(
        ["Berlin is", "Paris is", "The capital of Germany"], runner.model.tokens, forward, None
    )
    assert (len(mode.down), mode.waits) == (3 + 1, [])


def test_a_sharded_model_is_read_at_loading(
    models: Path, fact_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past every step that could mix devices; a fake's numbers are none: zeros, or weights that are not finite."""
    monkeypatch.setattr(readout, "bridge_error", lambda own, reading, dtype: {"parts_at": None})
    with fake_cuda():
        bridge = sharded(str(models / "fact"), 6, None)
        with pytest.raises(
            LensError, match=r"weights that are not finite: lm_head.weight and 56 more"
        ):
            fingerprint(bridge, "m")
        head = load.read_head(bridge, True)
        assert readout.own_norms(bridge, fact_model.own, head, "m").last == 6


@pytest.mark.parametrize("contract", ["reference", "corrected"])
def test_many_layers_and_positions_are_one_transfer(
    contract: str, fact_model: LoadedModel, monkeypatch: Any
) -> None:
    """Whatever the layers, positions, chunks of the vocabulary and the tokens of an answer."""
    n, length = 12, 200
    monkeypatch.setattr("lenses_min.core.decode.CHUNK_ELEMENTS", 500 * fact_model.facts.d_vocab)
    width, vocab = fact_model.facts.d_model, fact_model.facts.d_vocab
    options = RunOptions("m", contract=contract, prompts="own.yaml", lenses=("norm", "final"))
    encoded = fact_model.tokens.encode_all([built_in().passes[0]], fact_model.facts.n_ctx)[0]
    gold = replace(encoded.gold, answer_ids=(7, 8, 9))
    encoded = replace(
        encoded, token_ids=(5,) * length, gold=gold, answer_prefix_ids=(7, 8), answers=(7,)
    )
    with fake_cuda() as mode:
        x, own = torch.zeros(length, width, device=CUDA), torch.zeros(3, vocab, device=CUDA)
        module = torch.nn.LayerNorm(width)
        move(module, lambda _: CUDA)
        scale, eps = (torch.ones(n + 1, k, device=CUDA) for k in (width, 1))
        formula = FormulaNorms(scale, eps, own[:1, : n + 1].T > 0)
        norms = ModuleNorms((None, *[module] * n)) if options.rules.every_record else formula
        head = Unembedding(torch.zeros(vocab, width, device=CUDA), own[0])
        model = replace(
            fact_model, norms=norms, head=head, facts=replace(fact_model.facts, n_layers=n)
        )
        residuals = Residuals({hook_name(layer): x for layer in range(n + 1)}, x, n, length)
        places = [layer for layer in range(n + 1) for _ in (0, 1)], [0, 1] * (n + 1)
        captured = Captured(
            residuals, own[0], Rows(torch.zeros(2 * (n + 1), width, device=CUDA), *places), own[1:]
        )
        runner = PassRunner(
            model, [on_device(lens) for lens in lenses_of(norms, head)], built_in(), options
        )
        mode.down.clear()
        mode.waits.clear()
        one_pass = Pass(encoded, captured, residuals.rows(runner.full_layers(encoded)))
        (of_rows,) = runner.decode([RowBlock(one_pass.rows, own[0], (7,), runner.pairs)])
        (of_answer,) = runner.decode([RowBlock(captured.answer_residuals, own[0], (8, 9))])
        host = to_host(runner.metrics(one_pass, of_rows, of_answer))
    rows = (n + 1) * length if options.rules.every_record else length + n
    assert len(host.by_lens["tuned"].kl) == rows
    assert len(host.answer.by_lens["tuned"].kl) == 2 * (n + 1)
    assert {("raw", "prism"), ("final", "raw")} <= set(host.by_pair) & set(host.agreement)
    assert None not in (host.raw_lens, host.temperatures, host.consistency)
    assert (len(mode.down), mode.waits) == (1, [])


def test_what_is_taken_as_the_home_of_a_sharded_model_is_where_it_reads_tokens(
    models: Path,
) -> None:
    with fake_cuda():
        bridge = sharded(str(models / "layernorm-parallel"), 4, None)
        assert (bridge.cfg.device, bridge.cfg.n_devices) == ("cuda:0", 2)
        assert str(bridge.unembed.original_component.weight.device) == "cuda:1"
        assert str(load.read_head(bridge, False).weight.device) == "cuda:0"
        assert str(load.read_norms(bridge).scale.device) == "cuda:0"


def test_the_host_does_not_wait_for_an_upload() -> None:
    with fake_cuda() as mode:
        assert upload([1, 2], torch.device(CUDA)).is_cuda
    assert mode.waits == []
