"""The schema accepts every capture and refuses each corruption of one, naming rule, row and column."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from spec import reading_csv
from spec.golden import GOLDEN, load_cases
from spec.reading import read_run, sole_run
from spec.schema import RULES, Violation, validate
from spec.schema_rows import Facts, is_float32

Capture = Callable[[str], Path]
Change = Callable[[Path], None]
PURE, RECORDS, PURE_PRISM, RECORDS_PRISM = "pure-next-token", "records", "pure-next-token-prism", "records-prism"
ROW0 = "pos/orig layer 0 pos 16"


def csv_path(folder: Path, kind: str) -> Path:
    return folder / f"output-{sole_run(folder)}-{kind}.csv"


def lines(kind: str, change: Callable[[list[list[str]]], Any]) -> Change:
    """A change of a table's decoded lines, header first: in place, or a new list of lines."""

    def apply(folder: Path) -> None:
        path = csv_path(folder, kind)
        table = reading_csv.parse(path.read_text(encoding="utf-8"))
        content = [list(table.header), *map(list, table.rows)]
        changed = change(content)
        content = changed if changed and isinstance(changed[0], list) else content
        path.write_text("".join(",".join(map(reading_csv.encode, line)) + "\n" for line in content), encoding="utf-8")

    return apply


def cell(kind: str, row: int, column: str, text: str | Callable[[float], float]) -> Change:
    """A change of one cell of the row-th data row."""

    def change(content: list[list[str]]) -> None:
        at = content[0].index(column)
        old = content[row + 1][at]
        content[row + 1][at] = text if isinstance(text, str) else repr(text(float(old)))

    return lines(kind, change)


def raw(kind: str, old: str, new: str) -> Change:
    """A change of a table's text as written."""

    def apply(folder: Path) -> None:
        path = csv_path(folder, kind)
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return apply


def document(change: Callable[[dict[str, Any]], Any], indent: int = 2) -> Change:
    """A change of the document."""

    def apply(folder: Path) -> None:
        path = folder / f"output-{sole_run(folder)}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content, indent=indent, ensure_ascii=False), encoding="utf-8")

    return apply


def key(*path: str | int, value: Any) -> Change:
    """A change of one leaf of the document."""

    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value(inner[path[-1]]) if callable(value) else value

    return document(change)


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def both(*changes: Change) -> Change:
    def apply(folder: Path) -> None:
        for change in changes:
            change(folder)

    return apply


def tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    def apply(folder: Path) -> None:
        torch.save(change(torch.load(folder / name, weights_only=True)), folder / name)

    return apply


def swap(content: list[list[str]]) -> None:
    content[2], content[3] = content[3], content[2]


def nan_at(values: torch.Tensor) -> torch.Tensor:
    values = values.clone()
    values[0, 2, 3] = float("nan")
    return values


