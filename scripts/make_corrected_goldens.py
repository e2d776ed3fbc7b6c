"""Write the goldens of the corrected contract with an implementation that shares no code with the runner.

    python scripts/make_corrected_goldens.py DIR [CASE …]      # these cases, by default all, into new folders of DIR

golden/corrected is the output of this script. Another processor writes other last digits, so an existing case is never
overwritten.

Plain transformers runs each tiny model (corrected_model.py), forward hooks record the residuals, and spec/oracle.py
computes every number in float64 (corrected_tables.py). What no lens changes (the model's own predictions, the gold
answers, the model's sizes) is taken from the capture of run.py on the same case.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from operator import ge
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from corrected_model import PASSES, CaseModel, Forward
from corrected_tables import Row, Rows, agreement_rows, f32, pure_rows, record_rows

from spec import oracle
from spec.golden import (
    CORRECTED_CASES,
    CORRECTED_LENSES,
    GOLDEN,
    MANIFEST,
    file_hashes,
    load_cases,
)
from spec.runs import columns

DIFFERS = {
    "R1": "the model's own norm module is called, LayerNorm with its centring and bias",
    "R2": "layernorm_bias_fix, norm_alignment_fix and layer0_norm_fix say what is done here",
    "R3": "the model's own soft cap or logit scale is applied to the logits of every lens; cfg_transform reports it",
    "R4": "records have every layer and position",
    "R5": "CSV in the dialect of Python's csv module; a text that would be read as something else is a JSON string",
    "R6": "where an answer has no id, is_answer compares with the pass's own answer",
    "R7": "Prism records have the rows of the norm lens",
    "rank": "answer_rank counts logits: probabilities too small for float32 tie at 0",
}
NORM_FIXES = {
    "layernorm_bias_fix": "model_norm_module_called",
    "layer0_norm_fix": "norm_that_reads_the_embeddings",
    "norm_alignment_fix": "norm_that_reads_the_layer_next",
}


def first_layer(rows: Rows, column: str, holds: Callable[[Any], bool] = bool) -> int | None:
    return oracle.first_layer([row[column] for row in rows], holds)


def difference(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a - b


def rows_of_pass(rows: Rows, prompt_id: str, variant: str) -> Rows:
    return [
        row for row in rows if (row["prompt_id"], row["prompt_variant"]) == (prompt_id, variant)
    ]


def milestones(rows: Rows) -> Row:
    """Return the milestones over the pure-next-token rows of pos/orig."""
    result: Row = {
        "L_copy": first_layer(rows, "copy_collapse"),
        "L_copy_H": first_layer(rows, "entropy_collapse"),
        "L_semantic": first_layer(rows, "is_answer"),
    }
    result["delta_layers"] = difference(result["L_semantic"], result["L_copy"])
    for limit in (0.5, 1.0):
        result[f"first_kl_below_{limit}"] = first_layer(
            rows, "kl_to_final_bits", partial(ge, limit)
        )
    for limit in (1, 5, 10):
        result[f"first_rank_le_{limit}"] = first_layer(rows, "answer_rank", partial(ge, limit))
    return result


def ablation_summary(main: Row, ablation_rows: Rows) -> Row:
    """Return the milestones of pos/orig, those of pos/no_filler, and their differences."""
    copy = first_layer(ablation_rows, "copy_collapse")
    semantic = first_layer(ablation_rows, "is_answer")
    return {
        "L_copy_orig": main["L_copy"],
        "L_sem_orig": main["L_semantic"],
        "L_copy_nf": copy,
        "L_sem_nf": semantic,
        "delta_L_copy": difference(copy, main["L_copy"]),
        "delta_L_sem": difference(semantic, main["L_semantic"]),
    }


def control_summary(rows: Rows) -> Row:
    margins = [row["control_margin"] for row in rows if row["control_margin"] is not None]
    return {
        "first_control_margin_pos": first_layer(rows, "control_margin", lambda value: value > 0),
        "max_control_margin": max(margins, default=None),
    }


def last_layer_consistency(model: CaseModel, forward: Forward, last_row: Row) -> Row:
    """Compare layer n of pos/orig with the model's own output."""
    _, residuals, final = forward
    z = model.logits("norm", residuals[-1, -1], model.n_layers)
    q = oracle.softmax(final)
    temperature, kl_after = oracle.temperature_estimate(z, q)
    return model.document["diagnostics"]["last_layer_consistency"] | {
        "kl_to_final_bits": last_row["kl_to_final_bits"],
        "top1_agree": bool(np.argmax(z) == np.argmax(final)),
        "p_top1_lens": last_row["p_top1"],
        "p_top1_model": f32(q.max()),
        "p_answer_lens": last_row["p_answer"],
        "answer_rank_lens": last_row["answer_rank"],
        "temp_est": f32(temperature),
        "kl_after_temp_bits": kl_after,
        "cfg_transform": {"scale": None, "softcap": model.soft_cap},
        "warn_high_last_layer_kl": last_row["kl_to_final_bits"] > 0.5,
    }


