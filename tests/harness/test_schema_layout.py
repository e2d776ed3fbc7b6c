"""What a run has beyond the contract is split off, and the rest is judged by the layout that has it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from corrupting import document as change_document
from corrupting import lines

from spec.runs.csv_dialect import parse
from spec.runs.json_text import layout
from spec.runs.places import Place, TableRow
from spec.runs.run import PURE, RECORDS, Run, read_run
from spec.schema.document import CORRECTED_DOCUMENT, DOCUMENT, Items, Leaf, suite_document
from spec.schema.layout import (
    Additions,
    Judged,
    counted,
    judge_run,
    known_columns,
    known_keys,
    known_passes,
    later_layouts,
    shape_of,
    split_additions,
    subject,
)
from spec.schema.rules import Rule, Violation

Capture = Callable[[str], Path]
FIRST, SECOND, THIRD, LAST = "2025-09-28", "2025-10-04", "2025-10-13", "2025-10-16"
EARLY = "copy_strict@0.95"  # a column of the pure tables, not of the records


@pytest.mark.parametrize(
    ("columns", "keys", "files", "date"),
    [
        ({PURE: (EARLY,)}, (), (), FIRST),
        ({f"{PURE}-tuned": (EARLY,)}, (), (), FIRST),
        ({RECORDS: (EARLY,)}, (), (), ""),
        ({RECORDS: ("entropy_bits",)}, (), (), THIRD),
        ({}, ("tuned_lens",), (), FIRST),
        ({}, ("tuned_lens.summary.best",), (), FIRST),
        ({}, ("tuned_lenses",), (), ""),
        ({}, (), ("output-x-pure-next-token-rawlens.csv",), SECOND),
        ({}, (), ("notes.txt",), ""),
        ({PURE: (EARLY,)}, ("more",), (), ""),
        ({PURE: (EARLY,)}, (), ("notes.txt",), ""),
        ({PURE: ("more",)}, ("tuned_lens",), (), ""),
        ({PURE: (EARLY,)}, ("tuned_lens", "provenance"), ("output-x-milestones.csv",), THIRD),
        ({}, ("diagnostics.decoding_point",), (), LAST),
        ({}, (), (), ""),
    ],
)
def test_the_earliest_layout_that_has_everything(
    columns: Mapping[str, tuple[str, ...]], keys: tuple[str, ...], files: tuple[str, ...], date: str
) -> None:
    assert Additions(columns, keys, files=files).layout == date


def test_three_names_are_listed_and_four_are_counted() -> None:
    assert counted(["a", "b", "c"], "pass") == "3 passes (a, b, c)"
    assert counted(["a", "b", "c", "d"], "key") == "4 keys"
    assert counted(["a"], "key") == "1 key (a)"


def test_the_rules_that_later_layouts_replace() -> None:
    early = {
        ("rows.extra", "records"),
        ("rows.extra", "records-prism"),
        ("rows.extra", "records-tuned"),
        ("rows.missing", "records-tuned"),
        ("rows.missing", "pure-next-token-tuned"),
    }
    late = early | {
        ("json.type", "diagnostics.gold_alignment"),
        ("json.type", "control_prompt.gold_alignment"),
    }
    replaced = {date: known.replaced for date, known in later_layouts().items()}
    assert replaced == {FIRST: early, SECOND: early, THIRD: late, LAST: late}


def test_places_that_keep_a_later_layout_are_counted() -> None:
    more = Additions(keys=("more",))
    line = "a later layout: 1 key (more) more than 2025-09-06"
    assert Judged((), more, 0).sentence == line
    assert Judged((), more, 1234).sentence == f"{line}, 1,234 places by its own rules"
    assert Judged((), Additions(), 2).sentence == ""


def test_a_run_is_judged_by_the_rules_that_its_layout_keeps(capture: Capture) -> None:
    folder = capture("fact")
    change_document(lambda content: content.update(tuned_lens={}))(folder)

    def extra(rows: list[list[str]], *layers: str) -> list[list[str]]:
        return [*rows, *([*rows[-1][:2], layer, *rows[-1][3:]] for layer in layers)]

    lines(RECORDS, lambda rows: extra(rows, "98", "99"))(folder)
    lines(PURE, lambda rows: extra(rows, "99"))(folder)
    run = read_run(folder)
    last = TableRow("ctl", "orig", "99", run.tables[PURE].column("pos", -1))
    place = Place("output-Fact-pure-next-token.csv", last)
    assert judge_run(run) == Judged(
        (Violation(place, Rule.ROWS_EXTRA, "a row too many"),), Additions(keys=("tuned_lens",)), 2
    )


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (Place("output-x-records.csv", TableRow("pos", "orig", "0")), "records"),
        (Place("output-x-pure-next-token-tuned.csv"), "pure-next-token-tuned"),
        (
            Place("output-x.json", key=("diagnostics", "gold_alignment")),
            "diagnostics.gold_alignment",
        ),
        (Place("output-x.json"), ""),
        (Place("notes.txt"), "notes.txt"),
    ],
)
def test_the_subject_of_a_violation_is_a_table_kind_or_a_key(place: Place, name: str) -> None:
    assert subject(Violation(place, Rule.ROWS_EXTRA, "a row too many")) == name


def test_a_run_of_prompts_of_one_s_own_keeps_all_of_its_passes() -> None:
    table = parse("prompt_id,prompt_variant\nbe,orig\n")
    content = {"passes": [], "more": 1}
    strays = (".hidden", "notes.txt")
    run = Run("x", frozenset(), {PURE: table}, content, layout(content), strays=strays)
    known, additions = split_additions(run)
    assert additions == Additions(keys=("more",), files=("notes.txt",))
    assert known == Run("x", frozenset(), {PURE: table}, {"passes": []}, layout({"passes": []}))


def test_passes_that_run_py_lacks_are_split_off() -> None:
    table = parse("prompt_id,prompt_variant\npos,orig\npos,paraphrase\n")
    known, additions = split_additions(Run("x", tables={PURE: table}))
    assert additions == Additions(passes=("pos/paraphrase",))
    assert known == Run("x", tables={PURE: parse("prompt_id,prompt_variant\npos,orig\n")})


@pytest.mark.parametrize(
    "text",
    ['{"more": 1}', '{\n "more": 1\n}', '{\n  "more": 1\n}\n'],
)
def test_a_document_of_another_layout_keeps_its_text(text: str) -> None:
    known, additions = split_additions(Run("x", document={"more": 1}, document_text=text))
    assert additions.keys == ("more",)
    assert known == Run("x", document={}, document_text=text)


def test_a_run_without_a_document_has_no_text_of_one() -> None:
    assert split_additions(Run("x")) == (Run("x"), Additions())


@pytest.mark.parametrize(
    ("document", "shape"),
    [
        ({}, DOCUMENT),
        ({"contract": "reference"}, DOCUMENT),
        ({"contract": "corrected"}, CORRECTED_DOCUMENT),
        ({"passes": {}}, DOCUMENT),
        ({"passes": []}, suite_document(corrected=False)),
        ({"passes": [], "contract": "corrected"}, suite_document(corrected=True)),
    ],
)
def test_the_shape_of_a_document_is_that_of_its_contract(document: Any, shape: Any) -> None:
    assert shape_of(document) == shape


def test_the_passes_of_the_contract_are_those_of_the_first_fact() -> None:
    rows = [
        "0,pos,orig,1.5",
        ",ctl,orig,2.5",
        "1,pos,orig,3.5",
        "0,pos,other,4.5",
        "1,pos,orig,5.5",
    ]
    header = "fact_index,prompt_id,prompt_variant,entropy"
    known, names = known_passes(parse("\n".join([header, *rows, ""])))
    assert known == parse("\n".join([header, *rows[:2], ""]))
    assert names == ["fact 1 pos/orig", "pos/other"]


def test_a_table_without_further_columns_has_its_header_and_cells_as_written() -> None:
    table = parse('a,"mo,re",b\n1,2,"3,"\n1,2\n1\n1,2,3,4\n')
    assert known_columns(table, ("b", "a")) == (parse('a,b\n1,"3,"\n1\n1\n1,3,4\n'), ("mo,re",))
    assert known_columns(table, ("a", "mo,re", "b")) == (table, ())


def test_the_alternative_with_the_form_of_a_value_says_which_keys_it_has() -> None:
    shape = (Items({"a": Leaf(("int",))}), {"b": Leaf(("int",))})
    further: list[str] = []
    assert known_keys(("x",), [{"a": 1, "b": 2}], shape, further) == [{"a": 1}]
    assert known_keys(("y",), {"a": 1, "b": 2}, shape, further) == {"b": 2}
    assert further == ["x[].b", "y.a"]
