"""One job, from a model to its files or to its proof; what a failure prints and leaves."""

import logging
import sys
from pathlib import Path

from ..errors import LensError
from ..options import RunOptions
from ..process import silence_transformers

log = logging.getLogger("lenses_min")


def self_test(options: RunOptions) -> int:
    """The proof alone: status 0 where the last layer is the model's own output; nothing is written."""
    with silence_transformers():
        from .. import pipeline
        from ..model import proof

        try:
            block = pipeline.self_test(options)
        except Exception as error:
            return failed(options, error)
    print(f"{options.model_id}, {options.contract} contract: {proof.sentence(block)}")
    return 0 if block["holds"] else 1


def share(options: RunOptions, folder: Path, number: int, count: int) -> int:
    """The segments of one share of a run alone, kept in `folder`."""
    with silence_transformers():
        from .. import pipeline
        from ..pipeline.segmented import Share

        try:
            pipeline.write_share(options, folder, Share(number, count))
        except Exception as error:
            return failed(options, error)
    return 0


def failed(options: RunOptions, error: Exception) -> int:
    kind = "" if isinstance(error, LensError) else f"{type(error).__name__}: "
    print(f"lenses-min: error: {options.model_id}: {kind}{error}", file=sys.stderr)
    return 1


def perform(options: RunOptions, shows: bool, folder: Path | None = None) -> int:
    """One run from model to files, in `folder` or the options' own; a failure leaves its error.json and status 1."""
    target = folder or Path(options.out_dir)
    log.info("%s: starting", options.model_id)
    with silence_transformers():
        from .. import pipeline
        from ..output import manifest, store

        try:
            store.check_target(target, options.file_stem)
            finished, written = pipeline.write(options, target)
        except Exception as error:
            store.write_error(target, options.file_stem, manifest.error_report(options, error))
            return failed(options, error)
    log.info("%s: done in %.1f s", options.model_id, finished.manifest["elapsed_s"])
    if shows:
        from ..report import terminal

        terminal.show([finished], written)
    return 0
