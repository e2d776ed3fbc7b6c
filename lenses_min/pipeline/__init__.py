"""The composition: prompt → tokens → forward → lens → metrics → records → files, and no arithmetic.

Read this file first, then analysis.py and passes.py: every stage is one call there and one module of a room.
"""

import time
from dataclasses import replace
from functools import partial
from typing import Any

from ..core import records
from ..lenses import check_lenses
from ..model import verify
from ..model.determinism import deterministic
from ..model.load import LoadedModel, load
from ..options import RunOptions
from ..output.digest import digest, suite_document
from ..output.document import document
from ..output.manifest import margins
from ..output.run import Run
from ..prompts.suite import Suite, suite_of
from .analysis import build_lenses, prepare

__all__ = ["analyse", "build_lenses", "run", "self_test"]


def run(options: RunOptions) -> Run:
    """Run the lenses over one model and return the run as typed records; nothing is written.

    Raises LensError for anything a person can mend: the model, an option, the artifacts, the device.
    """
    started = time.perf_counter()
    check_lenses(options.lenses)
    suite = suite_of(options.prompts)
    with deterministic(options.threads):
        return analyse(load(options, suite.passes[0].text), suite, options, started)


def analyse(model: LoadedModel, suite: Suite, options: RunOptions, started: float) -> Run:
    """All of a run but the loading; `started` is when it began, on the performance counter."""
    analysis = prepare(model, suite, options, started)
    passes = analysis.runner.run()
    warnings = analysis.prompt_warnings([result.encoded for result in passes])
    of_passes = digest(model.facts, options, passes)
    compose = (
        partial(suite_document, of_passes, suite.keywords)
        if options.prompts
        else partial(document, passes=passes)
    )
    run = Run(
        options.file_stem,
        records.tables_of(options, passes),
        *analysis.documents(compose, of_passes, warnings),
        next((result.residuals for result in passes if result.residuals), {}),
        options.out_dir,
    )
    return replace(run, manifest=run.manifest | {"milestone_margins": margins(run)})


def self_test(options: RunOptions) -> dict[str, Any]:
    """Only the proof of a run, on the first prompt: transformers, the bridge and the last layer of the norm lens."""
    with deterministic(options.threads):
        return verify.first_prompt(load(options))
