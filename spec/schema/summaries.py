"""The document's summaries against the rows: milestones, ablation, control, last layer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..runs.places import Place
from .cells import PassKey, Row
from .rules import Rule, Violation, close

Json = Mapping[str, Any]
POS, NO_FILLER, CTL = ("pos", "orig"), ("pos", "no_filler"), ("ctl", "orig")


def first_layer(rows: Sequence[Row], pass_key: PassKey, holds: Callable[[Row], bool]) -> int | None:
    """The first layer of a pass whose row satisfies a condition."""
    return next((int(row["layer"]) for row in rows if row.where == pass_key and holds(row)), None)


def minus(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a - b


def rank_at_most(limit: int) -> Callable[[Row], bool]:
    return lambda row: row["answer_rank"] is not None and row["answer_rank"] <= limit


def kl_at_most(limit: float) -> Callable[[Row], bool]:
    return lambda row: row["kl_to_final_bits"] <= limit


def milestones(rows: Sequence[Row], pass_key: PassKey = POS) -> dict[str, int | None]:
    """The milestones of a pass, read off its rows."""
    copy = first_layer(rows, pass_key, lambda row: row["copy_collapse"])
    semantic = first_layer(rows, pass_key, lambda row: row["is_answer"])
    return {
        "L_copy": copy,
        "L_copy_H": first_layer(rows, pass_key, lambda row: row["entropy_collapse"]),
        "L_semantic": semantic,
        "delta_layers": minus(semantic, copy),
        **{
            f"first_kl_below_{limit}": first_layer(rows, pass_key, kl_at_most(limit))
            for limit in (0.5, 1.0)
        },
        **{
            f"first_rank_le_{limit}": first_layer(rows, pass_key, rank_at_most(limit))
            for limit in (1, 5, 10)
        },
    }


def ablation(rows: Sequence[Row]) -> dict[str, int | None]:
    """ablation_summary, read off the rows of both variants."""
    copies = [
        first_layer(rows, pass_key, lambda row: row["copy_collapse"])
        for pass_key in (POS, NO_FILLER)
    ]
    answers = [
        first_layer(rows, pass_key, lambda row: row["is_answer"]) for pass_key in (POS, NO_FILLER)
    ]
    return {
        "L_copy_orig": copies[0],
        "L_sem_orig": answers[0],
        "L_copy_nf": copies[1],
        "L_sem_nf": answers[1],
        "delta_L_copy": minus(copies[1], copies[0]),
        "delta_L_sem": minus(answers[1], answers[0]),
    }


def control(rows: Sequence[Row], pass_key: PassKey = CTL) -> dict[str, float | None]:
    """control_summary, read off the rows of a control pass."""
    margins = [(row["layer"], row["control_margin"]) for row in rows if row.where == pass_key]
    known = [(layer, margin) for layer, margin in margins if margin is not None]
    return {
        "first_control_margin_pos": next((layer for layer, margin in known if margin > 0), None),
        "max_control_margin": max((margin for _, margin in known), default=None),
    }


def check_same(place: Place, rule: Rule, values: Json, derived: Json) -> Iterator[Violation]:
    """Values of the object at a place that must equal what the rows give, exactly."""
    for name, value in derived.items():
        if values[name] != value:
            text = f"{values[name]} where the rows say {value}"
            yield Violation(inside(place, name), rule, text)


def inside(place: Place, name: str) -> Place:
    """The place of a key in the object at a place."""
    return replace(place, key=(*place.key, name))


def check_summaries(file: str, document: Json, rows: Sequence[Row]) -> Iterator[Violation]:
    """All of the document that follows from the norm lens's pure-next-token rows."""
    derived = (
        ("diagnostics", Rule.MILESTONES, milestones(rows)),
        ("ablation_summary", Rule.ABLATION, ablation(rows)),
        ("control_summary", Rule.CONTROL_SUMMARY, control(rows)),
    )
    for block, rule, values in derived:
        yield from check_same(Place(file, key=(block,)), rule, document[block], values)
    n = document["model_stats"]["num_layers"]
    last = [row for row in rows if row.where == POS and row["layer"] == n]
    if last:
        yield from check_last_layer(file, document, last[0])


def check_last_layer(file: str, document: Json, row: Row) -> Iterator[Violation]:
    """last_layer_consistency against layer n of pos/orig and the model's own prediction."""
    values = document["diagnostics"]["last_layer_consistency"]
    own = document["final_prediction"]["topk"]
    exact = own and not half_precision(document)
    derived = {
        "kl_to_final_bits": row["kl_to_final_bits"],
        "p_top1_lens": row["p_top1"],
        "p_answer_lens": row["p_answer"],
        "answer_rank_lens": row["answer_rank"],
        "p_top1_model": own[0][1] if exact else values["p_top1_model"],
    }
    place = Place(file, key=("diagnostics", "last_layer_consistency"))
    for name, value in derived.items():
        if not agree(values[name], value):
            text = f"{values[name]} where layer {row['layer']} has {value}"
            yield Violation(inside(place, name), Rule.LAST_LAYER, text)
    yield from check_last_layer_alone(place, values)


def half_precision(document: Json) -> bool:
    """Whether the model may have computed in half precision; its own prediction is then rounded further."""
    return bool(document["diagnostics"]["use_fp32_unembed"])


def check_last_layer_alone(place: Place, values: Json) -> Iterator[Violation]:
    """What must hold in last_layer_consistency by itself: the grid, the best KL on it, the warning."""
    grid = [10 ** (-1 + 2 * i / 24) for i in range(25)]
    temperature = values["temp_est"]
    best, without = values["kl_after_temp_bits"], values["kl_to_final_bits"]
    warning = values["warn_high_last_layer_kl"]
    if not any(close(temperature, step) for step in grid):
        text = f"{temperature}, which is not on the grid"
        yield Violation(inside(place, "temp_est"), Rule.LAST_LAYER, text)
    if best > without + 1e-5:
        text = f"{best}, worse than no temperature"
        yield Violation(inside(place, "kl_after_temp_bits"), Rule.LAST_LAYER, text)
    if warning != (without > 0.5):
        at = inside(place, "warn_high_last_layer_kl")
        yield Violation(at, Rule.LAST_LAYER, str(warning))


def agree(a: Any, b: Any) -> bool:
    """Both absent, equal integers or flags, or floats equal up to float32 rounding."""
    if isinstance(a, float) and isinstance(b, float):
        return close(a, b)
    return bool(a == b)
