"""The passes of a run as its document describes them: run.py's three, or prompts of one's own with a block each."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..runs.places import Path, Place
from .blocks import check_gold_of
from .cells import PassKey, Row
from .rows import BUILT_IN, Pass
from .rules import Rule, Violation
from .summaries import agree, check_same, control, milestones

Json = Mapping[str, Any]


def first_id(gold: Any) -> tuple[bool, int | None]:
    """Whether a gold answer names its id, and the id."""
    if not isinstance(gold, Mapping) or "first_id" not in gold:
        return False, None
    identifier = gold["first_id"]
    is_id = type(identifier) is int
    return is_id or identifier is None, identifier if is_id else None


def built_in_passes(document: Json | None) -> dict[PassKey, Pass]:
    """run.py's passes; their ids are known where the document names both."""
    control_block = (document or {}).get("control_prompt")
    control_gold = control_block.get("gold_answer") if isinstance(control_block, Mapping) else None
    has_berlin, berlin = first_id((document or {}).get("gold_answer"))
    has_paris, paris = first_id(control_gold)
    known = has_berlin and has_paris
    main, ablation, control_pass = BUILT_IN
    return {
        main: Pass("Berlin", berlin, ids_known=known, has_records=True),
        ablation: Pass("Berlin", berlin, ids_known=known),
        control_pass: Pass("Paris", paris, berlin, ids_known=known, control=True),
    }


def own_passes(document: Json | None) -> dict[PassKey, Pass]:
    """The passes of a document with a block for each; a block of another shape is left to the shape's own rules."""
    blocks = [b for b in (document or {}).get("passes", []) if isinstance(b, Mapping)]
    named = {f"{b.get('prompt_id')}/{b.get('prompt_variant')}": b for b in blocks}
    return {
        (str(block.get("prompt_id")), str(block.get("prompt_variant"))): own_pass(block, named)
        for block in named.values()
    }


def own_pass(block: Json, named: Mapping[str, Json]) -> Pass:
    """The pass of a block; `named` are all blocks by `prompt_id/prompt_variant`, as `control` names them."""
    has_id, answer_id = first_id(block.get("gold_answer"))
    control_name = block.get("control")
    has_other, other_id = True, None
    if control_name:
        has_other, other_id = first_id(named.get(str(control_name), {}).get("gold_answer"))
    return Pass(
        str((block.get("gold_answer") or {}).get("string")) if has_id else "",
        answer_id,
        other_id,
        has_id and has_other,
        bool(control_name),
        block.get("final_prediction") is not None,
    )


def check_suite(file: str, document: Json, rows: Sequence[Row]) -> Iterator[Violation]:
    """Every block against the rows of its pass: gold answer, milestones, control summary, last layer."""
    n = document["model_stats"]["num_layers"]
    by_pass: dict[PassKey, list[Row]] = defaultdict(list)
    for row in rows:
        by_pass[row.where].append(row)
    for i, block in enumerate(document["passes"]):
        own = by_pass[block["prompt_id"], block["prompt_variant"]]
        yield from check_block(file, ("passes", i), block, own, n)


def check_block(
    file: str, path: Path, block: Json, rows: Sequence[Row], n: int
) -> Iterator[Violation]:
    """One block, at a path of the document, against the rows of its pass; n is the last layer."""
    pass_key = block["prompt_id"], block["prompt_variant"]
    yield from check_gold_of(file, (*path, "gold_answer"), block["gold_answer"], None)
    if block["gold_alignment"] != ("ok" if block["gold_answer"]["answer_ids"] else "unresolved"):
        place = Place(file, key=(*path, "gold_alignment"))
        yield Violation(place, Rule.GOLD, block["gold_alignment"])
    top = Place(file, key=path)
    yield from check_same(top, Rule.MILESTONES, block, milestones(rows, pass_key))
    if block["control"]:
        summary = Place(file, key=(*path, "control_summary"))
        derived = control(rows, pass_key)
        yield from check_same(summary, Rule.CONTROL_SUMMARY, block["control_summary"], derived)
    values = block["last_layer_consistency"]
    columns = {
        "kl_to_final_bits": "kl_to_final_bits",
        "p_top1_lens": "p_top1",
        "answer_rank_lens": "answer_rank",
    }
    for row in (row for row in rows if row["layer"] == n):
        for name, column in columns.items():
            if not agree(values[name], row[column]):
                text = f"{values[name]} where layer {n} has {row[column]}"
                place = Place(file, key=(*path, "last_layer_consistency", name))
                yield Violation(place, Rule.LAST_LAYER, text)