# name: (case, change, rule, file part, row, column)
CORRUPTIONS: dict[str, tuple[str, Change, str, str, str, str]] = {
    "column renamed": (
        "fact",
        lines(PURE, lambda c: c[0].__setitem__(47, "copied")),
        "csv.header",
        PURE,
        "header",
        "copy_collapse",
    ),
    "column dropped": (
        "fact",
        lines(RECORDS, lambda c: [r[:-1] for r in c]),
        "csv.header",
        RECORDS,
        "header",
        "rest_mass",
    ),
    "row too short": ("fact", lines(PURE, lambda c: c[1].pop()), "csv.width", PURE, ROW0, ""),
    "needless quotes": ("fact", raw(PURE, "⟨NEXT⟩", '"⟨NEXT⟩"'), "csv.dialect", PURE, ROW0, "token"),
    "single backslash": (
        "attn-bias",
        raw(RECORDS, "\\\\,", "\\a,"),
        "csv.dialect",
        RECORDS,
        "pos/orig layer 0 pos 7",
        "top5",
    ),
    "float without point": ("fact", cell(PURE, 0, "entropy", "2"), "cell.type", PURE, ROW0, "entropy"),
    "NaN": ("fact", cell(PURE, 2, "cos_to_final", "nan"), "cell.type", PURE, "pos/orig layer 2 pos 16", "cos_to_final"),
    "rank as float": ("fact", cell(PURE, 0, "answer_rank", "47.0"), "cell.type", PURE, ROW0, "answer_rank"),
    "flag in lower case": ("fact", cell(PURE, 0, "is_answer", "false"), "cell.type", PURE, ROW0, "is_answer"),
    "empty entropy": (
        "fact",
        cell(RECORDS, 0, "entropy", ""),
        "cell.type",
        RECORDS,
        "pos/orig layer 0 pos 0",
        "entropy",
    ),
    "another token": (
        "fact",
        cell(PURE, 3, "token", " simply"),
        "cell.fixed",
        PURE,
        "pos/orig layer 3 pos 16",
        "token",
    ),
    "layer missing": ("fact", lines(PURE, lambda c: c.pop(3)), "rows.missing", PURE, "pos/orig layer 2 pos 16", ""),
    "position missing": (
        "fact",
        lines(RECORDS, lambda c: c.pop(3)),
        "rows.missing",
        RECORDS,
        "pos/orig layer 0 pos 2",
        "",
    ),
    "last layer missing": (
        "fact",
        lines(RECORDS, lambda c: c.pop()),
        "rows.missing",
        RECORDS,
        "pos/orig layer 6 pos 16",
        "",
    ),
    "row twice": (
        "fact",
        lines(PURE, lambda c: c.insert(3, c[2])),
        "rows.extra",
        PURE,
        "pos/orig layer 1 pos 16 #2",
        "",
    ),
    "rows swapped": ("fact", lines(PURE, swap), "rows.order", PURE, "pos/orig layer 2 pos 16", ""),
    "gap in the pairs": ("fact", cell(PURE, 0, "prob3", ""), "topk.padding", PURE, ROW0, "prob3"),
    "six pairs": (
        "fact",
        both(cell(PURE, 0, "top6", "x"), cell(PURE, 0, "prob6", "0.0")),
        "topk.count",
        PURE,
        ROW0,
        "top6",
    ),
    "keyword token with five pairs": (
        "fact",
        lines(RECORDS, lambda c: c[1].__setitem__(4, " Word,")),
        "topk.count",
        RECORDS,
        "pos/orig layer 0 pos 0",
        "top6",
    ),
    "rising probabilities": ("fact", cell(PURE, 0, "prob4", "0.5"), "topk.descending", PURE, ROW0, "prob4"),
    "probability over 1": ("fact", cell(PURE, 0, "prob1", "1.5"), "probability.range", PURE, ROW0, "prob1"),
    "float64 probability": ("fact", cell(PURE, 0, "prob2", lambda p: p + 1e-12), "float32", PURE, ROW0, "prob2"),
    "float64 cosine": (
        "fact",
        cell(PURE, 0, "cos_to_final", lambda p: p + 1e-12),
        "float32",
        PURE,
        ROW0,
        "cos_to_final",
    ),
    "rest_mass by another sum": (
        "fact",
        cell(PURE, 0, "rest_mass", lambda p: p + 2**-53),
        "rest-mass",
        PURE,
        ROW0,
        "rest_mass",
    ),
    "entropy over log2 V": ("fact", cell(PURE, 0, "entropy", "7.0"), "entropy.range", PURE, ROW0, "entropy"),
    "entropy in the negative": (
        "fact",
        cell(RECORDS, 4, "entropy", "-0.5"),
        "entropy.range",
        RECORDS,
        "pos/orig layer 0 pos 4",
        "entropy",
    ),
    "negative KL": ("fact", cell(PURE, 0, "kl_to_final_bits", "-0.5"), "kl.range", PURE, ROW0, "kl_to_final_bits"),
    "cosine over 1": ("fact", cell(PURE, 0, "cos_to_final", "1.5"), "cos.range", PURE, ROW0, "cos_to_final"),
    "rank 0": ("fact", cell(PURE, 0, "answer_rank", "0"), "rank.range", PURE, ROW0, "answer_rank"),
    "rank over V": ("fact", cell(PURE, 0, "answer_rank", "116"), "rank.range", PURE, ROW0, "answer_rank"),
    "rank against the list": (
        "fact",
        cell(PURE, 3, "answer_rank", "3"),
        "rank.list",
        PURE,
        "pos/orig layer 3 pos 16",
        "answer_rank",
    ),
    "p_top1 of another row": ("fact", cell(PURE, 0, "p_top1", "0.5"), "p-top1", PURE, ROW0, "p_top1"),
    "p_top5 of another row": ("fact", cell(PURE, 0, "p_top5", "0.75"), "p-top5", PURE, ROW0, "p_top5"),
    "answer at rank 47": ("fact", cell(PURE, 0, "is_answer", "True"), "is-answer", PURE, ROW0, "is_answer"),
    "answer by another text": (
        "dropped-answer",
        cell(PURE, 0, "is_answer", "True"),
        "is-answer",
        PURE,
        ROW0,
        "is_answer",
    ),
    "entropy flag flipped": (
        "fact",
        cell(PURE, 0, "entropy_collapse", "True"),
        "entropy-collapse",
        PURE,
        ROW0,
        "entropy_collapse",
    ),
    "copy under the threshold": (
        "fact",
        cell(PURE, 0, "copy_collapse", "True"),
        "copy-collapse",
        PURE,
        ROW0,
        "copy_collapse",
    ),
    "margin in a pos row": (
        "fact",
        cell(PURE, 0, "control_margin", "0.5"),
        "control-margin",
        PURE,
        ROW0,
        "control_margin",
    ),
    "margin over p_answer": (
        "fact",
        cell(PURE, 14, "control_margin", "0.5"),
        "control-margin",
        PURE,
        "ctl/orig layer 0 pos 16",
        "control_margin",
    ),
    "margin gone": (
        "fact",
        cell(PURE, 15, "control_margin", ""),
        "control-margin",
        PURE,
        "ctl/orig layer 1 pos 16",
        "control_margin",
    ),
    "p_answer gone": ("fact", cell(PURE, 0, "p_answer", ""), "answer.presence", PURE, ROW0, "p_answer"),
    "Prism row of layer 0": (
        "fact-prism",
        lines(RECORDS_PRISM, lambda c: c[1].__setitem__(2, "0")),
        "rows.missing",
        RECORDS_PRISM,
        "pos/orig layer 1 pos 16",
        "",
    ),
    "Prism pass missing": (
        "fact-prism",
        lines(PURE_PRISM, lambda c: c[:-1]),
        "rows.missing",
        PURE_PRISM,
        "ctl/orig layer 6 pos 16",
        "",
    ),
    "Prism file gone": (
        "fact-prism",
        remove("output-Fact-prism-records-prism.csv"),
        "prism.files",
        RECORDS_PRISM,
        "",
        "",
    ),
    "Prism called unusable": (
        "fact-prism",
        key("diagnostics", "prism_summary", "compatible", value=False),
        "prism.files",
        PURE_PRISM,
        "",
        "",
    ),
    "Prism without a reason": (
        "fact",
        key("diagnostics", "prism_summary", "error", value=None),
        "prism.summary",
        ".json",
        "",
        "diagnostics.prism_summary.error",
    ),
    "key missing": (
        "fact",
        document(lambda d: d["model_stats"].pop("n_heads")),
        "json.keys",
        ".json",
        "",
        "model_stats.n_heads",
    ),
    "key too many": ("fact", document(lambda d: d.update(extra=1)), "json.keys", ".json", "", "extra"),
    "keys sorted": (
        "fact",
        document(lambda d: d.update(model_stats=dict(sorted(d["model_stats"].items())))),
        "json.keys",
        ".json",
        "",
        "model_stats.type",
    ),
    "layer as float": ("fact", key("diagnostics", "L_copy", value=1.0), "json.type", ".json", "", "diagnostics.L_copy"),
    "list as object": ("fact", key("test_prompts", value={}), "json.type", ".json", "", "test_prompts"),
    "another prompt": (
        "fact",
        key("test_prompts", 2, "prompt", value="Berlin is the capital of"),
        "json.value",
        ".json",
        "test_prompts[2]",
        "prompt",
    ),
    "a test prompt gone": (
        "fact",
        document(lambda d: d["test_prompts"].pop()),
        "json.value",
        ".json",
        "test_prompts[13]",
        "prompt",
    ),
    "another layout": ("fact", document(lambda d: None, indent=1), "json.layout", ".json", "", "layout"),
    "nine pairs": (
        "fact",
        document(lambda d: d["test_prompts"][0]["topk"].pop()),
        "topk.list",
        ".json",
        "test_prompts[0]",
        "topk",
    ),
    "rising JSON list": (
        "fact",
        key("final_prediction", "topk", 3, 1, value=0.5),
        "topk.list",
        ".json",
        "final_prediction.topk[3]",
        "p",
    ),
    "JSON entropy out of range": (
        "fact",
        key("final_prediction", "entropy", value=9.0),
        "entropy.range",
        ".json",
        "",
        "final_prediction.entropy",
    ),
    "another model's name": (
        "fact",
        key("diagnostics", "model", value="tiny/Facts"),
        "model-name",
        ".json",
        "",
        "diagnostics.model",
    ),
    "L_semantic moved": (
        "fact",
        key("diagnostics", "L_semantic", value=5),
        "milestones",
        ".json",
        "",
        "diagnostics.L_semantic",
    ),
    "first KL moved": (
        "fact",
        key("diagnostics", "first_kl_below_0.5", value=3),
        "milestones",
        ".json",
        "",
        "diagnostics.first_kl_below_0.5",
    ),
    "first rank gone": (
        "fact",
        key("diagnostics", "first_rank_le_5", value=None),
        "milestones",
        ".json",
        "",
        "diagnostics.first_rank_le_5",
    ),
    "ablation of another run": (
        "fact",
        key("ablation_summary", "L_sem_nf", value=5),
        "ablation",
        ".json",
        "",
        "ablation_summary.L_sem_nf",
    ),
    "largest margin wrong": (
        "fact",
        key("control_summary", "max_control_margin", value=0.5),
        "control-summary",
        ".json",
        "",
        "control_summary.max_control_margin",
    ),
    "last layer of another run": (
        "fact",
        key("diagnostics", "last_layer_consistency", "p_top1_lens", value=0.5),
        "last-layer",
        ".json",
        "",
        "diagnostics.last_layer_consistency.p_top1_lens",
    ),
    "temperature off the grid": (
        "fact",
        key("diagnostics", "last_layer_consistency", "temp_est", value=1.0625),
        "last-layer",
        ".json",
        "",
        "diagnostics.last_layer_consistency.temp_est",
    ),
    "warning without cause": (
        "fact",
        key("diagnostics", "last_layer_consistency", "warn_high_last_layer_kl", value=True),
        "last-layer",
        ".json",
        "",
        "diagnostics.last_layer_consistency.warn_high_last_layer_kl",
    ),
    "raw sample of another layer": (
        "fact",
        key("raw_lens_check", "samples", 1, "layer", value=3),
        "raw-lens.layers",
        ".json",
        "",
        "raw_lens_check.samples",
    ),
    "raw sample off its row": (
        "fact",
        key("raw_lens_check", "samples", 1, "p_top1_norm", value=0.5),
        "raw-lens.rows",
        ".json",
        "raw_lens_check.samples[1]",
        "p_top1_norm",
    ),
    "risk played down": (
        "fact",
        key("raw_lens_check", "summary", "lens_artifact_risk", value="low"),
        "raw-lens.summary",
        ".json",
        "",
        "raw_lens_check.summary.lens_artifact_risk",
    ),
    "gold of two minds": (
        "fact",
        key("gold_answer", "first_id", value=26),
        "gold",
        ".json",
        "",
        "gold_answer.first_id",
    ),
    "alignment wrong": (
        "dropped-answer",
        key("diagnostics", "gold_alignment", value="ok"),
        "gold",
        ".json",
        "",
        "diagnostics.gold_alignment",
    ),
    "residual gone": ("keep-residuals", remove("Keep-residuals_03_resid.pt"), "residual.files", "_03_resid.pt", "", ""),
    "residual without batch": (
        "keep-residuals",
        tensor("Keep-residuals_03_resid.pt", lambda t: t[0]),
        "residual.shape",
        "_03_resid.pt",
        "",
        "shape",
    ),
    "residual with NaN": (
        "keep-residuals",
        tensor("Keep-residuals_01_resid.pt", nan_at),
        "residual.shape",
        "_01_resid.pt",
        "",
        "value",
    ),
    "records gone": ("fact", remove("output-Fact-records.csv"), "file.missing", RECORDS, "", ""),
    "stray file": ("fact", lambda folder: (folder / "core").touch() or None, "file.stray", "core", "", ""),
    "document cut off": (
        "fact",
        lambda folder: (folder / "output-Fact.json").write_text("{") and None,
        "file.readable",
        ".json",
        "",
        "",
    ),
    "last line feed gone": (
        "fact",
        raw(PURE, "0.9582620203727856\n", "0.9582620203727856"),
        "csv.end",
        PURE,
        "last line",
        "",
    ),
}


