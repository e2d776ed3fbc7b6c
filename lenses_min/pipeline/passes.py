"""One pass per prompt and variant: tokens → forward → lens → metrics → rows, each in the same way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations

import numpy as np
from torch import Tensor

from ..core import last_layer, probes, raw_lens, records
from ..core.decode import LensMetrics, Pair, RowBlock, decode_rows
from ..core.forward import (
    Captured,
    ForwardRequest,
    batches,
    capture_batch,
)
from ..core.host import to_host
from ..core.last_layer import LastLogits, compare_logits
from ..core.norms import normalise_all
from ..core.pass_metrics import AnswerMetrics, PassMetrics
from ..core.raw_lens import RawLensMetrics
from ..core.types import Encoded, Lens, PassResult, Rows
from ..lenses.norm import NormLens
from ..lenses.raw import RawLens
from ..model import proof, verify
from ..model.load import LoadedModel
from ..options import RunOptions
from ..prompts.suite import Prompt, Suite
from . import agreement, answers
from .apart import capture_apart
from .controls import ControlAnswers


@dataclass(frozen=True)
class Pass:
    """A prompt, its forward, and the residual rows that are decoded."""

    encoded: Encoded
    forward: Captured
    rows: Rows


@dataclass(frozen=True)
class PassRunner:
    """A model under its lenses: runs one pass per prompt and variant, each in the same way."""

    model: LoadedModel
    lenses: Sequence[Lens]
    suite: Suite
    options: RunOptions
    controls: ControlAnswers = field(default_factory=ControlAnswers)

    @property
    def pairs(self) -> list[Pair]:
        """Every two lenses, and each lens with the model itself."""
        return list(combinations([*(lens.name for lens in self.lenses), "model"], 2))

    @property
    def agreement_pairs(self) -> list[Pair]:
        """Pairs of the manifest; norm and model have their block in the outputs."""
        return [pair for pair in self.pairs if pair != ("norm", "model")]

    def run(self, advance: Callable[[int], object] = abs) -> list[PassResult]:
        """All passes in the order of the suite. `advance` gets how many each forward has done."""
        encoded = self.encode(self.suite.passes, self.suite.test_prompts)
        if self.options.prompts:
            self.controls.choose(encoded)
        return self.run_some(encoded, advance)

    def encode(self, prompts: Sequence[Prompt], tests: Sequence[str] = ()) -> list[Encoded]:
        """Prompts in tokens; raises LensError naming every one that the model cannot read, of `tests` too."""
        joint = bool(self.options.prompts)
        return self.model.tokens.encode_all(prompts, self.model.facts.n_ctx, joint, tests)

    def run_some(
        self, encoded: Sequence[Encoded], advance: Callable[[int], object] = abs
    ) -> list[PassResult]:
        """Some passes in their order; those of like length share a forward. `advance` gets how many each has done."""
        lengths = [len(e.token_ids) + len(e.answer_prefix_ids) for e in encoded]
        shared = batches(lengths, self.options.batch_size, self.model.facts.alone_above)
        results: dict[int, PassResult] = {}
        for members in sorted(shared, key=lambda members: 0 not in members):  # the proof first
            batch = self.run_batch([encoded[i] for i in members])
            results |= zip(members, batch, strict=True)
            advance(len(members))
        return [results[i] for i in range(len(encoded))]

    def run_batch(self, batch: Sequence[Encoded]) -> list[PassResult]:
        """Run some prompts through the model in one forward, decode them under every lens, and return their results."""
        captured = self.capture([self.request(encoded) for encoded in batch])
        passes = [
            Pass(encoded, forward, forward.residuals.rows(self.full_layers(encoded)))
            for encoded, forward in zip(batch, captured, strict=True)
        ]
        pairs = self.pairs if self.options.extended else ()
        metrics = self.decode(
            [
                RowBlock(p.rows, p.forward.final, self.controls.read(p.encoded), pairs)
                for p in passes
            ]
        )
        answer_metrics = self.decode(
            [
                RowBlock(p.forward.answer_residuals, p.forward.final, p.encoded.gold.answer_ids[1:])
                for p in passes
            ]
        )
        return [
            self.result(p, to_host(self.metrics(p, of_rows, of_answer)))
            for p, of_rows, of_answer in zip(passes, metrics, answer_metrics, strict=True)
        ]

    def request(self, encoded: Encoded) -> ForwardRequest:
        """The tokens of a prompt and the layers whose every position is kept."""
        every = range(self.model.facts.n_layers + 1)
        layers = every if self.keeps_residuals(encoded) else self.full_layers(encoded)
        return ForwardRequest(encoded.token_ids, layers, encoded.answer_prefix_ids)

    def capture(self, requests: Sequence[ForwardRequest]) -> list[Captured]:
        """One forward; where the answer's tokens would change the prompt's numbers, a forward for each of them."""
        model, most, first = self.model, self.model.facts.alone_above, requests[0]
        if most is not None and first.answer_prefix_ids and len(first.read) > most:
            return [capture_apart(model.bridge, first, model.facts.n_layers)]
        return capture_batch(model.bridge, requests, model.facts.n_layers)

    def decode(self, blocks: Sequence[RowBlock]) -> list[LensMetrics]:
        """Rows of some prompts through every lens."""
        decodes = {lens.name: lens.decode for lens in self.lenses}
        vocab, rules = self.model.facts.d_vocab, self.options.rules
        return decode_rows(decodes, blocks, vocab, records.K_FULL, rules.rank_logits)

    def full_layers(self, encoded: Encoded) -> range:
        """The layers whose every position is decoded; the reference has layer 0 alone (R4)."""
        if not encoded.prompt.write_records:
            return range(0)
        return range(self.model.facts.n_layers + 1 if self.options.rules.every_record else 1)

    def checked_layers(self, encoded: Encoded) -> list[int]:
        """The layers of the raw-lens check."""
        mode = self.options.raw_lens if encoded.prompt.write_records else "off"
        return raw_lens.sampled_layers(mode, self.model.facts.n_layers)

    def keeps_residuals(self, encoded: Encoded) -> bool:
        """Whether the residuals of a pass are saved: those of the first pass with records."""
        first = next((prompt for prompt in self.suite.passes if prompt.write_records), None)
        return self.options.keep_residuals and encoded.prompt == first

    def metrics(
        self, one_pass: Pass, of_rows: LensMetrics, of_answer: LensMetrics
    ) -> PassMetrics[Tensor]:
        """All numbers of a pass, on the model's device."""
        encoded, forward, model = one_pass.encoded, one_pass.forward, self.model
        own, write_records = bool(self.options.prompts), encoded.prompt.write_records
        logits = of_rows.last_logits | {"model": forward.final}
        compare = partial(compare_logits, answers=encoded.answers)
        return PassMetrics(
            by_lens=of_rows.by_lens,
            by_pair=of_rows.by_pair,
            last_logits=LastLogits(logits["norm"], forward.final),
            raw_lens=self.raw_lens_metrics(one_pass),
            consistency=(
                compare(logits["norm"], forward.final, rank_logits=self.options.rules.rank_logits)
                if write_records or own
                else None
            ),
            agreement=(
                {(a, b): compare(logits[a], logits[b]) for a, b in self.agreement_pairs}
                if write_records
                else {}
            ),
            answer=(
                AnswerMetrics(
                    of_answer.by_lens,
                    answers.model_log_p(forward.answer_logits, encoded.gold.answer_ids[1:]),
                )
                if encoded.answer_prefix_ids
                else None
            ),
            temperatures=probes.at_temperatures(forward.final) if write_records else None,
            residuals=(
                one_pass.rows.last_of(range(model.facts.n_layers + 1)).x.float()
                if encoded.token_ids == model.own.ids
                else None
            ),
        )

    def raw_lens_metrics(self, one_pass: Pass) -> RawLensMetrics[Tensor] | None:
        """The sampled layers under the norm lens, compared with the raw residual; None where no layer is sampled."""
        layers = self.checked_layers(one_pass.encoded)
        if not layers:
            return None
        norm, raw = NormLens(self.model.norms, self.model.head), RawLens(self.model.head)
        rows = one_pass.rows.last_of(layers)
        block = RowBlock(rows, "raw", one_pass.encoded.answers)
        vocab, rules = self.model.facts.d_vocab, self.options.rules
        decodes = {"norm": norm.decode, "raw": raw.decode}
        (metrics,) = decode_rows(decodes, [block], vocab, 1, rules.rank_logits)
        return RawLensMetrics(**metrics.by_lens)

    def result(self, one_pass: Pass, metrics: PassMetrics[np.ndarray]) -> PassResult:
        """The rows and blocks of a pass, from its numbers on the host."""
        encoded, rows, options = one_pass.encoded, one_pass.rows, self.options
        own, metrics = bool(options.prompts), self.controls.take(encoded, rows, metrics)
        row_of = records.RowContext(
            encoded,
            self.model.tokens,
            options.copy_threshold,
            options.copy_margin,
            self.suite.keywords,
            every_record=options.rules.every_record,
            own_answers=options.rules.own_answers or own,
        )
        with_records = self.lenses if encoded.prompt.write_records else ()
        return PassResult(
            encoded=encoded,
            records={
                lens.name: row_of.records(rows, metrics.by_lens[lens.name], lens)
                for lens in with_records
            },
            pure={
                lens.name: row_of.pure(rows, metrics.by_lens[lens.name], lens)
                for lens in self.lenses
            },
            consistency=(
                last_layer.last_layer_consistency(metrics.consistency, encoded.answers)
                if metrics.consistency
                else {}
            ),
            error=proof.last_layer_error(metrics.last_logits, self.model.facts.dtype),
            bridge_error=(
                verify.bridge_error(self.model, metrics.residuals, metrics.last_logits.model)
                if metrics.residuals is not None
                else {}
            ),
            agreement=agreement.last_layer_agreement(metrics.agreement, encoded.answers),
            raw_samples=(
                raw_lens.samples(metrics.raw_lens, self.checked_layers(encoded), encoded.answers)
                if metrics.raw_lens
                else []
            ),
            divergences=agreement.agreement_rows(encoded, rows, metrics.by_pair),
            whole_answers=answers.answer_rows(encoded, rows, metrics) if own else [],
            predictions=(
                probes.final_and_temperatures(metrics.temperatures, self.model.tokens)
                if metrics.temperatures
                else {}
            ),
            residuals=self.normed_residuals(one_pass) if self.keeps_residuals(encoded) else {},
        )

    def normed_residuals(self, one_pass: Pass) -> dict[int, Tensor]:
        """The residual of every layer as its lens norm reads it, [1, S, D]."""
        residuals = one_pass.forward.residuals
        by_layer = {layer: residuals.at(layer) for layer in residuals.layers}
        return normalise_all(by_layer, self.model.norms)
