"""The composition: prompt → tokens → forward → lens → metrics → records → files, and no arithmetic.

Read this file first: every stage is one call here and one module beside it.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

from torch import Tensor

from . import consistency, probes, proof, raw_check, records
from .defects import defect_warnings
from .determinism import deterministic
from .document import document
from .errors import LensError
from .forward import capture, last_logits
from .lenses import LENSES
from .lenses.norm import NormLens
from .lenses.raw import RawLens
from .loading import LoadedModel, load
from .manifest import manifest
from .metrics import Final, measure_rows, to_host
from .norms import normalise_all
from .options import RunOptions
from .result import Run
from .suite import PASSES
from .types import Encoded, Lens, PassResult, Prompt, Rows

log = logging.getLogger("lenses_min")


def run(options: RunOptions) -> Run:
    """Sweep one model and return the run as typed records; nothing is written.

    Raises LensError for anything a person can mend: the model, an option, the artifacts, the device.
    """
    started = time.perf_counter()
    check_lenses(options)
    with deterministic():
        model = load(options)
        lenses, summaries = build_lenses(model, options)
        warnings = [*model.placement.warnings, *defect_warnings(model.facts, summaries, options.corrected)]
        for level, lines in ((logging.INFO, model.placement.notes), (logging.WARNING, warnings)):
            for line in lines:
                log.log(level, line)
        sweep = Sweep(model, lenses, options)
        passes = [sweep.run_pass(prompt) for prompt in PASSES]
        said = run_probes(model, passes[0])
    held = proof.proof([result.error for result in passes], model.facts.dtype)
    if not held["holds"]:
        log.error("%s: %s", options.model_id, proof.sentence(held))
    written = document(model.facts, options, passes, said, summaries["prism"])
    return Run(options, passes, written, manifest(model.facts, options, passes, warnings, held, started))


def self_test(options: RunOptions) -> dict[str, Any]:
    """Only the proof of a run, on the first prompt: the last layer against the model's own logits."""
    with deterministic():
        model = load(options)
        encoded = model.tokens.encode(PASSES[0], model.facts.n_ctx)
        residuals, final = capture(model.bridge, encoded.token_ids, model.facts.n_layers, [])
        ends = residuals.rows(()).last_of([model.facts.n_layers])
        logits = NormLens(model.norms, model.head).decode(ends.x, ends.layers)[0]
        error = proof.last_layer_error(to_host({"proof": {"lens": logits, "model": final}})["proof"])
    return proof.proof([error], model.facts.dtype)


def check_lenses(options: RunOptions) -> None:
    """Refuse a lens that is not registered, before a model is read."""
    if unknown := [str(name) for name in options.lenses if name not in LENSES]:
        raise LensError(f"unknown lens {', '.join(unknown)}; known lenses: {', '.join(LENSES)}")


def build_lenses(model: LoadedModel, options: RunOptions) -> tuple[list[Lens], dict[str, Mapping[str, Any]]]:
    """The lenses asked for that can serve this model, and what each has to say of itself."""
    asked = options if "prism" in options.lenses else replace(options, prism="off")  # the outputs tell of it anyway
    built = {name: LENSES[name](model.norms, model.head, asked) for name in dict.fromkeys((*asked.lenses, "prism"))}
    lenses = [lens for lens, _ in built.values() if lens is not None]
    return lenses, {name: summary for name, (_, summary) in built.items()}


@dataclass(frozen=True)
class Sweep:
    """A model under its lenses: runs one pass per prompt and variant, each in the same way."""

    model: LoadedModel
    lenses: Sequence[Lens]
    options: RunOptions

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every two lenses, and each lens with the model itself; norm and model have their block in the outputs."""
        names = [*(lens.name for lens in self.lenses), "model"]
        return [pair for pair in combinations(names, 2) if pair != ("norm", "model")]

    def run_pass(self, prompt: Prompt) -> PassResult:
        """One prompt through the model once, through every lens, and to the host in one transfer."""
        model, n, detailed = self.model, self.model.facts.n_layers, prompt.detailed
        keeps, corrected = detailed and self.options.keep_residuals, self.options.corrected
        full = range(n + 1) if detailed and corrected else range(1 if detailed else 0)  # R4
        checked = raw_check.sampled_layers(self.options.raw_lens if detailed else "off", n)

        encoded = model.tokens.encode(prompt, model.facts.n_ctx)
        residuals, final = capture(model.bridge, encoded.token_ids, n, range(n + 1) if keeps else full)
        rows = residuals.rows(full)
        host = to_host(self.read_out(encoded, rows, final, checked))
        bounds = self.options.copy_threshold, self.options.copy_margin
        row_of = records.RowContext(encoded, model.tokens, *bounds, corrected)
        return PassResult(
            encoded,
            {lens.name: row_of.records(rows, host[lens.name], lens) for lens in self.lenses if detailed},
            {lens.name: row_of.pure(rows, host[lens.name], lens) for lens in self.lenses},
            consistency.last_layer_consistency(host, encoded.answers),
            proof.last_layer_error(host["proof"]),
            consistency.agreement(host, self.pairs, encoded.answers) if detailed else [],
            raw_check.samples(host, checked, encoded.answers),
            final,
            normalise_all({y: residuals.at(y) for y in range(n + 1)}, model.norms) if keeps else {},
        )

    def read_out(
        self, encoded: Encoded, rows: Rows, final: Tensor, checked: Sequence[int]
    ) -> dict[str, Mapping[str, Tensor]]:
        """residuals → lens → metrics on the model's device: groups of tensors for the one transfer."""
        norm, raw = NormLens(self.model.norms, self.model.head), RawLens(self.model.head)
        answers, vocab, by_logits = encoded.answers, self.model.facts.d_vocab, self.options.corrected
        measured = partial(measure_rows, vocab=vocab, answers=answers, rank_logits=by_logits)
        groups: dict[str, Mapping[str, Tensor]] = {
            lens.name: measured(lens.decode, Final(final).decode, rows, k=records.K_FULL) for lens in self.lenses
        }
        ends = rows.last_of([rows.layer[-1]])
        logits = {lens.name: lens.decode(ends.x, ends.layers)[0] for lens in self.lenses} | {"model": final}
        groups["proof"] = {"lens": logits["norm"], "model": final}
        groups |= consistency.compare_logits(logits["norm"], final, encoded.answers, rank_logits=self.options.corrected)
        for a, b in self.pairs if encoded.prompt.detailed else ():
            groups |= consistency.compare_logits(logits[a], logits[b], answers, f"{a}_{b}")
        if checked:
            ends = rows.last_of(checked)
            groups["raw_norm"] = measured(norm.decode, raw.decode, ends, k=1)
            groups["raw_raw"] = measured(raw.decode, raw.decode, ends, k=1)
        return groups


def run_probes(model: LoadedModel, first: PassResult) -> dict[str, Any]:
    """What the model says without a lens; the first pass's forward serves the temperatures too."""
    said = probes.final_and_temperatures(first.final, model.tokens)
    return said | {"test_prompts": probes.test_prompts(model.tokens, partial(last_logits, model.bridge))}
