"""Runs a foreign run.py on jobs, inside that run.py's own interpreter. Self-contained: nothing of the project is here.

    INTERPRETER capture_worker.py RUN_PY JOBS EVENTS

JOBS holds one JSON object a line: case, model (checkpoint folder), model_id, out_dir and run.py's options. EVENTS gets
one JSON object a line as things happen: `start` and `end` per case, and `provenance` once all are done.
`HookedTransformer.from_pretrained_no_processing` is answered with the job's checkpoint, converted by TransformerLens'
own code; where that cannot be trusted (the logits differ from transformers') the case fails with the reason.
"""

import hashlib
import importlib
import json
import os
import platform
import sys
import time
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

OPTIONS = (
    *("device", "fp32_unembed", "keep_residuals", "copy_threshold", "copy_margin"),
    *("prism", "prism_dir", "out_dir"),
)
PREPEND = "default_prepend_bos"
PROCESSING = (
    *("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"),
    "refactor_factored_attn_matrices",
)
NEUTRAL = "checkpoint"  # a link in the worker's folder, no name of a model
LIBRARIES = ("torch", "transformer-lens", "transformers", "tokenizers", "numpy", "pandas")
WORST_LOGIT = 1e-3  # in float32; families that convert well stay within 1e-5 of the original


def gemma_config(config: Any, dtype: Any, device: str) -> dict[str, Any]:
    """HookedTransformerConfig of a Gemma or Gemma-2 checkpoint: TransformerLens knows their published sizes only."""
    second = config.model_type == "gemma2"
    return {
        "original_architecture": "Gemma2ForCausalLM" if second else "GemmaForCausalLM",
        "model_name": "gemma-2" if second else "gemma",
        "d_model": config.hidden_size,
        "d_head": config.head_dim,
        "n_heads": config.num_attention_heads,
        "n_key_value_heads": config.num_key_value_heads,
        "d_mlp": config.intermediate_size,
        "n_layers": config.num_hidden_layers,
        "n_ctx": config.max_position_embeddings,
        "d_vocab": config.vocab_size,
        "eps": config.rms_norm_eps,
        "act_fn": "gelu_pytorch_tanh",
        "normalization_type": "RMS",
        "positional_embedding_type": "rotary",
        "rotary_base": config.rope_theta,
        "rotary_dim": config.head_dim,
        "gated_mlp": True,
        "final_rms": True,
        "init_weights": False,
        "dtype": dtype,
        "device": device,
        **(gemma2_config(config) if second else {}),
    }


def gemma2_config(config: Any) -> dict[str, Any]:
    """What Gemma-2 has beyond Gemma: local attention, soft caps, a norm after each part of a block too."""
    kinds = {"sliding_attention": "local", "full_attention": "global"}
    return {
        "act_fn": config.hidden_activation,
        "attn_scale": config.query_pre_attn_scalar**0.5,
        "window_size": config.sliding_window,
        "use_local_attn": True,
        "attn_types": [kinds[kind] for kind in config.layer_types],
        "attn_scores_soft_cap": config.attn_logit_softcapping or -1.0,
        "output_logits_soft_cap": config.final_logit_softcapping or -1.0,
        "use_normalization_before_and_after": True,
    }


def model_config(checkpoint: str, original: Any, dtype: Any, device: str, bos: Any) -> Any:
    """The HookedTransformerConfig of a checkpoint, by its own architecture.

    TransformerLens guesses a family from words in the path that it reads, "llama" or "gemma", hence a neutral one.
    """
    lens: Any = importlib.import_module("transformer_lens")
    loading: Any = importlib.import_module("transformer_lens.loading_from_pretrained")
    if original.config.model_type in ("gemma", "gemma2"):
        return lens.HookedTransformerConfig.from_dict(gemma_config(original.config, dtype, device))
    if original.config.model_type == "gpt2":  # a configuration saved by transformers 5 has no n_ctx
        type(original.config).attribute_map["n_ctx"] = "n_positions"
    Path(NEUTRAL).unlink(missing_ok=True)
    Path(NEUTRAL).symlink_to(Path(checkpoint).absolute(), target_is_directory=True)
    shape = {"hf_cfg": original.config.to_dict(), "device": device, "dtype": dtype}
    config = loading.get_pretrained_model_config(
        NEUTRAL, fold_ln=False, default_prepend_bos=bos, **shape
    )
    config.model_name, config.tokenizer_name = Path(checkpoint).name, checkpoint
    return config


def read_original(checkpoint: str, dtype: Any) -> Any:
    """The checkpoint as transformers reads it; raises RuntimeError where it leaves weights out or makes some up."""
    transformers: Any = importlib.import_module("transformers")
    original, found = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint,
        dtype=dtype,
        local_files_only=True,
        attn_implementation="eager",  # sdpa drops Gemma's soft cap
        output_loading_info=True,
    )
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    if wrong := sorted(str(key) for kind in kinds for key in found[kind]):
        raise RuntimeError(
            f"transformers {transformers.__version__} does not read {len(wrong)} weights, such as {wrong[0]}"
        )
    return original.eval()


