"""What a run has more, on purpose, is distinguished from what it has otherwise, by accident."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from corrupting import csv_path, lines

from spec.__main__ import main
from spec.compare.diff import diff
from spec.compare.runs import compare
from spec.compare.tolerance import FP32
from spec.compare.verdicts import CHANGED, EXTENDED, exit_status, worst
from spec.golden import GOLDEN
from spec.runs.csv_dialect import Table, parse
from spec.runs.run import PURE, RECORDS, Run, read_run
from spec.schema.layout import judge_run, later_layouts

Capture = Callable[[str], Path]
Output = pytest.CaptureFixture[str]
FACT = GOLDEN / "outputs" / "fact"


def add_column(folder: Path, table: str = PURE, at: int = 4, name: str = "more") -> None:
    """A further column, before the column `at` of a table."""

    def wider(rows: list[list[str]]) -> list[list[str]]:
        return [[*r[:at], name if i == 0 else f"{i}.5", *r[at:]] for i, r in enumerate(rows)]

    lines(table, wider)(folder)


def add_key(folder: Path, key: str = "more", *inside: str) -> None:
    """A further key at the end of an object of the document."""
    path = folder / "output-Fact.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    block = document
    for name in inside:
        block = block[name]
    block[key] = {"a": [1, 2.5], "b": None}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")


def add_pass(folder: Path) -> None:
    """The rows of pos/orig once more, as those of pos/paraphrase."""

    def longer(rows: list[list[str]]) -> list[list[str]]:
        main_pass = [r for r in rows if r[:2] == ["pos", "orig"]]
        return [*rows, *([r[0], "paraphrase", *r[2:]] for r in main_pass)]

    lines(PURE, longer)(folder)


def add_file(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def spoil_entropy(folder: Path) -> None:
    """The entropy of the first row is another one."""

    def otherwise(rows: list[list[str]]) -> list[list[str]]:
        at = rows[0].index("entropy")
        return [rows[0], [*rows[1][:at], "0.125", *rows[1][at + 1 :]], *rows[2:]]

    lines(PURE, otherwise)(folder)


ADDITIONS: dict[str, Callable[[Path], None]] = {
    "a column": add_column,
    "the first column": lambda folder: add_column(folder, at=0),
    "a column of the records": lambda folder: add_column(folder, RECORDS, at=6),
    "a key": add_key,
    "a key of an inner object": lambda folder: add_key(folder, "more", "diagnostics"),
    "a pass": add_pass,
    "a table": lambda folder: add_file(folder, "output-Fact-more.csv", "layer\n1\n"),
    "a file": lambda folder: add_file(folder, "notes.txt", "1"),
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_more_is_extended_and_less_is_changed(name: str, capture: Capture, capsys: Output) -> None:
    folder = capture("fact")
    ADDITIONS[name](folder)
    assert diff((FACT, folder), (None, None), FP32).verdict == EXTENDED
    assert diff((folder, FACT), (None, None), FP32).verdict == CHANGED
    assert main(["diff", str(FACT), str(folder)]) == 3
    assert "What was added:" in capsys.readouterr().out
    assert main(["diff", str(FACT), str(folder), "--allow", "extended"]) == 0


@pytest.mark.parametrize("name", ADDITIONS)
def test_an_accident_beside_an_addition_is_still_a_change(name: str, capture: Capture) -> None:
    folder = capture("fact")
    ADDITIONS[name](folder)
    spoil_entropy(folder)
    result = diff((FACT, folder), (None, None), FP32)
    assert result.verdict == CHANGED
    columns = [column.name for column in result.columns if column.beyond]
    assert [name for name in columns if "order" not in name] == ["pure-next-token: entropy"]


def test_the_first_screen_tells_both_apart(capture: Capture, capsys: Output) -> None:
    folder = capture("fact")
    add_column(folder)
    spoil_entropy(folder)
    assert main(["diff", str(FACT), str(folder)]) == 1
    output = capsys.readouterr().out
    assert "What was added:\n    pure-next-token: 1 column: more\n" in output
    assert "beyond tolerance, column by column:\n    output-Fact-pure-next-token.csv" in output


def test_a_column_more_is_one_finding_whatever_the_number_of_rows(capture: Capture) -> None:
    folder = capture("fact")
    add_column(folder)
    mismatches = diff((FACT, folder), (None, None), FP32).mismatches
    assert [(m.place.column, m.kind) for m in mismatches] == [("more", "extra column")]


def facts(table: Table, count: int) -> Table:
    """The rows once for each fact, its number in a new first column."""
    rows = [(str(fact), *row) for fact in range(count) for row in table.rows]
    return parse("\n".join(",".join(row) for row in [("fact_index", *table.header), *rows]) + "\n")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rows_are_aligned_by_the_keys_that_both_tables_have(count: int) -> None:
    text = "prompt_id,prompt_variant,layer,pos,entropy\npos,orig,0,3,1.5\npos,orig,1,3,2.5\n"
    table = parse(text)
    file = "output-Fact-records.csv"
    runs = [
        Run("Fact", frozenset({file}), {RECORDS: each}, paths={file: Path(file)})
        for each in (table, facts(table, count))
    ]
    kinds = [m.kind for m in compare(runs[0], runs[1], FP32).mismatches]
    assert kinds == ["extra column", *["further pass"] * (count - 1)]


def test_a_row_of_a_known_pass_is_no_addition(capture: Capture) -> None:
    folder = capture("fact")
    lines(PURE, lambda rows: [*rows, [*rows[-1][:2], "99", *rows[-1][3:]]])(folder)
    assert diff((FACT, folder), (None, None), FP32).verdict == CHANGED


def test_a_longer_list_is_a_change(capture: Capture) -> None:
    folder = capture("fact")
    path = folder / "output-Fact.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["test_prompts"].append(document["test_prompts"][0])
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    assert diff((FACT, folder), (None, None), FP32).verdict == CHANGED


def test_the_worst_part_is_the_verdict_of_the_whole() -> None:
    assert worst([]) == "identical"
    assert worst(["identical", "equal within tolerance"]) == "equal within tolerance"
    assert worst(["extra", "equal within tolerance"]) == "extended"
    assert worst(["extended", "missing"]) == "changed"
    assert worst(["changed", "unreadable"]) == "unreadable"


@pytest.mark.parametrize(
    ("verdict", "status", "allowed"),
    [
        ("identical", 0, 0),
        ("equal within tolerance", 0, 0),
        ("extended", 3, 0),
        ("changed", 1, 1),
        ("unreadable", 1, 1),
    ],
)
def test_exit_status(verdict: str, status: int, allowed: int) -> None:
    assert exit_status(verdict, allow_extended=False) == status
    assert exit_status(verdict, allow_extended=True) == allowed


def test_the_schema_judges_what_it_knows_and_names_the_rest(capture: Capture) -> None:
    folder = capture("fact")
    for add in (add_column, add_key, add_pass):
        add(folder)
    (folder / "output-Fact-more.csv").write_text("layer\n1\n")
    judged = judge_run(read_run(folder))
    assert judged.violations == ()
    assert judged.sentence == (
        "a later layout: 1 column (more), 1 key (more), 1 pass (pos/paraphrase), "
        "1 file (output-Fact-more.csv) more than 2025-09-06"
    )
    spoil_entropy(folder)
    (violation, *_) = judge_run(read_run(folder)).violations
    assert violation.place.file == "output-Fact-pure-next-token.csv"


def test_a_run_of_the_contract_has_nothing_more() -> None:
    for folder in sorted((GOLDEN / "outputs").iterdir()):
        judged = judge_run(read_run(folder))
        assert (judged.violations, judged.sentence) == ((), "")


def test_a_known_later_layout_is_named(capture: Capture) -> None:
    folder = capture("fact")
    date, later = next(iter(later_layouts().items()))
    for name in sorted(later.columns[PURE]):
        add_column(folder, name=name)
    assert judge_run(read_run(folder)).sentence.startswith(f"the layout of {date}: 14 columns more")


def test_layouts_only_grow() -> None:
    layouts = list(later_layouts().values())
    for earlier, later in pairwise(layouts):
        assert earlier.keys <= later.keys
        assert earlier.files <= later.files
        assert all(later.columns[kind] >= names for kind, names in earlier.columns.items())


def test_validate_exits_3_where_a_run_has_more(capture: Capture, capsys: Output) -> None:
    folder = capture("fact")
    add_column(folder)
    assert main(["validate", str(folder)]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 of 1 run keeps the contract, 1 with a later layout, 0 violations"
    )
    assert main(["validate", str(folder), "--allow", "extended"]) == 0
    csv_path(folder, RECORDS).unlink()
    assert main(["validate", str(folder), "--allow", "extended"]) == 1
