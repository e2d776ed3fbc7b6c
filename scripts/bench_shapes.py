"""One prompt, every layer and position, on a model of a given shape, against what no lens can do without.

bench.py --shape calls it. Weights are random and made on the device, nothing is downloaded; `smollm2` has its own. All
rows (layers × positions) are read through the norm lens under the corrected contract.

    forward          the same model without a lens; logits of the last position
    product          all rows × W_U, chunk by chunk, in the model's dtype with float32 out
    lenses-min       the forward and all numbers of all rows, on the host; without files
    files            those of that run
    TransformerLens  logit_lens of the same rows: top 20, entropy, p of the answer

`to bare` is the time over that of forward + product. With one thread, seconds are processor seconds, where other
programs do not count; with more threads, which wait for each other, and on a GPU they are those of the clock. Memory is
what a subject adds to the loaded model at its peak.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from bench_subjects import ROOT, K, long_prompt, peak_memory, smollm2
from transformer_lens.tools.analysis import logit_lens
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2Config, LlamaConfig

from lenses_min import RunOptions, pipeline
from lenses_min.core.decode import CHUNK_ELEMENTS
from lenses_min.core.forward import last_logits
from lenses_min.core.tokens import Tokens
from lenses_min.core.types import Bos
from lenses_min.model.bridge import boot
from lenses_min.model.load import LoadedModel, first_reading, load, read_parts
from lenses_min.model.placement import Placement
from lenses_min.prompts.suite import Suite

LLAMA_8B: dict[str, Any] = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
GEMMA_2_9B: dict[str, Any] = {
    "vocab_size": 256_000,
    "hidden_size": 3584,
    "intermediate_size": 14_336,
    "num_hidden_layers": 42,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "max_position_embeddings": 8192,
}
SMALL: dict[str, Any] = {
    "vocab_size": 8192,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}
SHAPES: dict[str, Callable[..., Any]] = {
    "llama-8b": partial(LlamaConfig, **LLAMA_8B),
    "gemma-2-9b": partial(Gemma2Config, **GEMMA_2_9B),
    "small": partial(LlamaConfig, **SMALL),
}
OWN_WEIGHTS = "smollm2"


@dataclass(frozen=True)
class Bench:
    """A loaded model, the prompt, and how a run of it is asked for."""

    model: LoadedModel
    suite: Suite
    options: RunOptions

    @property
    def ids(self) -> list[int]:
        return self.model.tokens.model_input(self.suite.passes[0].text)

    @property
    def rows(self) -> int:
        return (self.model.facts.n_layers + 1) * len(self.ids)

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.bridge.cfg.device)

    def forward(self) -> None:
        last_logits(self.model.bridge, [self.ids])

    def product(self) -> None:
        """Multiply as many rows as the lens decodes, in chunks as large as its own."""
        facts, head = self.model.facts, self.model.head
        step = max(1, CHUNK_ELEMENTS // facts.d_vocab)
        x = torch.randn(step, facts.d_model, dtype=head.weight.dtype, device=self.device)
        with torch.no_grad():
            for start in range(0, self.rows, step):
                head.product(x[: min(step, self.rows - start)])

    def analyse(self) -> Any:
        return pipeline.analyse(self.model, self.suite, self.options, time.perf_counter())

    def transformer_lens(self) -> None:
        """Read top 20 and the answer's probability by two readouts of one cache, since a readout has one selector."""
        bridge, n = self.model.bridge, self.model.facts.n_layers
        names = [
            *(f"blocks.{i}.hook_resid_pre" for i in range(n)),
            f"blocks.{n - 1}.hook_resid_post",
        ]
        with torch.no_grad():
            _, cache = bridge.run_with_cache(  # type: ignore[attr-defined]  # no member that the runner uses
                torch.tensor([self.ids], device=self.device), names_filter=names
            )
        for select in ({"top_k": K}, {"targets": [0]}):
            readout = logit_lens(
                bridge, cache=cache, positions=None, return_type="probs", **select
            ).readout
            readout.entropy.cpu()
            readout.values.cpu()


