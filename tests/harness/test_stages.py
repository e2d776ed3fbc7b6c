"""Every table, column and key is filed under the stage that computes it; what is unknown is called unknown."""

from collections.abc import Iterator
from typing import Any

import pytest

from spec.compare.classify import classes
from spec.compare.column import column_of
from spec.compare.kinds import Kind
from spec.compare.runs import Mismatch, compare
from spec.compare.stages import STAGES, UNKNOWN
from spec.compare.tolerance import FP32
from spec.report.classes import first_screen
from spec.runs import columns
from spec.runs.csv_dialect import Table, encode, parse
from spec.runs.json_text import layout
from spec.runs.json_text import parse as parse_document
from spec.runs.listing import AGREEMENT, ANSWERS, PURE, RECORDS, TABLE_KINDS, part_of
from spec.runs.places import Byte, FilePart, JsonItem, Line, Place, Spot, TableRow, at_path
from spec.runs.run import Run
from spec.schema.cells import expected_columns
from spec.schema.document import (
    CORRECTED_DOCUMENT,
    DOCUMENT,
    Items,
    Leaf,
    Texts,
    TopK,
    suite_document,
)

ROW = TableRow("pos", "orig", "3", "16")
ROWS = ("prompt_id", "prompt_variant", "layer", "pos", "token", "lens", "against")
STAGE_OF = {
    **dict.fromkeys(ROWS, "rows"),
    **dict.fromkeys((*columns.PAIR_COLUMNS, "rest_mass", "p_top1", "p_top5"), "lens"),
    **dict.fromkeys(
        (
            "entropy",
            "p_answer",
            "answer_rank",
            "kl_to_final_bits",
            "cos_to_final",
            "control_margin",
        ),
        "metrics",
    ),
    **dict.fromkeys(("copy_collapse", "entropy_collapse", "is_answer"), "flags"),
    **dict.fromkeys(("kl_bits", "js_bits", "tv", "top1_agree"), "metrics"),
    **dict.fromkeys(("answer", "n_tokens"), "tokens"),
    **dict.fromkeys(("p_joint", "surprisal_bits"), "metrics"),
}
CELLS = {
    columns.TEXT: ("a", "b"),
    columns.FLAG: ("True", "False"),
    columns.INTEGER: ("1", "2"),
    columns.RANK: ("1", "2"),
}
BLOCK_OF = {  # the stage of a key of the document, or of a pass's block
    **dict.fromkeys(("contract", "differs", "prompt", "keywords"), "document"),
    **dict.fromkeys(("test_prompts", "temperature_exploration", "final_prediction"), "forward"),
    **dict.fromkeys(("model_stats", "control_prompt", "gold_answer", "gold_alignment"), "tokens"),
    **dict.fromkeys(("raw_lens_check", "last_layer_consistency"), "summaries"),
    **dict.fromkeys(("ablation_summary", "control_summary"), "milestones"),
    **dict.fromkeys(
        ("L_copy", "L_copy_H", "L_semantic", "delta_layers", "copy_thresh"), "milestones"
    ),
    **dict.fromkeys(("copy_window_k", "copy_match_level"), "milestones"),
    **dict.fromkeys(("first_kl_below_0.5", "first_kl_below_1.0"), "milestones"),
    **dict.fromkeys(("first_rank_le_1", "first_rank_le_5", "first_rank_le_10"), "milestones"),
    **dict.fromkeys(("prompt_id", "prompt_variant", "control", "tags"), "rows"),
}


def run_of(kind: str, table: Table) -> Run:
    return Run("X", frozenset({f"output-X-{kind}.csv"}), {kind: table})


def written(header: tuple[str, ...], cells: tuple[str, ...]) -> Table:
    return parse("".join(",".join(map(encode, line)) + "\n" for line in (header, cells)))


