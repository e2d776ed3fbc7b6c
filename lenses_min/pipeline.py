"""The composition: prompt → tokens → forward → lens → metrics → records → files, and no arithmetic.

Read this file first: every stage is one call here and one module beside it.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from torch import Tensor

from .core import answers, last_layer, probes, raw_lens, records
from .core.decode import LensMetrics, RowBlock, decode_rows
from .core.forward import (
    Captured,
    ForwardRequest,
    batches,
    capture_apart,
    capture_batch,
    last_logits,
)
from .core.metrics import to_host
from .core.norms import normalise_all
from .core.types import Encoded, Lens, PassResult, Rows
from .lenses import LENSES, check_lenses
from .lenses.norm import NormLens
from .lenses.raw import RawLens
from .model import proof, verify
from .model.determinism import deterministic, settings
from .model.load import LoadedModel, load
from .options import RunOptions
from .output.defects import defect_warnings, prompt_warnings
from .output.document import document, suite_document
from .output.manifest import manifest
from .output.run import Run
from .prompts.suite import Suite, built_in, read_suite

log = logging.getLogger("lenses_min")


def run(options: RunOptions) -> Run:
    """Sweep one model and return the run as typed records; nothing is written.

    Raises LensError for anything a person can mend: the model, an option, the artifacts, the device.
    """
    started = time.perf_counter()
    check_lenses(options.lenses)
    suite = read_suite(Path(options.prompts)) if options.prompts else built_in()
    with deterministic(options.threads):
        return analyse(load(options, suite.passes[0].text), suite, options, started)


def analyse(model: LoadedModel, suite: Suite, options: RunOptions, started: float) -> Run:
    """All of a run but the loading; `started` is when it began, on the performance counter."""
    lenses, summaries = build_lenses(model, options)
    warnings = [
        *model.placement.warnings,
        *model.warnings,
        *defect_warnings(model.facts, summaries, options.corrected),
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
    said = probes.test_prompts(suite.test_prompts, model.tokens, forward, most)
    held = verify.prove(model, passes, options)
    compose = partial(suite_document, suite.keywords) if options.prompts else document
    written = compose(model.facts, options, passes, said, summaries["prism"])
    bos = {"ids": list(model.tokens.bos.ids), "rule": model.tokens.bos.rule}
    how = {"bos": bos, "placement": list(model.placement.notes), "determinism": settings()}
    told = manifest(model.facts, options, passes, how, warnings, held, started)
    residuals = next((result.residuals for result in passes if result.residuals), {})
    return Run(
        options.file_stem,
        records.tables(options, passes),
        written,
        told,
        residuals,
        options.out_dir,
    )


def self_test(options: RunOptions) -> dict[str, Any]:
    """Only the proof of a run, on the first prompt: transformers, the bridge and the last layer of the norm lens."""
    with deterministic(options.threads):
        return verify.first_prompt(load(options))


def build_lenses(
    model: LoadedModel, options: RunOptions
) -> tuple[list[Lens], dict[str, Mapping[str, Any]]]:
    """The lenses asked for that can serve this model, and what each has to say of itself."""
    asked = (
        options if "prism" in options.lenses else replace(options, prism="off")
    )  # the outputs tell of it anyway
    built = {
        name: LENSES[name](model.norms, model.head, asked)
        for name in dict.fromkeys((*asked.lenses, "prism"))
    }
    lenses = [lens for lens, _ in built.values() if lens is not None]
    return lenses, {name: summary for name, (_, summary) in built.items()}


@dataclass(frozen=True)
class PassRunner:
    """A model under its lenses: runs one pass per prompt and variant, each in the same way."""

    model: LoadedModel
    lenses: Sequence[Lens]
    suite: Suite
    options: RunOptions

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every two lenses, and each lens with the model itself."""
        return list(combinations([*(lens.name for lens in self.lenses), "model"], 2))

    @property
    def told(self) -> list[tuple[str, str]]:
        """Pairs of the manifest; norm and model have their block in the outputs."""
        return [pair for pair in self.pairs if pair != ("norm", "model")]

    def run(self) -> list[PassResult]:
        """All passes in the order of the suite; those of like length share a forward."""
        joint = bool(self.options.prompts)
        n_ctx, suite = self.model.facts.n_ctx, self.suite
        encoded = self.model.tokens.encode_all(suite.passes, n_ctx, joint, suite.test_prompts)
        done: dict[int, PassResult] = {}
        lengths = [len(e.token_ids) + len(e.answer_prefix_ids) for e in encoded]
        shared = batches(lengths, self.options.batch_size, self.model.facts.alone_above)
        for batch in sorted(shared, key=lambda members: 0 not in members):  # the proof comes first
            done |= zip(batch, self.run_batch([encoded[i] for i in batch]))
        return [done[i] for i in range(len(encoded))]

    def run_batch(self, batch: Sequence[Encoded]) -> list[PassResult]:
        """Some prompts through the model in one forward and every lens in one walk, then each to rows."""
        n, pairs = self.model.facts.n_layers, self.pairs if self.options.extended else ()
        asks = [
            ForwardRequest(
                e.token_ids, range(n + 1) if self.keeps(e) else self.full(e), e.answer_prefix_ids
            )
            for e in batch
        ]
        found = self.capture(asks)
        rows = [f.residuals.rows(self.full(e)) for e, f in zip(batch, found)]
        walked = self.decode_rows(
            [RowBlock(r, f.final, e.answers, pairs) for e, f, r in zip(batch, found, rows)]
        )
        after = self.decode_rows(
            [
                RowBlock(f.answer_residuals, f.final, e.gold.answer_ids[1:])
                for e, f in zip(batch, found)
            ]
        )
        return [self.read(*each) for each in zip(batch, found, rows, walked, after)]

    def capture(self, asks: Sequence[ForwardRequest]) -> list[Captured]:
        """One forward; where the answer's tokens would change the prompt's numbers, one for each of them."""
        model, most = self.model, self.model.facts.alone_above
        if most is not None and asks[0].answer_prefix_ids and len(asks[0].read) > most:
            return [capture_apart(model.bridge, asks[0], model.facts.n_layers)]
        return capture_batch(model.bridge, asks, model.facts.n_layers)

    def decode_rows(self, sections: Sequence[RowBlock]) -> list[LensMetrics]:
        """Rows of some prompts through every lens."""
        decodes = {lens.name: lens.decode for lens in self.lenses}
        return decode_rows(
            decodes, sections, self.model.facts.d_vocab, records.K_FULL, self.options.corrected
        )

    def full(self, encoded: Encoded) -> range:
        """The layers whose every position is decoded; the reference has layer 0 alone (R4)."""
        write_records, n = encoded.prompt.write_records, self.model.facts.n_layers
        return (
            range(n + 1)
            if write_records and self.options.corrected
            else range(1 if write_records else 0)
        )

    def keeps(self, encoded: Encoded) -> bool:
        """Whether the residuals of a pass are saved: those of the first pass with records."""
        first = next((prompt for prompt in self.suite.passes if prompt.write_records), None)
        return self.options.keep_residuals and encoded.prompt == first

    def read(
        self, encoded: Encoded, found: Captured, rows: Rows, walked: LensMetrics, after: LensMetrics
    ) -> PassResult:
        """What one forward left of a prompt and the lenses said of it: to the host in one transfer, and to rows."""
        model, options, write_records = self.model, self.options, encoded.prompt.write_records
        checked = raw_lens.sampled_layers(
            options.raw_lens if write_records else "off", model.facts.n_layers
        )
        groups = self.read_out(encoded, found, rows.last_of(checked), walked, after)
        if encoded.token_ids == model.own.ids:
            every = rows.last_of(range(model.facts.n_layers + 1))
            groups["bridge"] = {"stream": every.x.float()}
        host = to_host(groups)
        residuals = found.residuals
        bounds, own = (
            (options.copy_threshold, options.copy_margin),
            options.corrected or bool(options.prompts),
        )
        row_of = records.RowContext(
            encoded, model.tokens, *bounds, self.suite.keywords, options.corrected, own
        )
        return PassResult(
            encoded,
            {
                lens.name: row_of.records(rows, host[lens.name], lens)
                for lens in self.lenses
                if write_records
            },
            {lens.name: row_of.pure(rows, host[lens.name], lens) for lens in self.lenses},
            last_layer.last_layer_consistency(host, encoded.answers) if self.tells(encoded) else {},
            proof.last_layer_error(host["proof"], model.facts.dtype),
            verify.hold_bridge(model, host) if "bridge" in host else {},
            last_layer.agreement(host, self.told, encoded.answers) if write_records else [],
            raw_lens.samples(host, checked, encoded.answers),
            last_layer.divergences(encoded, rows, host, self.pairs) if options.extended else [],
            answers.answer_rows(encoded, rows, host, [lens.name for lens in self.lenses])
            if options.prompts
            else [],
            probes.final_and_temperatures(host["said"], model.tokens) if write_records else {},
            normalise_all({y: residuals.at(y) for y in residuals.layers}, model.norms)
            if self.keeps(encoded)
            else {},
        )

    def tells(self, encoded: Encoded) -> bool:
        """Whether the document has the consistency of a pass."""
        return encoded.prompt.write_records or bool(self.options.prompts)

    def read_out(
        self,
        encoded: Encoded,
        found: Captured,
        checked: Rows,
        walked: LensMetrics,
        after: LensMetrics,
    ) -> dict[str, Mapping[str, Tensor]]:
        """Everything that a pass tells, on the model's device: groups of tensors for the one transfer."""
        final, ids, by_logits, write_records = (
            found.final,
            encoded.answers,
            self.options.corrected,
            encoded.prompt.write_records,
        )
        logits = walked.last | {"model": final}
        groups: dict[str, Mapping[str, Tensor]] = {
            **walked.numbers,
            "proof": {"lens": logits["norm"], "model": final},
        }
        if encoded.answer_prefix_ids:
            groups |= {f"{name}_after": part for name, part in after.numbers.items()}
            groups["model_after"] = {
                "log_p": answers.model_log_p(found.answer_logits, encoded.gold.answer_ids[1:])
            }
        if write_records:
            groups["said"] = probes.at_temperatures(final)
        if self.tells(encoded):
            groups |= last_layer.compare_logits(logits["norm"], final, ids, rank_logits=by_logits)
        for a, b in self.told if write_records else ():
            groups |= last_layer.compare_logits(logits[a], logits[b], ids, f"{a}_{b}")
        norm, raw = NormLens(self.model.norms, self.model.head), RawLens(self.model.head)
        both, section = (
            {"raw_norm": norm.decode, "raw_raw": raw.decode},
            RowBlock(checked, "raw_raw", ids),
        )
        (said,) = decode_rows(both, [section], self.model.facts.d_vocab, 1, by_logits)
        return groups | said.numbers
