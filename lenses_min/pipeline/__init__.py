"""The composition: prompt → tokens → forward → lens → metrics → records → files, and no arithmetic.

Read this file first, then analysis.py and passes.py: every stage is one call there and one module of a room.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
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
from ..output.parquet import require_pyarrow
from ..output.run import Run
from ..prompts.suite import Suite, prompts_text, suite_of
from . import segmented
from .analysis import Analysis, build_lenses, prepare
from .progress import bar, stage
from .segmented import Share, parts_of
from .statistics import statistics

__all__ = ["analyse", "build_lenses", "prompts_text", "run", "self_test", "write", "write_share"]


def run(options: RunOptions) -> Run:
    """Run the lenses over one model and return the run as typed records; nothing is written.

    Raises LensError for anything a person can mend: the model, an option, the artifacts, the device.
    """
    with begun(options) as analysis:
        return whole(analysis)


def write(options: RunOptions, folder: Path) -> tuple[Run, list[Path]]:
    """Run the lenses and write all files, or none: the run and the paths.

    Of a suite of more than one segment the run has the first, memory does not grow with the others, and what a run
    that ended early has finished is kept. Raises LensError as `run` does.
    """
    if not options.prompts:
        finished = run(options)
        return finished, finished.save(folder)
    with begun(options) as analysis:
        if len(parts_of(analysis.suite, options)) > 1:
            return segmented.write(analysis, folder)
        finished = whole(analysis)
    return finished, finished.save(folder)


def write_share(options: RunOptions, folder: Path, share: Share) -> None:
    """Run one share of the segments of a suite; `write` in a folder with the segments of all shares ends the run.

    Raises LensError as `run` does.
    """
    with begun(options) as analysis:
        segmented.write_share(analysis, folder, share)


@contextmanager
def begun(options: RunOptions) -> Iterator[Analysis]:
    """The model and the lenses of a run, under the settings of a run."""
    started = time.perf_counter()
    check_lenses(options.lenses)
    require_pyarrow(options.table_format)
    suite = suite_of(options.prompts)
    with deterministic(options.threads):
        with stage(f"loading {options.model}"):
            model = load(options, suite.passes[0].text)
        yield prepare(model, suite, options, started)


def analyse(model: LoadedModel, suite: Suite, options: RunOptions, started: float) -> Run:
    """All of a run but the loading; `started` is when it began, on the performance counter."""
    return whole(prepare(model, suite, options, started))


def whole(analysis: Analysis) -> Run:
    """All passes in memory."""
    model, suite, options = analysis.model, analysis.suite, analysis.options
    with bar(len(suite.passes)) as progress:
        passes = analysis.runner.run(progress.update)
    warnings = analysis.prompt_warnings([result.encoded for result in passes])
    of_passes = digest(model.facts, options, passes)
    compose = (
        partial(suite_document, of_passes, suite.keywords)
        if options.prompts
        else partial(document, passes=passes)
    )
    tables, of_battery = statistics(passes, analysis.runner.controls)
    run = Run(
        options.file_stem,
        records.tables_of(options, passes) | tables,
        *analysis.documents(compose, of_passes, warnings),
        next((result.residuals for result in passes if result.residuals), {}),
        options.out_dir,
        table_format=options.table_format,
    )
    more = {"milestone_margins": margins(run)} | of_battery
    return replace(run, manifest=run.manifest | more)


def self_test(options: RunOptions) -> dict[str, Any]:
    """Only the proof of a run, on the first prompt: transformers, the bridge and the last layer of the norm lens."""
    with deterministic(options.threads):
        return verify.first_prompt(load(options))
