"""Hand-made accidents of the kind that happen in a refactoring, and who must catch each, and where.

An accident replaces a piece of one function of lenses_min by another piece. The function is named, not its file, and
the pieces are compared as syntax trees, so that neither a move nor a new layout of the code loses an accident. A golden
case catches it, and `sights` say where `python -m spec check` must point; or a test that is named catches it.
"""

from dataclasses import dataclass

PURE, RECORDS, PURE_PRISM, RECORDS_PRISM = (
    "pure-next-token",
    "records",
    "pure-next-token-prism",
    "records-prism",
)
JSON, RESIDUAL = "json", "resid"


@dataclass(frozen=True)
class Sight:
    """A column of a kind of file that must be among the findings, and the row of its first finding.

    Where `rule` is given the finding is a violation of the schema, else a mismatch with the capture.
    """

    file: str
    column: str
    row: str = ""
    rule: str = ""


@dataclass(frozen=True)
class Accident:
    """`old` stands once in `function`, a qualified name that lenses_min has once.

    Both are expressions or statements. `alone`: no other column than those of the sights differs from the capture.
    """

    function: str
    old: str
    new: str
    case: str = ""
    sights: tuple[Sight, ...] = ()
    alone: bool = False
    test: str = ""

    def __post_init__(self) -> None:
        if bool(self.case) == bool(self.test) or bool(self.case) != bool(self.sights):
            raise ValueError(
                "an accident is caught by a case with sights or by a test; name one of the two"
            )


