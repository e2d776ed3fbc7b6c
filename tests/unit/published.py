"""Run directories in the layouts of the reference's other dates, made from a golden output.

Columns are added where the published files have them, and taken away where they lack them. Added values are arbitrary.
"""

import csv
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from lenses_min.output.run import Run
from lenses_min.report import terminal

GOLDEN = Path(__file__).parents[2] / "golden" / "outputs" / "fact-prism"
NAME = "Meta-Llama-3.1-8B"
FACTS = ("Germany→Berlin", "France→Paris", "Italy→Rome")
Rows = list[dict[str, str]]

METRICS = [
    "p_top1",
    "p_top5",
    "p_answer",
    "kl_to_final_bits",
    "answer_rank",
    "cos_to_final",
    "control_margin",
]
SOFT = {
    "copy_strict@0.95": "copy_collapse",
    "copy_soft_k1@0.5": "copy_strict@0.95",
    "copy_soft_k2@0.5": "copy_soft_k1@0.5",
    "copy_soft_k3@0.5": "copy_soft_k2@0.5",
}  # a column: the one it stands behind
SURFACE = SOFT | {
    "teacher_entropy_bits": "p_answer",
    "kl_to_final_bits_norm_temp": "kl_to_final_bits",
    "cos_to_answer": "cos_to_final",
    "cos_to_prompt_max": "cos_to_answer",
    "geom_crossover": "cos_to_prompt_max",
    "echo_mass_prompt": "geom_crossover",
    "answer_mass": "echo_mass_prompt",
    "answer_minus_echo_mass": "answer_mass",
    "mass_ratio_ans_over_prompt": "answer_minus_echo_mass",
    "topk_prompt_mass@50": "mass_ratio_ans_over_prompt",
}
GAPS = SURFACE | {
    "copy_strict@0.7": "copy_strict@0.95",
    "copy_strict@0.8": "copy_strict@0.7",
    "copy_strict@0.9": "copy_strict@0.8",
    "resid_norm_ratio": "control_margin",
    "delta_resid_cos": "resid_norm_ratio",
    "answer_logit_gap": "delta_resid_cos",
    "answer_vs_top1_gap": "answer_logit_gap",
}
SUITE = GAPS | {
    "entropy_bits": "entropy",
    "answer_minus_uniform": "p_answer",
    "semantic_margin_ok": "answer_minus_uniform",
    "topk_jaccard_raw_norm@50": "answer_rank",
    "topk_jaccard_consecutive@50": "topk_jaccard_raw_norm@50",
}
RAWLENS = [
    "prompt_id",
    "prompt_variant",
    "layer",
    "p_top1_raw",
    "top1_token_id_raw",
    "top1_token_str_raw",
    "kl_norm_vs_raw_bits",
    "norm_only_semantics",
]
AUDITS = {
    "milestones": "layer,is_copy_strict,lens\n,False,norm\n4,True,raw\n",
    "artifact-audit": "layer,js_divergence,risk_tier\n_summary,0.5,high\n0,0.25,\n6,0.75,\n",
    "positions-tuned-audit": "pos_frac,pos_index,layer\n0.2,3,1\n0.98,16,6\n",
    "pure-next-token-tuned-variants": "layer,kl_bits_baseline,rank_shift_tuned\n1,10.5,0\n6,0.0,1\n",
    "of-a-later-date": "word,count\nyes,1\n007,2\n",
}
COLUMNS = {  # of the pure table
    "2025-06-29": 48,
    "2025-08-24": 48,
    "2025-08-30": 57,
    "2025-09-23": 61,
    "2025-09-28": 71,
    "2025-10-04": 78,
    "2025-10-13": 85,
}
DATES = tuple(COLUMNS)


