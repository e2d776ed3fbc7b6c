"""A process that loads the heavy libraries once and forks a child for each command.

Started as `python workshop.py MODEL`; it boots MODEL once, so that no child pays for first uses. Each line on stdin is
a JSON object: `folder` of the packages to run, `command`, the arguments of `batch` or of `pytest`, and `log`, the file
for the child's output. Each line on stdout is a child's exit status.
"""

import gc
import importlib
import json
import os
import sys
from pathlib import Path


def warm_up(model: str) -> None:
    """Import the libraries of runner and tests and boot a model, in one thread: a child inherits no other."""
    for name in (
        "pandas",
        "psutil",
        "rich.table",
        "gguf",
        "beartype",
        "hypothesis.strategies",
        "pytest",
    ):
        importlib.import_module(name)
    import torch
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    torch.set_num_threads(1)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(model)
    transformers.AutoConfig.from_pretrained(model)
    bridge = TransformerBridge.boot_transformers(
        model, device="cpu", dtype=torch.float32, tokenizer=tokenizer
    )
    bridge(torch.tensor([[1, 2, 3]]), return_type="logits")
    gc.freeze()  # children do not collect garbage among these objects


def perform(folder: str, command: list[str], log: str) -> int:
    """Run the command with the packages of `folder`, in the child."""
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    import torch

    # rebuilds the thread pool that the fork broke, before two threads do it at once
    torch.set_num_threads(1)
    os.chdir(folder)
    sys.path.insert(0, folder)
    if command[0] == "pytest":
        import pytest

        return int(pytest.main(["-p", "no:cacheprovider", *command[1:]]))
    from lenses_min.cli import command_line

    assert Path(command_line.__file__).is_relative_to(folder), (
        f"the runner came from {command_line.__file__}"
    )
    return command_line.main(command)


def main() -> None:
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    os.environ.update(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")  # the tests that run here need none
    # no thread before a fork
    os.environ.update(OMP_NUM_THREADS="1", TQDM_DISABLE="1", HF_DEACTIVATE_ASYNC_LOAD="1")
    statuses = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warm_up(sys.argv[1])
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            status = 70
            try:
                status = perform(**json.loads(line))
            except BaseException as error:  # a child must not return into the loop
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=statuses, flush=True)


if __name__ == "__main__":
    main()
