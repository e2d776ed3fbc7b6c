"""The passes of a run as its document tells them: run.py's three, or prompts of one's own with a block each."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .blocks import check_gold_of
from .cells import Row
from .rows import BUILT_IN, Pass
from .rules import Violation
from .summaries import agree, check_same, control, milestones

Json = Mapping[str, Any]
Where = tuple[str, str]


def first_id(gold: Any) -> tuple[bool, int | None]:
    """Whether a gold answer names its id, and the id."""
    told = isinstance(gold, Mapping) and "first_id" in gold
    found = gold["first_id"] if told else None
    return told and (found is None or type(found) is int), found if type(found) is int else None


def built_in_passes(document: Json | None) -> dict[Where, Pass]:
    """run.py's passes; their ids are known where the document names both."""
    control_block = (document or {}).get("control_prompt")
    golds = [(document or {}).get("gold_answer"), control_block]
    golds[1] = control_block.get("gold_answer") if isinstance(control_block, Mapping) else None
    (told, berlin), (also, paris) = map(first_id, golds)
    known = told and also
    main, ablation, rival = BUILT_IN
    return {
        main: Pass("Berlin", berlin, told=known, detailed=True),
        ablation: Pass("Berlin", berlin, told=known),
        rival: Pass("Paris", paris, berlin, told=known, control=True),
    }


def own_passes(document: Json | None) -> dict[Where, Pass]:
    """The passes of a document with a block for each; a block of another shape is left to the shape's own rules."""
    blocks = [b for b in (document or {}).get("passes", []) if isinstance(b, Mapping)]
    named = {f"{b.get('prompt_id')}/{b.get('prompt_variant')}": b for b in blocks}
    found = {}
    for block in named.values():
        told, own = first_id(block.get("gold_answer"))
        rival = named.get(str(block.get("control")), {})
        also, other = first_id(rival.get("gold_answer")) if block.get("control") else (True, None)
        text = str((block.get("gold_answer") or {}).get("string")) if told else ""
        is_control, detailed = bool(block.get("control")), block.get("final_prediction") is not None
        where = str(block.get("prompt_id")), str(block.get("prompt_variant"))
        found[where] = Pass(text, own, other, told and also, is_control, detailed)
    return found


def check_suite(file: str, document: Json, rows: Sequence[Row]) -> Iterator[Violation]:
    """Every block against the rows of its pass: gold answer, milestones, control summary, last layer."""
    n = document["model_stats"]["num_layers"]
    by_pass: dict[Where, list[Row]] = defaultdict(list)
    for row in rows:
        by_pass[row.where].append(row)
    for i, block in enumerate(document["passes"]):
        own = by_pass[block["prompt_id"], block["prompt_variant"]]
        yield from check_block(file, f"passes[{i}]", block, own, n)


def check_block(
    file: str, prefix: str, block: Json, rows: Sequence[Row], n: int
) -> Iterator[Violation]:
    """One block against the rows of its pass; n is the last layer."""
    where = block["prompt_id"], block["prompt_variant"]
    yield from check_gold_of(file, f"{prefix}.gold_answer", block["gold_answer"], None)
    if block["gold_alignment"] != ("ok" if block["gold_answer"]["answer_ids"] else "unresolved"):
        yield Violation(file, "", f"{prefix}.gold_alignment", "gold", block["gold_alignment"])
    yield from check_same(file, prefix, "milestones", block, milestones(rows, where))
    if block["control"]:
        summary, derived = f"{prefix}.control_summary", control(rows, where)
        yield from check_same(file, summary, "control-summary", block["control_summary"], derived)
    said = block["last_layer_consistency"]
    columns = {
        "kl_to_final_bits": "kl_to_final_bits",
        "p_top1_lens": "p_top1",
        "answer_rank_lens": "answer_rank",
    }
    for row in (row for row in rows if row["layer"] == n):
        for name, column in columns.items():
            if not agree(said[name], row[column]):
                told = f"{said[name]} where layer {n} has {row[column]}"
                place = f"{prefix}.last_layer_consistency.{name}"
                yield Violation(file, "", place, "last-layer", told)
