"""The rows of the corrected contract's tables, every number by spec/oracle.py in float64."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from corrected_model import PASSES, CaseModel, Forward

from spec import oracle
from spec.runs import columns

KEYWORDS = ("germany", "berlin", "capital", "answer", "word", "simply")
ANSWERS = {"pos": "Berlin", "ctl": "Paris"}
K_FULL, K_SHORT = 20, 5
Key = tuple[str, str, int, int]  # prompt id, variant, layer, position
Row = dict[str, Any]
Rows = list[Row]


def f32(value: float) -> float:
    return float(np.float32(value))


def shared_columns(model: CaseModel, key: Key, token: str, z: oracle.Array, k: int) -> Row:
    """Return the columns that records and pure-next-token rows have in common; z [V] are the lens logits."""
    p = oracle.softmax(z)
    top = oracle.top_k(p, k)
    row: Row = dict(zip(columns.KEY_COLUMNS, key, strict=True))
    row["token"] = token
    row["entropy"] = f32(oracle.entropy_bits(z))
    for i in range(columns.TOP_PAIRS):
        row[f"top{i + 1}"] = model.decode(top[i]) if i < len(top) else None
        row[f"prob{i + 1}"] = f32(p[top[i]]) if i < len(top) else None
    row["rest_mass"] = oracle.rest_mass([f32(p[i]) for i in top])
    return row


def record_rows(model: CaseModel, lens: str, forward: Forward) -> Rows:
    """Return the records of one lens: every position of every layer of pos/orig."""
    ids, residuals, _ = forward
    prompt_id, variant, _ = PASSES[0]
    rows = []
    for layer in range(model.n_layers + 1):
        for pos, token_id in enumerate(ids):
            token = model.decode(token_id)
            label = token.lower().strip(".,!?;:")
            is_full = pos == len(ids) - 1 or any(word in label for word in KEYWORDS)
            z = model.logits(lens, residuals[layer, pos], layer)
            key = (prompt_id, variant, layer, pos)
            rows.append(shared_columns(model, key, token, z, K_FULL if is_full else K_SHORT))
    return rows


def pure_rows(model: CaseModel, lens: str, forwards: Sequence[Forward]) -> Rows:
    """Return the pure-next-token rows of one lens: the last position of every layer of every pass."""
    rows = []
    for (prompt_id, variant, text), forward in zip(PASSES, forwards, strict=True):
        ids, residuals, final = forward
        for layer in range(model.n_layers + 1):
            z = model.logits(lens, residuals[layer, -1], layer)
            key = (prompt_id, variant, layer, len(ids) - 1)
            row = shared_columns(model, key, "⟨NEXT⟩", z, K_SHORT)
            rows.append(row | next_token_columns(model, row, text, z, final))
    return rows


def next_token_columns(
    model: CaseModel, row: Row, text: str, z: oracle.Array, final: oracle.Array
) -> Row:
    """Return the columns that only pure-next-token rows have; z and final [V] are logits of lens and model."""
    prompt_id = row["prompt_id"]
    p = oracle.softmax(z)
    answer_id = model.answer_ids[prompt_id]
    rank = oracle.answer_rank(p, answer_id)
    p_answer = oracle.answer_probability(p, answer_id)
    is_control = prompt_id == "ctl"
    margin = oracle.control_margin(p, answer_id, model.answer_ids["pos"]) if is_control else None
    return {
        "copy_collapse": copy_collapse(model, row, text, p),
        "entropy_collapse": oracle.entropy_collapse(row["entropy"]),
        "is_answer": oracle.is_answer(rank, row["top1"], ANSWERS[prompt_id]),
        "p_top1": row["prob1"],
        "p_top5": f32(oracle.p_top5(p)),
        "p_answer": None if p_answer is None else f32(p_answer),
        "kl_to_final_bits": oracle.kl_bits(p, oracle.softmax(final)),
        "answer_rank": rank,
        "cos_to_final": f32(oracle.cosine(z, final)),
        "control_margin": margin,
    }


def copy_collapse(model: CaseModel, row: Row, text: str, p: oracle.Array) -> bool:
    options = model.case.args
    return oracle.copy_collapse(
        oracle.top_k(p, 1),
        model.context_ids(text),
        (row["prob1"], row["prob2"]),
        (options.get("copy_threshold", 0.95), options.get("copy_margin", 0.10)),
        row["top1"],
    )


def agreement_rows(model: CaseModel, lenses: Sequence[str], forwards: Sequence[Forward]) -> Rows:
    """Compare every two lenses, and each lens with the model, at the last position of every layer."""
    rows = []
    for (prompt_id, variant, _), (ids, residuals, final) in zip(PASSES, forwards, strict=True):
        for layer in range(model.n_layers + 1):
            x = residuals[layer, -1]
            p = {lens: oracle.softmax(model.logits(lens, x, layer)) for lens in lenses}
            p["model"] = oracle.softmax(final)
            key = (prompt_id, variant, layer, len(ids) - 1)
            key_columns = dict(zip(columns.KEY_COLUMNS, key, strict=True))
            rows += [key_columns | pair for pair in compare_pairs(p)]
    return rows


def compare_pairs(p: dict[str, oracle.Array]) -> Iterator[Row]:
    """Yield the distances of every two distributions [V], by name."""
    for a, b in combinations(p, 2):
        yield {
            "lens": a,
            "against": b,
            "kl_bits": oracle.kl_bits(p[a], p[b]),
            "js_bits": oracle.js_bits(p[a], p[b]),
            "tv": oracle.total_variation(p[a], p[b]),
            "top1_agree": bool(np.argmax(p[a]) == np.argmax(p[b])),
        }