def golden(kind: str) -> Rows:
    with (GOLDEN / f"output-Fact-prism-{kind}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, escapechar="\\", strict=True))


def encode(cell: str, quoted: str) -> str:
    """A cell of the reference's dialect; `quoted` are the characters that ask for quotes."""
    text = cell.replace("\\", "\\\\").replace('"', '""')
    return f'"{text}"' if any(c in cell for c in quoted) else cell.replace("\\", "\\\\")


def text_of(lines: Sequence[Sequence[str]], date: str) -> str:
    """June: the csv module's own dialect; from August on the reference's, a carriage return quoted or bare."""
    if date == "2025-06-29":
        csv.writer(stream := io.StringIO(newline="")).writerows(lines)
        return stream.getvalue()
    quoted = ',"\n\r' if date in ("2025-08-30", "2025-10-13") else ',"\n'
    return "".join(",".join(encode(cell, quoted) for cell in line) + "\n" for line in lines)


def widened(rows: Rows, behind: dict[str, str]) -> Rows:
    """The rows with further columns, each behind another; flags, numbers, or nothing."""
    values = random.Random(1)
    for column, other in behind.items():
        if other in rows[0]:
            names = list(rows[0])
            names.insert(names.index(other) + 1, column)
            flag = column.startswith(("copy_", "geom_", "semantic_"))
            rows = [{n: row[n] if n in row else drawn(values, flag) for n in names} for row in rows]
    return rows


def drawn(values: random.Random, flag: bool) -> str:
    if values.random() < 0.1:
        return ""
    return str(values.random() < 0.5) if flag else repr(values.gauss(0, 1))


def with_facts(rows: Rows) -> Rows:
    """Every prompt but the control asked of several facts, and the fact in front."""
    main = [row for row in rows if row["prompt_id"] == "pos"]
    control = [{"fact_key": "", "fact_index": ""} | row for row in rows if row not in main]
    facts = enumerate(FACTS)
    return [{"fact_key": f, "fact_index": str(i)} | row for i, f in facts for row in main] + control


def table(kind: str, date: str) -> Rows:
    """A table of a lens, as the runs of a date have it."""
    source = kind.replace("-tuned", "")
    rows = golden(source)
    if kind.startswith("records") and date >= "2025-08-30":
        rows += [row | {"prompt_id": "ctl"} for row in rows]  # of all prompts
    rows[0] = rows[0] | {"top2": "\\CMS", "top3": "a\r", "top4": '"\r\n', "top5": ""}
    if kind.endswith("-tuned"):
        rows = [row for row in rows if row["layer"] != "0"]
    if date < "2025-08-30":
        rows = [row for row in rows if (row["prompt_id"], row["prompt_variant"]) == ("pos", "orig")]
        without = {"prompt_id", "prompt_variant", *METRICS}
        return [{n: cell for n, cell in row.items() if n not in without} for row in rows]
    added = {"2025-09-23": SOFT, "2025-09-28": SURFACE, "2025-10-04": GAPS, "2025-10-13": SUITE}
    rows = widened(rows, added.get(date, {}))
    return with_facts(rows) if date >= "2025-10-13" else rows


def rawlens(date: str) -> Rows:
    values = random.Random(2)
    rows = [
        {n: row.get(n, "") for n in RAWLENS}
        | {"p_top1_raw": drawn(values, False), "top1_token_id_raw": "42"}
        | {"top1_token_str_raw": values.choice(["\\", "1", "nan", "", "\r"])}
        | {"kl_norm_vs_raw_bits": "0.5", "norm_only_semantics": "False"}
        for row in golden("pure-next-token")
    ]
    return with_facts(rows) if date >= "2025-10-13" else rows


def document(date: str) -> dict[str, Any]:
    """The document of a date, as far as anything here reads it."""
    content = json.loads((GOLDEN / "output-Fact-prism.json").read_text(encoding="utf-8"))
    content["diagnostics"]["model"] = f"meta-llama/{NAME}"
    if date < "2025-08-30":
        for key in ("raw_lens_check", "ablation_summary", "control_prompt", "control_summary"):
            del content[key]
        del content["gold_answer"], content["diagnostics"]["last_layer_consistency"]
    if date >= "2025-10-13":
        content["prompt"] |= {"fact_key": FACTS[0], "fact_index": 0}
        content["prompts"] = {"facts_micro_suite": list(FACTS)}
        content["diagnostics"]["gold_alignment"] = {"ok": True, "status": "ok"}
        content["raw_lens_check"]["samples"] *= len(FACTS)
    return content


def kinds(date: str) -> list[str]:
    """The tables of lenses that the runs of a date have."""
    lenses = ["", "-prism"] if date >= "2025-09-23" else [""]
    lenses += ["-tuned"] if date >= "2025-09-28" else []
    return [f"{stem}{lens}" for lens in lenses for stem in ("records", "pure-next-token")]


def write(folder: Path, date: str, name: str = NAME) -> Path:
    """A run directory of a date; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {kind: table(kind, date) for kind in kinds(date)}
    if date >= "2025-10-04":
        tables["pure-next-token-rawlens"] = rawlens(date)
        tables["pure-next-token-rawlens-window"] = rawlens(date)[:4]
    texts = {
        kind: text_of([list(rows[0]), *(list(row.values()) for row in rows)], date)
        for kind, rows in tables.items()
    }
    texts |= AUDITS if date >= "2025-10-13" else {}
    for kind, text in texts.items():
        (folder / f"output-{name}-{kind}.csv").write_bytes(text.encode())
    document_text = json.dumps(document(date), indent=2, ensure_ascii=False)
    (folder / f"output-{name}.json").write_bytes(document_text.encode())
    return folder


def read(path: Path, date: str) -> list[list[str]]:
    """The cells of a file, header first, by Python's csv module alone."""
    text = path.read_bytes().decode()
    if date == "2025-06-29":
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    hidden = io.StringIO(text.replace("\r", "\ue00d"), newline="\n")
    lines = csv.reader(hidden, escapechar="\\", strict=True)
    return [[cell.replace("\ue00d", "\r") for cell in line] for line in lines]


def shown(run: Run) -> str:
    """What `lenses-min show` prints of a run."""
    stream = io.StringIO()
    terminal.show([run], out=Console(file=stream, width=100, markup=False))
    return stream.getvalue()