def planted(kind: str, column: str) -> Iterator[Mismatch]:
    """What a comparison finds where one cell, its presence, its quotes, or the whole column differs."""
    header = expected_columns(kind)
    cells = {name: CELLS.get(columns.quantity(name), ("0.25", "0.5")) for name in header}
    known = written(header, tuple(cells[name][0] for name in header))
    others = [
        written(header, tuple(cells[n][n == column] for n in header)),
        written(header, tuple("" if n == column else cells[n][0] for n in header)),
        written(
            tuple(n for n in header if n != column),
            tuple(cells[n][0] for n in header if n != column),
        ),
    ]
    for other in others:
        mismatches = compare(run_of(kind, known), run_of(kind, other), FP32).mismatches
        assert mismatches, (kind, column)
        yield from (m for m in mismatches if m.kind != "row width")


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_every_column_of_every_table_has_its_stage(kind: str) -> None:
    for column in expected_columns(kind):
        for mismatch in planted(kind, column):
            (group,) = classes([("case", mismatch)])
            stage = STAGE_OF[column]
            # a key that differs makes another row of it, whatever its other cells
            assert group.meaning.stage == ("rows" if mismatch.kind.endswith(" row") else stage)
            assert group.name.startswith(f"{kind}: ")


def sample(shape: Any, other: bool = False) -> Any:
    """A document of a shape, every list with one item, every leaf with one of two values."""
    if isinstance(shape, tuple):
        shape = shape[0]
    if isinstance(shape, Leaf):
        values = {
            "string": ("a", "b"),
            "int": (1, 2),
            "float": (0.25, 0.5),
            "bool": (True, False),
            "null": (None, "a"),
        }
        return values[shape.types[0]][other]
    if isinstance(shape, Items):
        return [sample(shape.item, other)]
    if isinstance(shape, Texts):
        return {"language": "de" if other else "en"}
    if isinstance(shape, TopK):
        return [["b", 0.5]] if other else [["a", 0.25]]
    return {key: sample(inner, other) for key, inner in shape.items()}


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every leaf, and every key of an object or item of a list on the way to it."""
    if path:
        yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from paths(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The value with another one at a path, `other` of the whole document that has it, or None where it is dropped."""
    if not path:
        return other
    if isinstance(value, list):
        return [changed(v, path[1:], other) if i == path[0] else v for i, v in enumerate(value)]
    if other is None and len(path) == 1:
        return {key: inner for key, inner in value.items() if key != path[0]}
    return {k: changed(v, path[1:], other) if k == path[0] else v for k, v in value.items()}


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def document_run(document: Any) -> Run:
    text = layout(document)
    files = frozenset({"output-X.json"})
    return Run("X", files, document=parse_document(text), document_text=text)


def stage_of(path: tuple[Any, ...]) -> str:
    """The stage of a place in a document, by the table above."""
    keys = [part for part in path if isinstance(part, str)]
    own = keys[1:] if keys[0] in ("diagnostics", "passes") else keys
    if keys == ["passes"]:
        return "rows"
    if keys[-1] == "entropy":
        return "metrics"
    if keys == ["passes", "context_prompt"]:
        return "rows"
    return BLOCK_OF.get(own[0] if own else "", "document")


