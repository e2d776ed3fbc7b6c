"""What a command or a test may change in its process, as plain values to compare before and after."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import tqdm
from huggingface_hub.utils import are_progress_bars_disabled
from transformers.utils import logging as transformers_logging

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


def process_state() -> dict[str, Any]:
    """Loggers, environment, streams, signals, and the settings of torch, numpy, transformers and tqdm."""
    return {
        **{f"logger {name}": state for name, state in loggers()},
        **{f"${name}": value for name, value in os.environ.items() if name != CURRENT_TEST},
        "folder": os.getcwd(),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "hooks": (sys.excepthook, sys.unraisablehook),
        "sys.path": list(sys.path),
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "numpy errors": np.geterr(),
        "transformers verbosity": transformers_logging.get_verbosity(),
        "transformers bars": transformers_logging.is_progress_bar_enabled(),
        "hub bars": not are_progress_bars_disabled(),
        "tqdm": (vars(tqdm.tqdm)["__init__"], tqdm.tqdm.monitor_interval),
        **torch_settings(),
    }


CURRENT_TEST = "PYTEST_CURRENT_TEST"  # pytest writes the phase of a test into it


def loggers() -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every logger that somebody has configured; pytest's own handlers at the root come and go with a phase."""
    known = {"root": logging.root, **logging.root.manager.loggerDict}
    for name, logger in known.items():
        if not isinstance(logger, logging.Logger):
            continue  # the parent of a logger, which nobody has asked for
        own = [h for h in logger.handlers if not type(h).__module__.startswith("_pytest")]
        yield name, (logger.level, own, logger.filters[:], logger.propagate, logger.disabled)


def torch_settings() -> dict[str, Any]:
    return {
        "torch threads": torch.get_num_threads(),
        "torch deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch warns only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "torch matmul precision": torch.get_float32_matmul_precision(),
        "torch gradients": torch.is_grad_enabled(),
        "torch dtype": torch.get_default_dtype(),
        "torch device": torch.get_default_device(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
    }


def random_states() -> dict[str, Any]:
    """Of the generators that a caller's own draws go on from. Not of `random`: beartype draws from it in every test."""
    return {
        "numpy": repr(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Keys of what is not as it was, with both values; a logger that is new belongs to a library that came in."""
    new = {key for key in after if key.startswith("logger ")} - {*before}
    return [
        f"{key}: {before.get(key)!r} became {after.get(key)!r}"
        for key in sorted({*before, *after} - new)
        if before.get(key) != after.get(key)
    ]
