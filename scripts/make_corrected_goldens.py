"""The goldens of the corrected contract, from an implementation that shares no code with the runner.

    python scripts/make_corrected_goldens.py DIR [CASE …]      # all of them, or these, into new folders of DIR

golden/corrected is what this wrote. Another processor writes other last digits: a case that is there stays as it is.

Plain transformers runs each tiny model, forward hooks catch the residuals, and spec/oracle.py computes every number in
float64. What no lens touches (the model's own predictions, the gold answers, the model's sizes) is taken from the
capture of run.py on the same case.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spec import oracle
from spec.golden import (
    CORRECTED_CASES,
    CORRECTED_LENSES,
    GOLDEN,
    MANIFEST,
    Case,
    file_hashes,
    load_cases,
)
from spec.runs import columns
from spec.schema.document import CONTROL, POSITIVE

PASSES = (
    ("pos", "orig", POSITIVE),
    ("pos", "no_filler", POSITIVE.removesuffix(" simply")),
    ("ctl", "orig", CONTROL),
)
KEYWORDS = ("germany", "berlin", "capital", "answer", "word", "simply")
Rows = list[dict[str, Any]]


def named(module: Any, *names: str) -> Any:
    """The first of these attributes that a module has; families name the same part differently."""
    return next(getattr(module, name) for name in names if hasattr(module, name))


@dataclass
class Reader:
    """A tiny model of a case, its tokenizer, and the capture of run.py whose model facts are reused."""

    case: Case

    def __post_init__(self) -> None:
        folder = self.case.model_path()
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager"
        ).eval()
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.blocks = named(self.model.base_model, "layers", "h")
        self.n = len(self.blocks)
        names = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
        final = named(self.model.base_model, *names)
        self.norms = [*(named(block, "input_layernorm", "ln_1") for block in self.blocks), final]
        head = self.model.get_output_embeddings()
        self.W_U = head.weight.detach().numpy().T
        self.b_U = np.zeros(self.W_U.shape[1]) if head.bias is None else head.bias.detach().numpy()
        self.cap = getattr(self.model.config, "final_logit_softcapping", None)
        self.file_stem = self.case.model_id.split("/")[-1]
        text = (self.case.expected_dir() / f"output-{self.file_stem}.json").read_text(
            encoding="utf-8"
        )
        self.document = json.loads(text)
        self.prism = (
            self.document["diagnostics"]["prism_summary"]["compatible"] and self.read_prism()
        )

    def read_prism(self) -> tuple[Any, ...]:
        folder = self.case.prism_path() / self.file_stem
        whiten = torch.load(folder / "whiten.pt", weights_only=True)
        q = torch.load(folder / "Q_prism.pt", weights_only=True)
        return (
            whiten["mean"].double().numpy(),
            whiten["var"].double().numpy(),
            float(whiten["eps"]),
            q.double().numpy(),
        )

    def norm(self, x: oracle.Array, layer: int) -> oracle.Array:
        module = self.norms[layer]
        weight = module.weight.detach().numpy()
        eps = float(named(module, "variance_epsilon", "eps"))
        if getattr(module, "bias", None) is not None:
            return oracle.layer_norm(x, weight, module.bias.detach().numpy(), eps)
        return oracle.rms_norm(
            x, weight + 1.0 if "gemma" in self.model.config.model_type else weight, eps
        )

    def logits(self, lens: str, x: oracle.Array, layer: int) -> oracle.Array:
        """The logits of a lens, behind the model's own soft cap."""
        head = self.W_U, self.b_U
        z = {
            "norm": lambda: oracle.raw_lens(self.norm(x, layer), *head),
            "final": lambda: oracle.final_lens(x, lambda row: self.norm(row, self.n), *head),
            "raw": lambda: oracle.raw_lens(x, *head),
            "prism": lambda: oracle.prism_lens(self.norm(x, layer), *self.prism, *head),
        }[lens]()
        return oracle.output_transform(z, soft_cap=self.cap)

    def context(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, token: int) -> str:
        return str(self.tokenizer.decode([token]))

    def run(self, text: str) -> tuple[list[int], oracle.Array, oracle.Array]:
        """Token ids, residuals [L, S, D] at the blocks' inputs and outputs, the model's own last logits [V]."""
        bos = (
            []
            if self.model.config.model_type in ("qwen2", "qwen3")
            else [self.tokenizer.bos_token_id]
        )
        ids, caught = [*bos, *self.context(text)], []

        def catch(value: Any) -> None:
            caught.append(
                (value[0] if isinstance(value, tuple) else value)[0].detach().numpy().copy()
            )

        def into(module: Any, args: Any, kwargs: Any) -> None:
            catch(args[0] if args else kwargs["hidden_states"])

        handles = [self.blocks[0].register_forward_pre_hook(into, with_kwargs=True)]
        handles += [
            block.register_forward_hook(lambda m, a, out: catch(out)) for block in self.blocks
        ]
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0, -1].numpy()
        for handle in handles:
            handle.remove()
        return ids, np.stack(caught).astype(np.float64), logits.astype(np.float64)


