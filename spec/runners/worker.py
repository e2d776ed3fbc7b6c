"""Run an external run.py on jobs, in that run.py's own interpreter. This file imports nothing of the project.

    INTERPRETER worker.py RUN_PY JOBS EVENTS

JOBS has a JSON object per line: case, model (checkpoint folder), model_id, out_dir and run.py's options. The worker
appends a JSON object per line to EVENTS: `start` and `end` of each case, and `provenance` after the last case.
`HookedTransformer.from_pretrained_no_processing` is replaced: it returns the job's checkpoint, converted by
TransformerLens's own code. A case fails with the reason if the converted logits differ from those of transformers.
"""

import gc
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

OPTIONS = ("device", "fp32_unembed", "keep_residuals", "copy_threshold", "copy_margin", "prism")
FOLDERS = ("prism_dir", "out_dir")
PREPEND = "default_prepend_bos"
PROCESSING = (
    *("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases"),
    "refactor_factored_attn_matrices",
)
# a link to the checkpoint: TransformerLens guesses the family from words such as "llama" or "gemma" in the path
NEUTRAL = "checkpoint"
LIBRARIES = ("torch", "transformer-lens", "transformers", "tokenizers", "numpy", "pandas")
MAX_LOGIT_ERROR = 1e-3  # in float32; a correct conversion is within 1e-5 of the original


def gemma_config(config: Any, dtype: Any, device: str) -> dict[str, Any]:
    """Return the configuration of a Gemma or Gemma-2 checkpoint; TransformerLens has their published sizes only."""
    is_gemma2 = config.model_type == "gemma2"
    return {
        "original_architecture": "Gemma2ForCausalLM" if is_gemma2 else "GemmaForCausalLM",
        "model_name": "gemma-2" if is_gemma2 else "gemma",
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
        **(gemma2_config(config) if is_gemma2 else {}),
    }


def gemma2_config(config: Any) -> dict[str, Any]:
    """Return what Gemma-2 adds to Gemma: local attention, soft caps, a norm after each sublayer."""
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
    """Return the HookedTransformerConfig of a checkpoint, derived from its own architecture."""
    lens: Any = importlib.import_module("transformer_lens")
    loading: Any = importlib.import_module("transformer_lens.loading_from_pretrained")
    if original.config.model_type in ("gemma", "gemma2"):
        return lens.HookedTransformerConfig.from_dict(gemma_config(original.config, dtype, device))
    if original.config.model_type == "gpt2":  # transformers 5 saves no n_ctx
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
    """Load the checkpoint with transformers; raises RuntimeError where weights are missing, unexpected or misshapen."""
    transformers: Any = importlib.import_module("transformers")
    original, info = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint,
        dtype=dtype,
        local_files_only=True,
        attn_implementation="eager",  # sdpa ignores Gemma's soft cap
        output_loading_info=True,
    )
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    if keys := sorted(str(key) for kind in kinds for key in info[kind]):
        raise RuntimeError(
            f"transformers {transformers.__version__} does not read {len(keys)} weights, such as {keys[0]}"
        )
    return original.eval()


def convert(checkpoint: str, tokenizer: Any, dtype: Any, device: str, **options: Any) -> Any:
    """Convert the checkpoint to a HookedTransformer without weight processing; check its logits in float32."""
    lens: Any = importlib.import_module("transformer_lens")
    loading: Any = importlib.import_module("transformer_lens.loading_from_pretrained")
    original = read_original(checkpoint, dtype)
    config = model_config(checkpoint, original, dtype, device, options.get(PREPEND))
    padding = {"default_padding_side": options.get("default_padding_side", "right")}
    model = lens.HookedTransformer(config, tokenizer, move_to_device=False, **padding)
    state = loading.get_pretrained_state_dict(checkpoint, config, original, dtype=dtype)
    model.load_and_process_state_dict(state, **dict.fromkeys(PROCESSING, False))
    model.move_model_modules_to_device()
    if original.dtype.itemsize == 4:
        check_conversion(model, original, device)
    return model