ACCIDENTS = {
    "a loop dedented, so that only the last position is written": Accident(
        "RowContext.records",
        "return out",
        "out.append(self.record(layer, pos, token, metrics, i, k))\nreturn out[-1:]",
        "rms-rope",
        (
            Sight(RECORDS, "", "pos/orig layer 0 pos 0"),
            Sight(RECORDS, "", "pos/orig layer 0 pos 0", "rows.missing"),
        ),
        alone=True,
    ),
    "the control pass decoding the last layer in every row": Accident(
        "PassRunner.run_batch",
        "pairs = self.pairs if self.options.extended else ()",
        (
            "pairs = self.pairs if self.options.extended else ()\n"
            "rows = passes[2].rows\n"
            "rows = Rows(rows.x[-1:].expand_as(rows.x), rows.layer, rows.pos)\n"
            "passes[2] = Pass(passes[2].encoded, passes[2].forward, rows)"
        ),
        "fact",
        (
            Sight(PURE, "top1", "ctl/orig layer 0 pos 16"),
            Sight(PURE, "is_answer", "ctl/orig layer 0 pos 16"),
        ),
    ),
    "a window shared between lenses": Accident(
        "RowContext.pure",
        "window = [*window, int(metrics.top_id[i, 0])][-COPY_WINDOW:]",
        (
            'window = self.__dict__.setdefault("window", [])\n'
            "window[:] = [*window, int(metrics.top_id[i, 0])][-COPY_WINDOW:]"
        ),
        test="tests/unit/test_records.py::test_a_window_starts_empty_for_every_lens_and_pass",
    ),
    "a window not reset between variants": Accident(
        "RowContext.pure",
        "window = [*window, int(metrics.top_id[i, 0])][-COPY_WINDOW:]",
        (
            'window = globals().setdefault("windows", {}).setdefault(lens.name, [])\n'
            "window[:] = [*window, int(metrics.top_id[i, 0])][-COPY_WINDOW:]"
        ),
        test="tests/unit/test_records.py::test_a_window_starts_empty_for_every_lens_and_pass",
    ),
    "the norm after the next": Accident(
        "FormulaNorms.apply",
        "self.scale[layers]",
        "self.scale[(layers + 1).clamp(max=self.last)]",
        "rms-rope",
        (
            Sight(PURE, "entropy", "pos/orig layer 0 pos 16"),
            Sight(PURE, "prob1", "pos/orig layer 0 pos 16"),
            Sight(RECORDS, "entropy", "pos/orig layer 0 pos 0"),
        ),
    ),
    "the norm before the next": Accident(
        "FormulaNorms.apply",
        "self.scale[layers]",
        "self.scale[(layers - 1).clamp(min=0)]",
        "rms-rope",
        (
            Sight(PURE, "entropy", "pos/orig layer 1 pos 16"),
            Sight(PURE, "prob1", "pos/orig layer 1 pos 16"),
            Sight(RECORDS, "entropy", "pos/orig layer 1 pos 16"),
        ),
    ),
    "the norm applied twice": Accident(
        "NormLens.decode",
        "self.head.logits(self.norms.apply(x, layers))",
        "self.head.logits(self.norms.apply(self.norms.apply(x, layers), layers))",
        "rms-rope",
        (
            Sight(PURE, "entropy", "pos/orig layer 0 pos 16"),
            Sight(RECORDS, "entropy", "pos/orig layer 0 pos 0"),
        ),
    ),
    "eps outside the root": Accident(
        "FormulaNorms.apply",
        "torch.sqrt(wide.square().mean(-1, keepdim=True) + self.eps[layers])",
        "torch.sqrt(wide.square().mean(-1, keepdim=True)) + self.eps[layers]",
        "big-eps",
        (
            Sight(PURE, "entropy", "pos/orig layer 0 pos 16"),
            Sight(PURE, "kl_to_final_bits", "pos/orig layer 0 pos 16"),
            Sight(RECORDS, "entropy", "pos/orig layer 0 pos 0"),
        ),
    ),
    "a scale without Gemma's + 1": Accident(
        "read_norms",
        "1 + scale",
        "scale",
        "softcap-postnorm",
        (
            Sight(PURE, "entropy", "pos/orig layer 0 pos 16"),
            Sight(RECORDS, "entropy", "pos/orig layer 0 pos 0"),
        ),
    ),
    "softmax over positions": Accident(
        "normalise",
        "total(p)[:, None]",
        "p.sum(0)[None]",
        "rms-rope",
        (
            Sight(PURE, "p_top1", "pos/orig layer 0 pos 16"),
            Sight(PURE, "kl_to_final_bits", "pos/orig layer 0 pos 16"),
        ),
    ),
    "Berlin's id used for Paris": Accident(
        "Tokens.unbounded",
        "self.align(prompt, mended)",
        "self.align(prompt.control or prompt, mended)",
        "fact",
        (
            Sight(PURE, "p_answer", "ctl/orig layer 0 pos 16"),
            Sight(PURE, "control_margin", "ctl/orig layer 0 pos 16"),
            Sight(JSON, "control_prompt.gold_answer.first_id"),
            Sight(JSON, "control_prompt.gold_answer.string", "", "gold"),
        ),
    ),
    "KL reversed": Accident(
        "measure_block",
        "kl_nats(p, against.p.log_raised)",
        "kl_nats(against.p, p.log_p)",
        "fact",
        (
            Sight(PURE, "kl_to_final_bits", "pos/orig layer 0 pos 16"),
            Sight(JSON, "kl_norm_vs_raw_bits", "raw_lens_check.samples[0]"),
            Sight(JSON, "raw_lens_check.summary.max_kl_norm_vs_raw_bits"),
        ),
        alone=True,
    ),
    "entropy in nats": Accident(
        "entropy_bits",
        "nats / log(2)",
        "nats",
        "fact",
        (
            Sight(PURE, "entropy", "pos/orig layer 0 pos 16"),
            Sight(PURE, "entropy_collapse", "pos/orig layer 3 pos 16"),
            Sight(RECORDS, "entropy", "pos/orig layer 0 pos 0"),
            Sight(JSON, "entropy", "test_prompts[0]"),
            Sight(JSON, "final_prediction.entropy"),
        ),
        alone=True,
    ),
    "a rank that counts ties": Accident(
        "rank_of",
        "1 + torch.gt(by, by[:, id_, None], out=flags).sum(-1).long()",
        "torch.ge(by, by[:, id_, None], out=flags).sum(-1).long()",
        "rank-tie",
        (
            Sight(PURE, "answer_rank", "pos/orig layer 0 pos 16"),
            Sight(PURE, "answer_rank", "pos/orig layer 4 pos 16", "rank.list"),
            Sight(JSON, "diagnostics.last_layer_consistency.answer_rank_lens"),
            Sight(JSON, "answer_rank_norm", "raw_lens_check.samples[0]"),
            Sight(JSON, "answer_rank_raw", "raw_lens_check.samples[0]"),
        ),
        alone=True,
    ),
    "rest_mass from unrounded sums": Accident(
        "rest_mass",
        "total = 0.0\nfor p in probs:\n    total += p",
        'total = __import__("math").fsum(probs)',
        test="tests/property/test_rows.py::test_rest_mass_is_the_sum_from_left_to_right",
    ),
    "rest_mass of more than is listed": Accident(
        "RowContext.record",
        "rest_mass(probs)",
        "rest_mass(metrics.top_p[i].tolist())",
        "fact",
        (
            Sight(PURE, "rest_mass", "pos/orig layer 0 pos 16"),
            Sight(RECORDS, "rest_mass", "pos/orig layer 0 pos 0"),
            Sight(PURE, "rest_mass", "pos/orig layer 0 pos 16", "rest-mass"),
            Sight(RECORDS, "rest_mass", "pos/orig layer 0 pos 0", "rest-mass"),
        ),
        alone=True,
    ),
    "the top-k clamp lost": Accident(
        "measure_block",
        "top_ids(z, min(k, z.shape[-1]))",
        "top_ids(z, k)",
        test="tests/unit/test_pipeline.py::test_a_small_vocabulary_and_one_layer_clamp_top_k",
    ),
    "the bias dropped": Accident(
        "read_head",
        "bias = None if linear.bias is None else linear.bias.detach().to(home).float()",
        "bias = None",
        "biased-head",
        (
            Sight(PURE, "entropy", "pos/orig layer 0 pos 16"),
            Sight(PURE, "kl_to_final_bits", "pos/orig layer 0 pos 16"),
            Sight(RECORDS, "prob1", "pos/orig layer 0 pos 0"),
        ),
    ),
    "a float32 copy of the unembedding": Accident(
        "read_head",
        "linear.weight.detach().to(home)",
        "linear.weight.detach().to(home).float()",
        test="tests/unit/test_loading.py::test_the_unembedding_is_the_model_s_own_in_any_precision",
    ),
    "logits in half precision": Accident(
        "half_product",
        "torch.mm(wide, weight[part].float().T, out=z[:, part])",
        "z[:, part].copy_(torch.mm(x.to(weight.dtype), weight[part].T))",
        test="tests/property/test_unembedding.py::test_only_the_additions_round",
    ),
    "a norm in half precision": Accident(
        "FormulaNorms.apply",
        "wide = x.float()",
        "wide = x",
        test="tests/unit/test_lenses.py::test_half_precision_ends_at_the_norm_and_begins_behind_it",
    ),
    "punctuation that counts as a copy": Accident(
        "RowContext.copies",
        "sure and not blank and is_run(window, self.encoded.context_ids)",
        "sure and is_run(window, self.encoded.context_ids)",
        "copies-punctuation",
        (
            Sight(PURE, "copy_collapse", "pos/orig layer 0 pos 16"),
            Sight(JSON, "diagnostics.L_copy"),
            Sight(JSON, "ablation_summary.L_copy_orig"),
            Sight(JSON, "ablation_summary.L_copy_nf"),
            Sight(JSON, "ablation_summary.delta_L_copy"),
        ),
        alone=True,
    ),
    "a carriage return in quotes": Accident(
        "csv_cell",
        "QUOTED.search(text)",
        "QUOTED.search(text) or '\\r' in text",
        "odd-tokens",
        (
            Sight(PURE, "top2", "ctl/orig layer 2 pos 16"),
            Sight(RECORDS, "top3", "pos/orig layer 0 pos 8"),
        ),
        alone=True,
    ),
    "layer 0 saved in another dtype": Accident(
        "normalise_all",
        "{layer: x.clone() for layer, x in zip(residuals, host, strict=True)}",
        (
            "{layer: x.to(x.dtype if layer else torch.float32, copy=True) "
            "for layer, x in zip(residuals, host, strict=True)}"
        ),
        "layernorm-bf16",
        (Sight(RESIDUAL, "dtype", ""),),
        alone=True,
    ),
    "residuals saved un-normalised": Accident(
        "normalise_all",
        "[norms.apply(x, torch.full((x.shape[0],), layer)) for layer, x in residuals.items()]",
        "list(residuals.values())",
        "keep-residuals",
        (Sight(RESIDUAL, "value", "pos 8 component 21"),),
        alone=True,
    ),
    "Prism rows for the wrong variant": Accident(
        "tables_of",
        "[row for result in passes for row in result.pure[lens]]",
        '[row for result in passes for row in (result if lens == "norm" else passes[0]).pure[lens]]',
        "fact-prism",
        (
            Sight(PURE_PRISM, "", "pos/no_filler layer 0 pos 15"),
            Sight(PURE_PRISM, "", "pos/no_filler layer 0 pos 15", "rows.missing"),
            Sight(PURE_PRISM, "", "pos/orig layer 0 pos 16 #2", "rows.extra"),
        ),
    ),
    "Prism rows from the norm lens's numbers": Accident(
        "PassRunner.result",
        "row_of.pure(rows, metrics.by_lens[lens.name], lens)",
        'row_of.pure(rows, metrics.by_lens["norm"], lens)',
        "fact-prism",
        (
            Sight(PURE_PRISM, "top1", "pos/orig layer 0 pos 16"),
            Sight(PURE_PRISM, "entropy", "pos/orig layer 0 pos 16"),
            Sight(PURE_PRISM, "kl_to_final_bits", "pos/orig layer 0 pos 16"),
        ),
    ),
}