def f32(value: float) -> float:
    return float(np.float32(value))


def base_row(
    reader: Reader, key: tuple[str, str, int, int], token: str, z: oracle.Array, k: int
) -> dict[str, Any]:
    """The columns that both tables have."""
    p = oracle.softmax(z)
    top = oracle.top_k(p, k)
    row = dict(zip(columns.KEY_COLUMNS, key)) | {
        "token": token,
        "entropy": f32(oracle.entropy_bits(z)),
    }
    for i in range(columns.TOP_PAIRS):
        row |= {f"top{i + 1}": reader.text(top[i]) if i < len(top) else None}
        row |= {f"prob{i + 1}": f32(p[top[i]]) if i < len(top) else None}
    return row | {"rest_mass": oracle.rest_mass([f32(p[i]) for i in top])}


def tables(reader: Reader, lens: str, passes: list[Any]) -> tuple[Rows, Rows]:
    """The rows of records and pure-next-token of one lens."""
    document, args = reader.document, reader.case.args
    golds = [
        document["gold_answer"]["first_id"],
        document["control_prompt"]["gold_answer"]["first_id"],
    ]
    threshold, margin = args.get("copy_threshold", 0.95), args.get("copy_margin", 0.10)
    records, pure = [], []
    for (prompt, variant, text), (ids, residuals, final) in zip(PASSES, passes):
        own, q, last = golds[prompt == "ctl"], oracle.softmax(final), len(ids) - 1
        for layer in range(reader.n + 1):
            for pos in range(len(ids)) if (prompt, variant) == ("pos", "orig") else ():
                token = reader.text(ids[pos])
                wide = pos == last or any(
                    word in token.lower().strip(".,!?;:") for word in KEYWORDS
                )
                z = reader.logits(lens, residuals[layer, pos], layer)
                records.append(
                    base_row(reader, (prompt, variant, layer, pos), token, z, 20 if wide else 5)
                )
            z = reader.logits(lens, residuals[layer, last], layer)
            p = oracle.softmax(z)
            row = base_row(reader, (prompt, variant, layer, last), "⟨NEXT⟩", z, 5)
            rank, best = oracle.answer_rank(p, own), oracle.top_k(p, 1)
            p_own, p1, p2 = oracle.answer_probability(p, own), row["prob1"], row["prob2"]
            copies = oracle.copy_collapse(
                best, reader.context(text), p1, p2, threshold, margin, row["top1"]
            )
            delta = oracle.control_margin(p, own, golds[0]) if prompt == "ctl" else None
            row |= {
                "copy_collapse": copies,
                "entropy_collapse": oracle.entropy_collapse(row["entropy"]),
            }
            row |= {
                "is_answer": oracle.is_answer(
                    rank, row["top1"], "Paris" if prompt == "ctl" else "Berlin"
                )
            }
            row |= {
                "p_top1": p1,
                "p_top5": f32(oracle.p_top5(p)),
                "p_answer": None if p_own is None else f32(p_own),
            }
            row |= {"kl_to_final_bits": oracle.kl_bits(p, q), "answer_rank": rank}
            row |= {"cos_to_final": f32(oracle.cosine(z, final)), "control_margin": delta}
            pure.append(row)
    return records, pure


def agreement(reader: Reader, lenses: Sequence[str], passes: list[Any]) -> Rows:
    """How every two lenses agree at the last position of each layer, and each with the model."""
    rows = []
    for (prompt, variant, _), (ids, residuals, final) in zip(PASSES, passes):
        for layer in range(reader.n + 1):
            said = {
                lens: oracle.softmax(reader.logits(lens, residuals[layer, -1], layer))
                for lens in lenses
            }
            said["model"] = oracle.softmax(final)
            for a, b in combinations(said, 2):
                row = dict(zip(columns.KEY_COLUMNS, (prompt, variant, layer, len(ids) - 1))) | {
                    "lens": a,
                    "against": b,
                }
                row |= {
                    "kl_bits": oracle.kl_bits(said[a], said[b]),
                    "js_bits": oracle.js_bits(said[a], said[b]),
                }
                row |= {"tv": oracle.total_variation(said[a], said[b])}
                rows.append(row | {"top1_agree": bool(np.argmax(said[a]) == np.argmax(said[b]))})
    return rows