def build(shape: str, positions: int, device: str, dtype: str, out: Path) -> Bench:
    """Make a model of a shape on a device, or load SmolLM2, and a prompt of so many tokens."""
    suite = long_prompt(positions)
    name = smollm2() if shape == OWN_WEIGHTS else str(ROOT / "golden" / "models" / "rms-rope")
    options = RunOptions(
        name,
        shape,
        device=device,
        dtype=dtype,
        contract="corrected",
        out_dir=str(out),
        lenses=("norm",),
        prism="off",
        prompts="own",
        raw_lens="off",
    )
    text = suite.passes[0].text
    if shape == OWN_WEIGHTS:
        return Bench(load(options, text), suite, options)
    placement = Placement(device, getattr(torch, dtype))
    hf_model = random_model(shape, placement)
    bos = Bos((1,), "the second id, as the tiny tokenizer has it")
    tokens = Tokens(
        AutoTokenizer.from_pretrained(name),
        bos,
        vocab=hf_model.config.vocab_size,
        rules=options.rules,
    )
    own = first_reading(hf_model, tokens, text, shape)
    bridge = boot(hf_model, placement, shape)
    facts, head, norms = read_parts(bridge, own, options, hf_model.config.model_type, placement)
    return Bench(LoadedModel(bridge, tokens, norms, head, facts, placement, own), suite, options)


def random_model(shape: str, placement: Placement) -> Any:
    """Make a model of a shape with random weights on its device, without a copy on the host."""
    with torch.random.fork_rng(), torch.device(placement.device):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(SHAPES[shape](), dtype=placement.dtype).eval()


@contextmanager
def peak_of(device: torch.device) -> Iterator[list[float]]:
    """Yield a list whose item is the largest memory over that at the start, in MiB, on the device of a model."""
    if device.type != "cuda":
        with peak_memory() as peak:
            yield peak
        return
    gc.collect()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    peak = [0.0]
    yield peak
    peak[0] = (torch.cuda.max_memory_allocated(device) - before) / 2**20


def timed(function: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Return the seconds of a call, and what it returned; NaN and None where a device had too little memory."""
    alone = device.type != "cuda" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    started = clock()
    try:
        result = function()
    except torch.OutOfMemoryError:
        return float("nan"), None
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started, result


def measure(bench: Bench, rounds: int, with_transformer_lens: bool = True) -> dict[str, Any]:
    """Measure the memory of each subject in a run that is not timed, then time them in turn.

    What samples memory takes processor time, and first gives back what the allocator kept.
    """
    subjects: dict[str, Callable[[], Any]] = {
        "forward": bench.forward,
        "product": bench.product,
        "lenses-min": bench.analyse,
    }
    if with_transformer_lens:
        subjects["TransformerLens"] = bench.transformer_lens
    peaks: dict[str, float] = {}
    for name, subject in subjects.items():
        with peak_of(bench.device) as peak:
            timed(subject, bench.device)
        peaks[name] = round(peak[0], 1)
    seconds: dict[str, list[float]] = {name: [] for name in (*subjects, "files")}
    for _ in range(rounds):
        for name, subject in subjects.items():
            spent, result = timed(subject, bench.device)
            seconds[name].append(spent)
            if name == "lenses-min":
                saved = result is not None
                files = timed(result.save, bench.device)[0] if saved else float("nan")
                seconds["files"].append(files)
    return {"rows": bench.rows, "subjects": summaries(seconds, peaks)}


def summaries(seconds: dict[str, list[float]], peaks: dict[str, float]) -> dict[str, Any]:
    """Return of each subject the median seconds, the median and least ratio to forward + product, and its peak."""
    bare = [a + b for a, b in zip(seconds["forward"], seconds["product"], strict=True)]
    table = {}
    for name, each in seconds.items():
        ratios: Sequence[float] = [a / b for a, b in zip(each, bare, strict=True)]
        table[name] = {
            "seconds": round(median(each), 3),
            "to_bare": round(median(ratios), 3),
            "least": round(min(ratios), 3),
            "peak_mib": peaks.get(name),
        }
    return table


def run(args: Any) -> dict[str, Any]:
    """Measure one shape as bench.py asks, and print the table."""
    with TemporaryDirectory() as folder:
        bench = build(args.shape, args.positions, args.device, args.dtype, Path(folder))
        report = measure(bench, args.rounds, not args.without_transformer_lens)
    where = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"\n{args.shape}, {where}, {args.dtype}: {len(bench.ids)} positions, {bench.rows} rows")
    print("\n| subject | s | to bare, median | least | peak MiB |\n|---|--:|--:|--:|--:|")
    for name, numbers in report["subjects"].items():
        print(f"| {name} |", " | ".join(str(value) for value in numbers.values()), "|")
    return report