@pytest.mark.parametrize("case", load_cases())
def test_every_capture_is_accepted(case: str) -> None:
    assert validate(read_run(GOLDEN / "outputs" / case)) == []


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_is_refused_and_located(name: str, capture: Capture) -> None:
    case, change, rule, file, row, column = CORRUPTIONS[name]
    folder = capture(case)
    change(folder)
    found = [v for v in validate(read_run(folder, read_run(GOLDEN / "outputs" / case).clean)) if v.rule == rule]
    places = [(v.row, v.column) for v in found if re.search(rf"{re.escape(file)}(\.csv)?$", v.file)]
    assert (row, column) in places, found
    assert len(places) <= 2, places


def test_every_rule_is_broken_by_some_corruption() -> None:
    assert {rule for _, _, rule, _, _, _ in CORRUPTIONS.values()} == set(RULES)


def test_a_bare_and_a_quoted_carriage_return_are_both_read(capture: Capture) -> None:
    folder = capture("fact")
    path = csv_path(folder, PURE)
    text = path.read_text(encoding="utf-8")
    for written in ("\r", '"\r"'):
        with path.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text.replace("country", written, 1))
        run = read_run(folder)
        assert run.tables[PURE].column("top2", 0) == "\r"
        assert validate(run) == []


def test_a_vocabulary_under_twenty_clamps_k(capture: Capture) -> None:
    folder = capture("fact")
    key("model_stats", "d_vocab", value=12)(folder)
    found = {v.column for v in validate(read_run(folder)) if v.rule == "topk.count"}
    assert found == {"top13"}


def test_an_unreadable_document_leaves_the_tables_judged(capture: Capture) -> None:
    folder = capture("fact")
    (folder / "output-Fact.json").write_text("{")
    cell(PURE, 0, "entropy_collapse", "True")(folder)
    rules = [v.rule for v in validate(read_run(folder, "Fact"))]
    assert rules == ["file.readable", "entropy-collapse"]


def test_a_violation_reads_as_a_sentence() -> None:
    told = str(Violation("a.csv", "pos/orig layer 0 pos 1", "entropy", "entropy.range", "9.0"))
    assert told == "a.csv, pos/orig layer 0 pos 1, entropy: entropy.range: entropy lies in [0, log2 V] bits; got 9.0"
    with pytest.raises(ValueError, match="a violation names a rule of RULES, got 'no-such'"):
        Violation("a.csv", "", "", "no-such", "")


def test_facts_need_a_token() -> None:
    with pytest.raises(ValueError, match="at least one token, got 0"):
        Facts(vocabulary=0)


def test_float32_origin() -> None:
    assert is_float32(0.10000000149011612)
    assert not is_float32(0.1)
    assert not is_float32(1e300)