def convert(checkpoint: str, tokenizer: Any, dtype: Any, device: str, **wanted: Any) -> Any:
    """The checkpoint as a HookedTransformer without processing, held to transformers' own logits in float32."""
    lens: Any = importlib.import_module("transformer_lens")
    loading: Any = importlib.import_module("transformer_lens.loading_from_pretrained")
    original = read_original(checkpoint, dtype)
    config = model_config(checkpoint, original, dtype, device, wanted.get(PREPEND))
    side = {"default_padding_side": wanted.get("default_padding_side", "right")}
    model = lens.HookedTransformer(config, tokenizer, move_to_device=False, **side)
    state = loading.get_pretrained_state_dict(checkpoint, config, original, dtype=dtype)
    model.load_and_process_state_dict(state, **dict.fromkeys(PROCESSING, False))
    model.move_model_modules_to_device()
    if original.dtype.itemsize == 4:
        check_conversion(model, original, device)
    return model


def check_conversion(model: Any, original: Any, device: str) -> None:
    """Raise where the converted model does not say what the original says."""
    torch: Any = importlib.import_module("torch")
    ids = torch.arange(1, min(9, model.cfg.d_vocab)).unsqueeze(0)
    with torch.no_grad():
        worst = (model(ids.to(device)).cpu() - original(ids).logits).abs().max().item()
    if not worst <= WORST_LOGIT:
        kind = model.cfg.original_architecture
        raise RuntimeError(f"TransformerLens converts this {kind} wrongly: off by {worst:.2g}")


class CheckpointStub:
    """Stands in for `from_pretrained_no_processing`: whatever model is asked for, the job's checkpoint comes."""

    def __init__(self) -> None:
        self.checkpoint = ""

    def __call__(
        self, model_name: str, *args: Any, device: Any = None, tokenizer: Any = None, **wanted: Any
    ) -> Any:
        torch: Any = importlib.import_module("torch")
        transformers: Any = importlib.import_module("transformers")
        dtype = wanted.get("torch_dtype") or wanted.get("dtype") or torch.float32
        dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        tokenizer = tokenizer or transformers.AutoTokenizer.from_pretrained(
            self.checkpoint, local_files_only=True
        )
        return convert(self.checkpoint, tokenizer, dtype, str(device or "cpu"), **wanted)


def load_run_py(path: Path) -> Any:
    """run.py as a module that imports its neighbours as it would when it is run; checked for the surface we use."""
    sys.argv = [str(path)]
    module: Any = importlib.import_module(path.stem)
    lacking = [name for name in ("run_single_model", "CLI_ARGS") if not hasattr(module, name)]
    if lacking:
        raise AttributeError(f"{path.name} has no module-level {' and no '.join(lacking)}")
    return module


def run_case(module: Any, answer: CheckpointStub, job: dict[str, Any]) -> str:
    """One call of run_single_model; returns what went wrong, "" where nothing did."""
    answer.checkpoint = job["model"]
    asked = {name: job[name] for name in OPTIONS}
    for name in ("prism_dir", "out_dir"):
        if isinstance(getattr(module.CLI_ARGS, name, None), Path):
            asked[name] = Path(job[name])
    vars(module.CLI_ARGS).update(asked, self_test=False)
    Path(job["out_dir"]).mkdir(parents=True, exist_ok=True)
    try:
        done = module.run_single_model(job["model_id"])
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        return told(error, Path(module.__file__).parent)
    return "" if done in (True, None) else f"run_single_model returned {done!r}"


def told(error: BaseException, folder: Path) -> str:
    """An exception in one line, with the last place in run.py's own folder that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if folder in Path(frame.filename).parents]
    place = (
        f" at {Path(own[-1].filename).relative_to(folder)}:{own[-1].lineno} in {own[-1].name}"
        if own
        else ""
    )
    return f"run.py raised {type(error).__name__}: {str(error).strip() or 'no message'}{place}"


def provenance(run_py: Path) -> dict[str, Any]:
    """What ran: hashes of run.py and of every module that came from its folder, libraries, threads, machine."""
    torch: Any = importlib.import_module("torch")
    folder = run_py.parent
    files = {
        Path(f).resolve() for m in list(sys.modules.values()) if (f := getattr(m, "__file__", None))
    }
    own = sorted(
        f
        for f in files
        if folder in f.parents and "site-packages" not in f.parts and f.suffix == ".py"
    )
    return {
        "run_py": run_py.name,
        "modules": {
            f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()
            for f in own
        },
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "threads": {
            "torch": torch.get_num_threads(),
            "interop": torch.get_num_interop_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        },
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def main(script: str, jobs: str, events: str) -> None:
    run_py = Path(script).resolve()
    sys.path[0] = str(run_py.parent)  # as if run.py itself had been started
    work = [json.loads(line) for line in Path(jobs).read_text(encoding="utf-8").splitlines()]

    def tell(**event: Any) -> None:
        with Path(events).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")

    answer = CheckpointStub()
    lens: Any = importlib.import_module("transformer_lens")
    lens.HookedTransformer.from_pretrained_no_processing = answer
    module = load_run_py(run_py)
    for job in work:
        tell(event="start", case=job["case"])
        started = time.monotonic()
        problem = run_case(module, answer, job)
        tell(event="end", case=job["case"], problem=problem, seconds=time.monotonic() - started)
    tell(event="provenance", **provenance(run_py))


if __name__ == "__main__":
    main(*sys.argv[1:])
