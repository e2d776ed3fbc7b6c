"""The statistics over the passes of a run: their form, and what follows of them from the tables of its lenses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from statistics import fmean, median, quantiles
from typing import Any

from ..runs.columns import BATTERY_COLUMNS
from ..runs.places import NamedRow, Place
from ..runs.run import BATTERY, Run
from ..runs.values import is_float, is_integer
from .cells import PassKey, Row, check_form, header_violation
from .further_tables import lenses_of
from .rules import Rule, Violation, close
from .summaries import milestones

Json = Mapping[str, Any]
# Of a lens: by layer ("" of milestones) and quantity, by pass.
Values = dict[tuple[str, str], dict[PassKey, Any]]
KEY = BATTERY_COLUMNS[:6]
ESTIMATES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": fmean,
    "share": fmean,
    "median": median,
    "lower quartile": lambda values: quartiles(values)[0],
    "upper quartile": lambda values: quartiles(values)[2],
}


def quartiles(values: Sequence[float]) -> list[float]:
    return quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3


def check_battery(
    run: Run, document: Json, tables: Mapping[str, Sequence[Row]]
) -> Iterator[Violation]:
    """Every row of the table; nothing where the run has none."""
    table, file = run.battery, run.table_name(BATTERY)
    if table is None:
        return
    yield from check_form(file, table)
    if table.header != BATTERY_COLUMNS:
        yield header_violation(file, BATTERY_COLUMNS, table.header)
        return
    known = {lens: of_passes(document, tables[kind]) for lens, kind in lenses_of(tables).items()}
    seen = set()
    for texts in table.rows:
        cells = dict(zip(BATTERY_COLUMNS, texts, strict=False))
        key = tuple((name, cells.get(name, "")) for name in KEY)
        place = Place(file, NamedRow(key))
        if len(texts) != len(BATTERY_COLUMNS) or key in seen or not well_formed(cells):
            yield Violation(place, Rule.BATTERY_FORM, ",".join(texts))
            continue
        seen.add(key)
        yield from check_row(place, cells, document, known)


def well_formed(cells: Mapping[str, str]) -> bool:
    """Whether the cells have their types."""
    numbers = [cells[name] for name in ("value", "low", "high")]
    return (
        all(is_integer(cells[name]) for name in ("n", "n_prompts"))
        and (not cells["layer"] or is_integer(cells["layer"]))
        and all(not text or (is_float(text) and isfinite(float(text))) for text in numbers)
        and cells["answer"] in ("", "own", "control")
        and cells["estimate"] in ESTIMATES
    )


def of_passes(document: Json, rows: Sequence[Row]) -> Values:
    """The values of a lens by layer and quantity, of each pass that has one; a milestone not reached is None."""
    values: Values = {}
    by_pass: dict[PassKey, list[Row]] = {}
    for row in rows:
        by_pass.setdefault(row.where, []).append(row)
        for name in ("entropy", "kl_to_final_bits", "answer_rank", "p_answer", "is_answer"):
            if row[name] is not None:
                values.setdefault((str(row["layer"]), name), {})[row.where] = float(row[name])
    for block in document["passes"]:
        key = block["prompt_id"], block["prompt_variant"]
        for name, layer in milestones(by_pass.get(key, []), key).items():
            values.setdefault(("", name), {})[key] = layer
    return values


def check_row(
    place: Place, cells: Mapping[str, str], document: Json, known: Mapping[str, Values]
) -> Iterator[Violation]:
    """The interval of a row; of the passes' own answers, its counts and its value."""
    ends = [float(cells[name]) for name in ("low", "high") if cells[name]]
    bounded = ends if cells["estimate"] == "share" else []
    if ends != sorted(ends) or not all(0 <= end <= 1 for end in bounded):
        yield Violation(place, Rule.BATTERY_INTERVAL, f"{cells['low']} … {cells['high']}")
    values = known.get(cells["lens"], {}).get((cells["layer"], cells["quantity"]))
    if cells["answer"] == "control":
        return
    if values is None:
        yield Violation(place, Rule.BATTERY_FORM, "no such lens, layer or quantity")
        return
    used = {key: values[key] for key in members(document, cells["group"]) if key in values}
    reached = cells["layer"] == "" and cells["estimate"] == "share"
    numbers = [
        float(value is not None) if reached else value
        for value in used.values()
        if reached or value is not None
    ]
    prompts = {key[0] for key, value in used.items() if reached or value is not None}
    derived = ESTIMATES[cells["estimate"]](numbers) if numbers else None
    counted = (len(numbers), len(prompts))
    if (int(cells["n"]), int(cells["n_prompts"])) != counted or not same(cells["value"], derived):
        text = f"{cells['value']} of {cells['n']}, {cells['n_prompts']} prompts where it is {derived} of {counted}"
        yield Violation(place, Rule.BATTERY_VALUE, text)


def same(text: str, value: float | None) -> bool:
    return not text if value is None else bool(text) and close(float(text), value)


def members(document: Json, group: str) -> Iterator[PassKey]:
    """The passes of a group: all, or those with a tag."""
    name, _, value = group.partition("=")
    for block in document["passes"]:
        if group == "all" or block.get("tags", {}).get(name) == value:
            yield block["prompt_id"], block["prompt_variant"]
