"""The composition: prompt → tokens → forward → lens → metrics → records → files, and no arithmetic.

Read this file first, then passes.py: every stage is one call there and one module of a room.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ..core import probes, records
from ..core.forward import last_logits
from ..core.types import Lens
from ..lenses import LENSES, check_lenses
from ..model import verify
from ..model.determinism import deterministic, settings
from ..model.load import LoadedModel, load
from ..options import RunOptions
from ..output.defects import defect_warnings, prompt_warnings
from ..output.document import document, suite_document
from ..output.manifest import manifest, margins
from ..output.run import Run
from ..prompts.suite import Suite, suite_of
from .passes import PassRunner

log = logging.getLogger("lenses_min")


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
    lenses, summaries = build_lenses(model, options)
    warnings = [
        *model.placement.warnings,
        *model.warnings,
        *defect_warnings(model.facts, summaries, options.rules),
    ]
    for level, lines in ((logging.INFO, model.placement.notes), (logging.WARNING, warnings)):
        for line in lines:
            log.log(level, line)
    passes = PassRunner(model, lenses, suite, options).run()
    encoded, own = [result.encoded for result in passes], bool(options.prompts)
    for line in prompt_warnings(model.tokens, encoded, suite.test_prompts, own):
        log.warning(line)
        warnings.append(line)
    forward, most = partial(last_logits, model.bridge), model.facts.alone_above
    test_prompts = probes.test_prompts(suite.test_prompts, model.tokens, forward, most)
    last_layer_proof = verify.prove(model, passes, options)
    compose = partial(suite_document, suite.keywords) if options.prompts else document
    bos = {"ids": list(model.tokens.bos.ids), "rule": model.tokens.bos.rule}
    how = {"bos": bos, "placement": list(model.placement.notes), "determinism": settings()}
    checks = {"last_layer_proof": last_layer_proof, "warnings": warnings}
    run = Run(
        options.file_stem,
        records.tables_of(options, passes),
        compose(model.facts, options, passes, test_prompts, summaries["prism"]),
        manifest(model.facts, options, passes, how, checks, started),
        next((result.residuals for result in passes if result.residuals), {}),
        options.out_dir,
    )
    return replace(run, manifest=run.manifest | {"milestone_margins": margins(run)})


def self_test(options: RunOptions) -> dict[str, Any]:
    """Only the proof of a run, on the first prompt: transformers, the bridge and the last layer of the norm lens."""
    with deterministic(options.threads):
        return verify.first_prompt(load(options))


def build_lenses(
    model: LoadedModel, options: RunOptions
) -> tuple[list[Lens], dict[str, Mapping[str, Any]]]:
    """The lenses of the options that can serve this model, and the summary of each; Prism has one in any run."""
    if "prism" not in options.lenses:
        options = replace(options, prism="off")
    built = {
        name: LENSES[name](model.norms, model.head, options)
        for name in dict.fromkeys((*options.lenses, "prism"))
    }
    lenses = [lens for lens, _ in built.values() if lens is not None]
    return lenses, {name: summary for name, (_, summary) in built.items()}