SHAPES = {
    "reference": DOCUMENT,
    "corrected": CORRECTED_DOCUMENT,
    "prompts": suite_document(False),
    "prompts, corrected": suite_document(True),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_key_of_every_document_has_its_stage(name: str) -> None:
    document, other = (sample(SHAPES[name], which) for which in (False, True))
    known, never = document_run(document), ("artifact_path", "n_ctx")
    for path in paths(document):
        for value in (at(other, path), None):
            if isinstance(path[-1], int) and value is None:
                continue
            if path[-1] in never and value is not None:
                continue  # no runner is held to them, only to their presence
            mismatches = compare(
                known, document_run(changed(document, path, value)), FP32
            ).mismatches
            assert mismatches, path
            grouped = classes([("case", m) for m in mismatches])
            leaf = not isinstance(at(document, path), (dict, list))
            stages = {group.meaning.stage for group in grouped}
            assert UNKNOWN not in stages, path
            assert all(group.name.startswith("json: ") for group in grouped)
            if leaf or value is None:
                assert stages == {stage_of(path)}, path


def test_what_the_contract_does_not_know_is_unknown() -> None:
    third_line, document = Line(3), "output-X.json"
    mismatches = [
        Mismatch(Place(f"output-X-{PURE}.csv", ROW, "answer_mass"), "1", "2", Kind.VALUE),
        Mismatch(Place("output-X-milestones.csv", third_line), "1", "2", Kind.TEXT),
        Mismatch(Place(f"output-X-{PURE}-rawlens.csv", third_line), "1", "2", Kind.TEXT),
        Mismatch(Place("output-X-records-mine.csv", Byte(3)), "1", "2", Kind.BYTES),
        Mismatch(at_path(document, ("summary_by_fact", "x")), "1", "2", Kind.VALUE),
        Mismatch(
            Place(document, JsonItem(()), key=("summary_by_fact",)), "", "key", Kind.EXTRA_KEY
        ),
        Mismatch(at_path(document, ("diagnostics", "tuned_lens")), "1", "2", Kind.VALUE),
    ]
    assert {group.meaning.stage for group in classes([("case", m) for m in mismatches])} == {
        UNKNOWN
    }
    screen = first_screen([("case", m) for m in mismatches], 1)
    assert "equal throughout" not in screen
    assert "Look first" not in screen
    assert "no stage can be called equal" in screen
    assert "pure-next-token: answer_mass: no stage can be called equal" in screen


def test_beside_something_unknown_no_stage_is_called_equal() -> None:
    entropy = Mismatch(Place("output-X-records.csv", ROW, "entropy"), "1", "2", Kind.VALUE)
    alone = first_screen([("case", entropy)], 1)
    assert "Look first at stage “metrics”; the stages before it (run, files, rows, " in alone
    unknown = Mismatch(Place("notes.txt", Line(1)), "1", "2", Kind.TEXT)
    screen = first_screen([("case", entropy), ("case", unknown)], 1)
    assert "Look first at stage “metrics”." in screen
    assert "equal throughout" not in screen
    assert "The contract does not know notes.txt: content: no stage can be called equal." in screen


@pytest.mark.parametrize(
    ("kind", "spot", "column", "name", "stage"),
    [
        (Kind.MISSING_ROW, ROW, "", "records: row", "rows"),
        (Kind.ROW_ORDER, ROW, "", "records: row", "rows"),
        (Kind.ROW_WIDTH, ROW, "", "records: row", "rows"),
        (Kind.MISSING_COLUMN, FilePart.HEADER, "top7", "records: top*", "lens"),
        (Kind.COLUMN_ORDER, FilePart.HEADER, "entropy", "records: entropy", "metrics"),
        (Kind.FORMAT, FilePart.LAST_LINE, "end", "records: end", "files"),
        (Kind.FORMAT, None, "layout", "records: layout", "files"),
        (Kind.MISSING_FILE, None, "", "records", "files"),
        (Kind.OBTAINED_RUN, None, "", "records", "files"),
    ],
)
def test_every_kind_of_difference_has_its_stage(
    kind: Kind, spot: Spot | None, column: str, name: str, stage: str
) -> None:
    mismatch = Mismatch(Place("output-X-records.csv", spot, column), "a", "b", kind)
    assert str(column_of(mismatch)) == name
    (group,) = classes([("case", mismatch)])
    assert group.meaning.stage == stage


def test_parts_of_a_run() -> None:
    named = {
        **{f"output-X-{kind}.csv": kind for kind in TABLE_KINDS},
        "output-Mistral-7B-v0.1-records.csv": RECORDS,
        "output-X-agreement.csv": AGREEMENT,
        "output-X-answers.csv": ANSWERS,
        "output-a-records-pure-next-token.csv": PURE,
        "output-X.json": "json",
        "X_07_resid.pt": "residual",
        "output-X-milestones.csv": "output-X-milestones.csv",
        "logs/output-X.json": "logs/output-X.json",
        "": "run",
    }
    assert {file: part_of(file) for file in named} == named
    assert STAGES[-1] == UNKNOWN


def test_the_agreement_table_is_filed_by_its_columns() -> None:
    """Neither under json nor as unknown."""
    for mismatch in planted(AGREEMENT, "js_bits"):
        screen = first_screen([("case", mismatch)], 1)
        assert "agreement: js_bits  metrics" in screen
        assert "(run, files, rows, tokens, forward, lens) are equal throughout" in screen