def raw_lens_sample(model: CaseModel, x: oracle.Array, layer: int) -> Row:
    """Compare norm lens and raw lens on one residual [D]."""
    answer_id = model.answer_ids["pos"]
    p = {lens: oracle.softmax(model.logits(lens, x, layer)) for lens in ("norm", "raw")}
    ranks = {lens: oracle.answer_rank(p[lens], answer_id) for lens in p}
    sample: Row = {"layer": layer, "kl_norm_vs_raw_bits": oracle.kl_bits(p["norm"], p["raw"])}
    sample["top1_agree"] = bool(np.argmax(p["norm"]) == np.argmax(p["raw"]))
    sample |= {f"p_top1_{lens}": f32(p[lens].max()) for lens in p}
    for lens in p:
        sample[f"p_answer_{lens}"] = None if answer_id is None else f32(p[lens][answer_id])
    sample |= {f"answer_rank_{lens}": ranks[lens] for lens in p}
    return sample | {f"is_answer_{lens}": ranks[lens] == 1 for lens in p}


def raw_lens_check(model: CaseModel, residuals: oracle.Array) -> Row:
    """Compare norm lens and raw lens at the last position of pos/orig; residuals [L, S, D]."""
    mode = model.document["raw_lens_check"]["mode"]
    layers = oracle.raw_lens_layers(model.n_layers, mode)
    samples = [raw_lens_sample(model, residuals[layer, -1], layer) for layer in layers]
    norm_only = [s["layer"] for s in samples if s["is_answer_norm"] and not s["is_answer_raw"]]
    largest_kl = max((sample["kl_norm_vs_raw_bits"] for sample in samples), default=None)
    risk = None if largest_kl is None else oracle.raw_lens_risk(largest_kl, bool(norm_only))
    summary = {
        "first_norm_only_semantic_layer": norm_only[0] if norm_only else None,
        "max_kl_norm_vs_raw_bits": largest_kl,
        "lens_artifact_risk": risk,
    }
    return {"mode": mode, "samples": samples, "summary": summary}


def corrected_document(model: CaseModel, forwards: Sequence[Forward], pure: Rows) -> Row:
    """Return the capture's document with every value that depends on a lens computed anew."""
    main, ablation, control = (rows_of_pass(pure, *names) for *names, _ in PASSES)
    captured = model.document
    main_milestones = milestones(main)
    consistency = last_layer_consistency(model, forwards[0], main[-1])
    computed = {
        "diagnostics": captured["diagnostics"]
        | main_milestones
        | NORM_FIXES
        | {"last_layer_consistency": consistency},
        "raw_lens_check": raw_lens_check(model, forwards[0][1]),
        "ablation_summary": ablation_summary(main_milestones, ablation),
        "control_summary": control_summary(control),
    }
    return {
        "contract": "corrected",
        "differs": [{"id": key, "corrected": text} for key, text in DIFFERS.items()],
        **{key: computed.get(key, value) for key, value in captured.items()},
    }


def cell(value: Any) -> Any:
    """Return a text as it is if pandas reads it back unchanged, otherwise as a JSON string."""
    if not isinstance(value, str):
        return value
    quoted = '"' + value.replace('"', '""') + '"'
    column = pd.read_csv(io.StringIO(f"a,b\n{quoted},x\n"))["a"]
    is_read_back = list(column) == [value] and isinstance(column[0], str)
    is_plain = is_read_back and value.isprintable() and not value.startswith('"')
    return value if is_plain else json.dumps(value)


def write_table(path: Path, header: Sequence[str], rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([cell(row[column]) for column in header] for row in rows)


def write_case(model: CaseModel, folder: Path) -> None:
    """Write the files of one case into a new folder."""
    folder.mkdir(parents=True)
    forwards = [model.forward(text) for _, _, text in PASSES]
    lenses = CORRECTED_LENSES if model.prism else CORRECTED_LENSES[:-1]
    stem = folder / f"output-{model.file_stem}"
    agreement = agreement_rows(model, lenses, forwards)
    write_table(Path(f"{stem}-agreement.csv"), columns.AGREEMENT_COLUMNS, agreement)
    for lens in lenses:
        suffix = "" if lens == "norm" else f"-{lens}"
        records = record_rows(model, lens, forwards[0])
        pure = pure_rows(model, lens, forwards)
        write_table(Path(f"{stem}-records{suffix}.csv"), columns.RECORD_COLUMNS, records)
        write_table(Path(f"{stem}-pure-next-token{suffix}.csv"), columns.PURE_COLUMNS, pure)
        if lens == "norm":
            document = corrected_document(model, forwards, pure)
            text = json.dumps(document, indent=2, ensure_ascii=False)
            Path(f"{stem}.json").write_text(text, encoding="utf-8")


def main(target: Path, *names: str) -> None:
    cases = names or CORRECTED_CASES
    if unknown := set(cases) - set(CORRECTED_CASES):
        sys.exit(f"no corrected golden of {', '.join(sorted(unknown))}; see CORRECTED_CASES")
    if existing := [name for name in cases if (target / name).exists()]:
        sys.exit(f"{target} has {', '.join(existing)} already; name other cases or a new folder")
    golden_cases = load_cases(GOLDEN)
    for name in cases:
        write_case(CaseModel(golden_cases[name]), target / name)
    hashes = dict(sorted(file_hashes(target).items()))
    manifest = {"made_by": "scripts/make_corrected_goldens.py", "files": hashes}
    (target / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:]) if len(sys.argv) > 1 else sys.exit(__doc__)