def first(rows: Rows, column: str, holds: Callable[[Any], bool] = bool) -> int | None:
    return oracle.first_layer([row[column] for row in rows], holds)


def minus(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a - b


def document(reader: Reader, passes: list[Any], pure: Rows) -> dict[str, Any]:
    """The capture's document with everything that a lens computes put anew."""
    by_pass = [
        [r for r in pure if (r["prompt_id"], r["prompt_variant"]) == key[:2]] for key in PASSES
    ]
    main, ablation, control = by_pass
    found = {"L_copy": first(main, "copy_collapse"), "L_copy_H": first(main, "entropy_collapse")}
    found["L_semantic"] = first(main, "is_answer")
    found["delta_layers"] = minus(found["L_semantic"], found["L_copy"])
    for level in (0.5, 1.0):
        found[f"first_kl_below_{level}"] = first(
            main, "kl_to_final_bits", lambda v, most=level: v <= most
        )
    for level in (1, 5, 10):
        found[f"first_rank_le_{level}"] = first(
            main, "answer_rank", lambda v, most=level: v <= most
        )
    nf = {"L_copy": first(ablation, "copy_collapse"), "L_sem": first(ablation, "is_answer")}
    margins = [row["control_margin"] for row in control if row["control_margin"] is not None]
    old = reader.document
    mended = {
        "layernorm_bias_fix": "model_norm_module_called",
        "layer0_norm_fix": "norm_that_reads_the_embeddings",
    }
    mended["norm_alignment_fix"] = "norm_that_reads_the_layer_next"
    summary = {
        "L_copy_orig": found["L_copy"],
        "L_sem_orig": found["L_semantic"],
        "L_copy_nf": nf["L_copy"],
    }
    summary |= {"L_sem_nf": nf["L_sem"], "delta_L_copy": minus(nf["L_copy"], found["L_copy"])}
    new = {
        "diagnostics": old["diagnostics"]
        | found
        | mended
        | {"last_layer_consistency": last_layer(reader, passes, main)},
        "raw_lens_check": raw_check(reader, passes),
        "ablation_summary": summary | {"delta_L_sem": minus(nf["L_sem"], found["L_semantic"])},
        "control_summary": {
            "first_control_margin_pos": first(control, "control_margin", lambda v: v > 0),
            "max_control_margin": max(margins, default=None),
        },
    }
    differs = [{"id": f"R{i}", "corrected": DIFFERS[i - 1]} for i in range(1, 8)]
    differs.append({"id": "rank", "corrected": DIFFERS[7]})
    return {
        "contract": "corrected",
        "differs": differs,
        **{key: new.get(key, value) for key, value in old.items()},
    }


DIFFERS = (
    "the model's own norm module is called, LayerNorm with its centring and bias",
    "layernorm_bias_fix, norm_alignment_fix and layer0_norm_fix say what is done here",
    "the model's own soft cap or logit scale is applied to the logits of every lens; cfg_transform reports it",
    "records have every layer and position",
    "CSV in the dialect of Python's csv module; a text that would be read as something else is a JSON string",
    "where an answer has no id, is_answer compares with the pass's own answer",
    "Prism records have the rows of the norm lens",
    "answer_rank counts logits: probabilities too small for float32 tie at 0",
)


def last_layer(reader: Reader, passes: list[Any], main: Rows) -> dict[str, Any]:
    _, residuals, final = passes[0]
    z, end = reader.logits("norm", residuals[-1, -1], reader.n), main[-1]
    q = oracle.softmax(final)
    scale, kl = oracle.temperature_estimate(z, q)
    told = {
        "kl_to_final_bits": end["kl_to_final_bits"],
        "top1_agree": bool(np.argmax(z) == np.argmax(final)),
    }
    told |= {
        "p_top1_lens": end["p_top1"],
        "p_top1_model": f32(q.max()),
        "p_answer_lens": end["p_answer"],
    }
    told |= {
        "answer_rank_lens": end["answer_rank"],
        "temp_est": f32(scale),
        "kl_after_temp_bits": kl,
    }
    told |= {"cfg_transform": {"scale": None, "softcap": reader.cap}}
    told |= {"warn_high_last_layer_kl": end["kl_to_final_bits"] > 0.5}
    return reader.document["diagnostics"]["last_layer_consistency"] | told


def raw_check(reader: Reader, passes: list[Any]) -> dict[str, Any]:
    mode, own = (
        reader.document["raw_lens_check"]["mode"],
        reader.document["gold_answer"]["first_id"],
    )
    samples = []
    for layer in oracle.raw_lens_layers(reader.n, mode):
        p, raw = (
            oracle.softmax(reader.logits(lens, passes[0][1][layer, -1], layer))
            for lens in ("norm", "raw")
        )
        entry = {"layer": layer, "kl_norm_vs_raw_bits": oracle.kl_bits(p, raw)}
        entry |= {"top1_agree": bool(np.argmax(p) == np.argmax(raw))}
        ranks = [oracle.answer_rank(side, own) for side in (p, raw)]
        for name, values in {
            "p_top1": [f32(side.max()) for side in (p, raw)],
            "p_answer": [None if own is None else f32(side[own]) for side in (p, raw)],
            "answer_rank": ranks,
            "is_answer": [rank == 1 for rank in ranks],
        }.items():
            entry |= {f"{name}_norm": values[0], f"{name}_raw": values[1]}
        samples.append(entry)
    alone = [
        entry["layer"]
        for entry in samples
        if entry["is_answer_norm"] and not entry["is_answer_raw"]
    ]
    worst = max((entry["kl_norm_vs_raw_bits"] for entry in samples), default=None)
    risk = None if worst is None else oracle.raw_lens_risk(worst, bool(alone))
    summary = {
        "first_norm_only_semantic_layer": alone[0] if alone else None,
        "max_kl_norm_vs_raw_bits": worst,
    }
    return {"mode": mode, "samples": samples, "summary": summary | {"lens_artifact_risk": risk}}


def cell(value: Any) -> Any:
    """A text as pandas reads it back, else its JSON string: pandas itself is asked."""
    if not isinstance(value, str):
        return value
    read = pd.read_csv(
        io.StringIO("a,b\n" + ",".join(['"' + value.replace('"', '""') + '"', "x"]) + "\n")
    )["a"]
    kept = (
        list(read) == [value]
        and isinstance(read[0], str)
        and value.isprintable()
        and not value.startswith('"')
    )
    return value if kept else json.dumps(value)


def save(reader: Reader, folder: Path, kind: str, header: Sequence[str], rows: Rows) -> None:
    with (folder / f"output-{reader.file_stem}-{kind}.csv").open(
        "w", encoding="utf-8", newline=""
    ) as out:
        csv.writer(out, lineterminator="\n").writerows(
            [header, *([cell(r[c]) for c in header] for r in rows)]
        )


def write(reader: Reader, folder: Path) -> None:
    folder.mkdir(parents=True)
    passes = [reader.run(text) for _, _, text in PASSES]
    lenses = CORRECTED_LENSES if reader.prism else CORRECTED_LENSES[:-1]
    save(reader, folder, "agreement", columns.AGREEMENT_COLUMNS, agreement(reader, lenses, passes))
    for lens in lenses:
        suffix = "" if lens == "norm" else f"-{lens}"
        records, pure = tables(reader, lens, passes)
        save(reader, folder, f"records{suffix}", columns.RECORD_COLUMNS, records)
        save(reader, folder, f"pure-next-token{suffix}", columns.PURE_COLUMNS, pure)
        if lens == "norm":
            text = json.dumps(document(reader, passes, pure), indent=2, ensure_ascii=False)
            (folder / f"output-{reader.file_stem}.json").write_text(text, encoding="utf-8")


def main(target: Path, *names: str) -> None:
    wanted = names or CORRECTED_CASES
    if unknown := set(wanted) - set(CORRECTED_CASES):
        sys.exit(
            f"no corrected golden is kept of {', '.join(sorted(unknown))}; see CORRECTED_CASES"
        )
    if there := [name for name in wanted if (target / name).exists()]:
        sys.exit(f"{target} holds {', '.join(there)} already; name other cases or a new folder")
    cases = load_cases(GOLDEN)
    for name in wanted:
        write(Reader(cases[name]), target / name)
    hashes = dict(sorted(file_hashes(target).items()))
    told = {"made_by": "scripts/make_corrected_goldens.py", "files": hashes}
    (target / MANIFEST).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:]) if len(sys.argv) > 1 else sys.exit(__doc__)
