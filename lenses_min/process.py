"""Settings of a command in its process, each restored on leaving. For those of a run in torch see determinism.py."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

PACKAGE = logging.getLogger("lenses_min")


@contextmanager
def configure_logging(level: int) -> Iterator[None]:
    """Messages of this package from `level` on go to the standard error of now, those of libraries from errors on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    before = PACKAGE.handlers[:], PACKAGE.propagate, PACKAGE.level, logging.root.level
    PACKAGE.handlers[:], PACKAGE.propagate = [handler], False
    PACKAGE.setLevel(level)
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        PACKAGE.handlers[:], PACKAGE.propagate, own_level, root_level = before
        PACKAGE.setLevel(own_level)
        logging.root.setLevel(root_level)


@contextmanager
def silence_transformers() -> Iterator[None]:
    """No advice of transformers below an error, and no progress bar of any library; this package has its own.

    Enter it before transformer_lens is imported, which sets the level of transformers. The variable TQDM_DISABLE
    would not do: tqdm reads it once, when it is imported, and hides every later bar.
    """
    from tqdm import tqdm
    from transformers.utils import logging as transformers_logging

    draw, bound = tqdm.__init__, vars(tqdm)["__init__"]
    interval, verbosity = tqdm.monitor_interval, transformers_logging.get_verbosity()

    def hide(bar: Any, *args: Any, **options: Any) -> None:
        own = type(bar).__module__.startswith(f"{PACKAGE.name}.")
        draw(bar, *args, **(options if own else options | {"disable": True}))

    tqdm.__init__, tqdm.monitor_interval = hide, 0  # no interval: no thread that watches over bars
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        tqdm.__init__, tqdm.monitor_interval = bound, interval


@contextmanager
def restore_environment() -> Iterator[None]:
    """Restore the environment on leaving; libraries set variables of their own."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in {*os.environ} - {*before}:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def replace_unprintable() -> Iterator[None]:
    """Characters that the encoding of standard output or error lacks are printed as `?`.

    Without it, one `␣` on a terminal or pipe of Latin-1 ends the command with a UnicodeEncodeError.
    """
    with ExitStack() as restored:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="replace")
                restored.callback(stream.reconfigure, errors="strict")
        yield