def check_conversion(model: Any, original: Any, device: str) -> None:
    """Raise RuntimeError where the logits of the converted model differ by more than MAX_LOGIT_ERROR."""
    torch: Any = importlib.import_module("torch")
    ids = torch.arange(1, min(9, model.cfg.d_vocab)).unsqueeze(0)
    with torch.no_grad():
        error = (model(ids.to(device)).cpu() - original(ids).logits).abs().max().item()
    if not error <= MAX_LOGIT_ERROR:
        kind = model.cfg.original_architecture
        raise RuntimeError(f"TransformerLens converts {kind} wrongly: logits differ by {error:.2g}")


class CheckpointStub:
    """Replaces `from_pretrained_no_processing`; returns the job's checkpoint whatever the requested model name."""

    checkpoint = ""  # set before each case

    def __call__(
        self, model_name: str, *args: Any, device: Any = None, tokenizer: Any = None, **options: Any
    ) -> Any:
        torch: Any = importlib.import_module("torch")
        transformers: Any = importlib.import_module("transformers")
        dtype = options.get("torch_dtype") or options.get("dtype") or torch.float32
        dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        tokenizer = tokenizer or transformers.AutoTokenizer.from_pretrained(
            self.checkpoint, local_files_only=True
        )
        return convert(self.checkpoint, tokenizer, dtype, str(device or "cpu"), **options)


def load_run_py(path: Path) -> Any:
    """Import run.py; raises AttributeError where it lacks `run_single_model` or `CLI_ARGS`."""
    sys.argv = [str(path)]
    module: Any = importlib.import_module(path.stem)
    missing_names = [n for n in ("run_single_model", "CLI_ARGS") if not hasattr(module, n)]
    if missing_names:
        raise AttributeError(f"{path.name} has no module-level {' and no '.join(missing_names)}")
    return module


def run_case(module: Any, stub: CheckpointStub, job: dict[str, Any]) -> str:
    """Call run_single_model once; return its failure in one line, "" for none."""
    stub.checkpoint = job["model"]
    options = {name: job[name] for name in (*OPTIONS, *FOLDERS)}
    for name in FOLDERS:
        if isinstance(getattr(module.CLI_ARGS, name, None), Path):
            options[name] = Path(job[name])
    vars(module.CLI_ARGS).update(options, self_test=False)
    Path(job["out_dir"]).mkdir(parents=True, exist_ok=True)
    try:
        returned = module.run_single_model(job["model_id"])
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        return describe_error(error, Path(module.__file__).parent)
    return "" if returned in (True, None) else f"run_single_model returned {returned!r}"


def describe_error(error: BaseException, folder: Path) -> str:
    """Return an exception in one line, with its innermost frame in run.py's own folder."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if folder in Path(frame.filename).parents]
    place = (
        f" at {Path(own[-1].filename).relative_to(folder)}:{own[-1].lineno} in {own[-1].name}"
        if own
        else ""
    )
    return f"run.py raised {type(error).__name__}: {str(error).strip() or 'no message'}{place}"


def imported_sources(folder: Path) -> list[Path]:
    """Return the Python files under `folder` that were imported, without installed packages."""
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    paths = {Path(file).resolve() for file in files if file}
    return sorted(
        path
        for path in paths
        if folder in path.parents and "site-packages" not in path.parts and path.suffix == ".py"
    )


def provenance(run_py: Path) -> dict[str, Any]:
    """Return hashes of run.py and of every module from its folder, versions of libraries, threads, machine."""
    torch: Any = importlib.import_module("torch")
    folder = run_py.parent
    return {
        "run_py": run_py.name,
        "modules": {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in imported_sources(folder)
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
    sys.path[0] = str(run_py.parent)  # as when run.py itself is started
    job_list = [json.loads(line) for line in Path(jobs).read_text(encoding="utf-8").splitlines()]

    def write_event(**event: Any) -> None:
        with Path(events).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")

    stub = CheckpointStub()
    importlib.import_module(
        "transformer_lens"
    ).HookedTransformer.from_pretrained_no_processing = stub
    module = load_run_py(run_py)
    gc.freeze()  # what the imports made: run.py calls the collector at every layer
    for job in job_list:
        write_event(event="start", case=job["case"])
        started = time.monotonic()
        problem = run_case(module, stub, job)
        seconds = time.monotonic() - started
        write_event(event="end", case=job["case"], problem=problem, seconds=seconds)
    write_event(event="provenance", **provenance(run_py))


if __name__ == "__main__":
    main(*sys.argv[1:])
