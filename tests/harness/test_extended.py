"""What a run has more, on purpose, is told apart from what it has otherwise, by accident."""

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import safetensors.torch
import torch
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


TABLE = "layer,lens,kl\n0,norm,1.25\n0,final,0.5\n1,norm,2.5\n"


def further(folder: Path, name: str, content: str | bytes) -> Path:
    """A copy of `fact` with one file more."""
    run = Path(tempfile.mkdtemp(dir=folder))
    shutil.copytree(FACT, run, dirs_exist_ok=True)
    path = run / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return run


def compared(tmp_path: Path, name: str, a: str | bytes, b: str | bytes) -> tuple[str, list[str]]:
    """The verdict of a file beside the contract's, and its findings."""
    runs = further(tmp_path, name, a), further(tmp_path, name, b)
    result = diff(runs, (None, None), FP32)
    (verdict,) = [file.verdict for file in result.files if file.file == name]
    return verdict, [
        f"{m.place.row_text} {m.place.column_text}: {m.kind}" for m in result.mismatches
    ]


@pytest.mark.parametrize(
    ("change", "verdict", "findings"),
    [
        (("1.25", "1.2500001"), "equal within tolerance", []),
        (("1.25", "1.35"), "changed", ["layer 0 lens norm kl: value"]),
        (("0,final,0.5\n", ""), "changed", ["layer 0 lens final : missing row"]),
        (
            ("\n1,norm", "\n2,norm"),
            "changed",
            ["layer 1 lens norm : missing row", "layer 2 lens norm : extra row"],
        ),
        (
            (",kl\n", ",kl,more\n"),
            "changed",
            [f"{row} : row width" for row in ("layer 0 lens norm",)],
        ),
        ((",lens", ",lenz"), "changed", []),
    ],
)
def test_a_table_that_the_contract_does_not_know_is_compared_by_its_keys(
    change: tuple[str, str], verdict: str, findings: list[str], tmp_path: Path
) -> None:
    obtained = compared(tmp_path, "output-Fact-more.csv", TABLE, TABLE.replace(*change))
    assert obtained[0] == verdict
    assert set(findings) <= set(obtained[1])


def test_a_column_more_in_an_unknown_table_is_one_finding(tmp_path: Path) -> None:
    wider = "".join(f"{line},{i}\n" for i, line in enumerate(TABLE.splitlines()))
    verdict = compared(tmp_path, "output-Fact-more.csv", TABLE, wider)
    assert verdict == ("extended", ["header 0: extra column"])


def test_rows_without_a_key_come_by_order(tmp_path: Path) -> None:
    a, b = "name,x\nu,1.5\nu,2.5\n", "name,x\nu,1.5\nu,3.5\n"
    assert compared(tmp_path, "more.csv", a, b) == ("changed", ["row 2 x: value"])
    assert compared(tmp_path, "more.csv", a, a.replace("u,2.5\n", ""))[1] == ["row 2 : missing row"]


def test_unknown_json_is_compared_as_a_tree(tmp_path: Path) -> None:
    a = '{"a": [{"b": 1.5}], "c": "x"}'
    assert compared(tmp_path, "more.json", a, a.replace("1.5", "1.5000001"))[0] != "changed"
    assert compared(tmp_path, "more.json", a, a.replace("1.5", "2.5"))[1] == ["a[0] b: value"]
    assert compared(tmp_path, "more.json", a, a[:-1] + ', "d": 1}') == (
        "extended",
        ["top level d: extra key"],
    )
    assert compared(tmp_path, "more.json", "[1, 2]", "[1]") == ("changed", [" : list length"])


def test_unknown_tensors_are_compared_by_name(tmp_path: Path) -> None:
    tensors = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3)}
    otherwise = {**tensors, "b": torch.tensor([1.0, 1.0, 2.0])}
    for name, save in (("more.safetensors", safe), ("more.pt", pickled)):
        assert compared(tmp_path, name, save(tensors), save(otherwise)) == (
            "changed",
            ["pos 0 component 2 b: value"],
        )
        more = save({**tensors, "c": torch.zeros(1)})
        assert compared(tmp_path, name, save(tensors), more) == ("extended", [" c: extra key"])
        half = save({**tensors, "b": torch.ones(3, dtype=torch.float16)})
        assert compared(tmp_path, name, save(tensors), half) == ("changed", [" b dtype: dtype"])


def safe(tensors: dict[str, torch.Tensor]) -> bytes:
    return safetensors.torch.save(tensors)


def pickled(tensors: dict[str, torch.Tensor]) -> bytes:
    stream = io.BytesIO()
    torch.save(tensors, stream)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["more.csv", "more.json", "more.pt"])
def test_what_only_one_side_can_be_read_as_is_unreadable(name: str, tmp_path: Path) -> None:
    good = {"more.csv": TABLE.encode(), "more.json": b"{}", "more.pt": pickled({})}[name]
    bad = {"more.csv": b'a,"b', "more.json": b"{", "more.pt": b"\x80"}[name]
    assert compared(tmp_path, name, good, bad)[0] == "unreadable"
    assert compared(tmp_path, name, bad, bad)[0] == "identical"
    assert compared(tmp_path, name, bad, bad + b"1")[0] == "changed"
