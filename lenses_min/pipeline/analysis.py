"""What the passes of a run share: its lenses and warnings, and the document and manifest that end it."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..core import probes
from ..core.forward import last_logits
from ..core.types import Encoded, Lens
from ..lenses import LENSES
from ..model import verify
from ..model.determinism import settings
from ..model.load import LoadedModel
from ..options import RunOptions
from ..output.defects import defect_warnings, prompt_warnings
from ..output.digest import Digest
from ..output.manifest import manifest
from ..prompts.suite import Suite
from .passes import PassRunner

log = logging.getLogger("lenses_min")
Compose = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Analysis:
    """A run of one model under its lenses; `started` is when it began, on the performance counter."""

    model: LoadedModel
    suite: Suite
    options: RunOptions
    started: float
    runner: PassRunner
    prism: Mapping[str, Any]
    model_warnings: Sequence[str]

    def prompt_warnings(self, encoded: Iterable[Encoded]) -> list[str]:
        """Log and return the warnings of the prompts."""
        own, tests = bool(self.options.prompts), self.suite.test_prompts
        lines = list(prompt_warnings(self.model.tokens, encoded, tests, own))
        for line in lines:
            log.warning(line)
        return lines

    def documents(
        self, compose: Compose, passes: Digest, warnings: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The document and the manifest, once all passes have run; `compose` makes the document of its last parts."""
        model, options = self.model, self.options
        forward, most = partial(last_logits, model.bridge), model.facts.alone_above
        tests = probes.test_prompts(self.suite.test_prompts, model.tokens, forward, most)
        checks = {
            "last_layer_proof": verify.prove(model, passes.measured, options),
            "warnings": [*self.model_warnings, *warnings],
        }
        bos = {"ids": list(model.tokens.bos.ids), "rule": model.tokens.bos.rule}
        how = {"bos": bos, "placement": list(model.placement.notes), "determinism": settings()}
        return (
            compose(facts=model.facts, options=options, test_prompts=tests, prism=self.prism),
            manifest(model.facts, options, passes, how, checks, self.started),
        )


def prepare(model: LoadedModel, suite: Suite, options: RunOptions, started: float) -> Analysis:
    """The lenses of a run; warnings about its model are logged."""
    lenses, summaries = build_lenses(model, options)
    warnings = [
        *model.placement.warnings,
        *model.warnings,
        *defect_warnings(model.facts, summaries, options.rules),
    ]
    for level, lines in ((logging.INFO, model.placement.notes), (logging.WARNING, warnings)):
        for line in lines:
            log.log(level, line)
    runner = PassRunner(model, lenses, suite, options)
    return Analysis(model, suite, options, started, runner, summaries["prism"], warnings)


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
