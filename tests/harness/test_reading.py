"""Reading: the reference's own dialect, broken rows included, and findings instead of crashes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spec.golden import GOLDEN, load_cases
from spec.runs import csv_dialect, json_text, values
from spec.runs.run import PURE, RECORDS, read_run, runs_in
from spec.schema.validate import validate

Capture = Callable[[str], Path]
TEXT = st.text(alphabet=st.sampled_from('a,"\\\n\r é⟨'), max_size=6) | st.text(max_size=6)


def csv_text(rows: list[list[str]]) -> str:
    return "".join(",".join(map(csv_dialect.encode, row)) + "\n" for row in rows)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(TEXT, min_size=2, max_size=4), min_size=1, max_size=4))
@example([["a", "b"], ["\r", "\\"], ["\r\n", '"'], ["\\\\", '\\"\r'], ["", ""]])
def test_any_token_text_survives(rows: list[list[str]]) -> None:
    table = csv_dialect.parse(csv_text(rows))
    assert [list(table.header), *map(list, table.rows)] == rows
    assert table.complete


def by_definition(text: str) -> list[csv_dialect.Cells]:
    """The written cells of every line, character by character."""
    written: list[csv_dialect.Cells] = []
    at = 0
    while at < len(text):
        cells, at = csv_dialect.quoted_line(text, at, len(written) + 1)
        written.append(tuple(cells))
    return written


def outcome(read: Callable[[], Any]) -> Any:
    """What a reader returns, or the message of its error."""
    try:
        return read()
    except csv_dialect.CsvError as error:
        return str(error)


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet='ab,,""\\\n\r ', max_size=16))
@example('a,"\n"\n1,"b\n')  # a cell over several lines, and one that does not end
@example('a"b,"c"\n')
@example('"a,b\\"')
@example("\n" * (csv_dialect.LINE_FEEDS + 2))
@example('"' + "\n" * (csv_dialect.LINE_FEEDS + 2) + '",a\n')
def test_lines_are_read_as_the_dialect_defines_them(text: str) -> None:
    read = outcome(lambda: list(csv_dialect.lines(text)))
    defined = outcome(lambda: by_definition(text))
    if isinstance(read, str):
        assert read == defined
    else:
        assert [written for _, written in read] == defined
        assert all(tuple(map(csv_dialect.decode, written)) == cells for cells, written in read)


def test_a_table_of_the_same_bytes_is_read_once(capture: Capture) -> None:
    folder = capture("fact")
    (folder / "output-Fact-records.csv").write_text("prompt_id\n")
    first = read_run(GOLDEN / "outputs" / "fact")
    second = read_run(folder, other=first)
    assert second.tables[PURE] is first.tables[PURE]
    assert second.tables[RECORDS].header == ("prompt_id",)


def test_bare_carriage_return_stays_in_its_cell() -> None:
    table = csv_dialect.parse("layer,top1,prob1\n0,\r,0.5\n1,b,0.25\n")
    assert table.rows == (("0", "\r", "0.5"), ("1", "b", "0.25"))


def test_doubled_backslash_of_the_capture_is_one() -> None:
    table = read_run(GOLDEN / "outputs" / "attn-bias").tables[RECORDS]
    assert table.column("top5", 7) == "\\"
    assert table.sources[7][table.header.index("top5")] == "\\\\"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ('a,b\n1,"x', "line 2: the file ends inside a quoted"),
        ('a,b\n"x"y,1\n', "line 2: text follows a closing quote"),
        ("a\\", "line 1: the file ends inside"),
    ],
)
def test_text_out_of_the_dialect_is_refused(text: str, message: str) -> None:
    with pytest.raises(csv_dialect.CsvError, match=message):
        csv_dialect.parse(text)


def test_last_line_without_line_feed_is_kept_and_reported() -> None:
    table = csv_dialect.parse("a,b\n1,")
    assert (table.rows, table.complete) == ((("1", ""),), False)


def test_table_needs_a_source_per_row() -> None:
    with pytest.raises(ValueError, match="one source per row, got 1 rows and 0 sources"):
        csv_dialect.Table(("a",), (("1",),), (), True)


def test_numbers_keep_their_text() -> None:
    document = json_text.parse('{"b": 1e-5, "a": 1.0, "c": 1, "d": NaN}')
    assert list(document) == ["b", "a", "c", "d"]
    assert [document["b"].text, document["a"].text, document["d"].text] == ["1e-5", "1.0", "NaN"]
    assert type(document["c"]) is int


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1', "not JSON at line 1"),
        ('{"a": 1, "a": 2}', "holds a twice"),
        ("[1]", "must be an object, got list"),
        (f'{{"a": {10**308}}}', "an integer of 309 characters is beyond the range of a float"),
        ('{"a": ' + "9" * 5000 + "}", "an integer of 5000 characters is beyond"),
    ],
)
def test_broken_documents_are_refused(text: str, message: str) -> None:
    with pytest.raises(json_text.JsonError, match=message):
        json_text.parse(text)


@pytest.mark.parametrize("digits", [309, 5000])
def test_an_integer_beyond_the_range_of_a_float_is_reported_in_either_format(
    digits: int, tmp_path: Path
) -> None:
    """In a cell it is no integer, and a document with one cannot be read."""
    folder = tmp_path / "run"
    shutil.copytree(GOLDEN / "outputs" / "fact", folder)
    (table,) = folder.glob("*-pure-next-token.csv")
    lines = table.read_text(encoding="utf-8").splitlines()
    place = lines[0].split(",").index("answer_rank")
    cells = lines[1].split(",")
    assert values.is_integer(cells[place])
    lines[1] = lines[1].replace(f",{cells[place]},", f",{'9' * digits},", 1)
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rules = {violation.rule for violation in validate(read_run(folder))}
    assert "cell.type" in {str(rule) for rule in rules}

    (document,) = folder.glob("*.json")
    text = document.read_text(encoding="utf-8")
    document.write_text(text.replace("{", '{"a": ' + "9" * digits + ",", 1), encoding="utf-8")
    with pytest.raises(json_text.JsonError, match=f"an integer of {digits} characters"):
        json_text.parse(document.read_text(encoding="utf-8"))
    assert validate(read_run(folder))


@pytest.mark.parametrize("case", load_cases())
def test_every_capture_reads_and_writes_back(case: str) -> None:
    run = read_run(GOLDEN / "outputs" / case)
    assert run.findings == ()
    assert run.strays == ()
    assert run.document is not None
    assert json_text.layout(run.document) == run.document_text
    assert {RECORDS, PURE} <= set(run.tables)
    for table in run.tables.values():
        assert [[csv_dialect.encode(cell) for cell in row] for row in table.rows] == [
            list(s) for s in table.sources
        ]


def test_unreadable_files_become_findings(capture: Capture) -> None:
    folder = capture("keep-residuals")
    (folder / "output-Keep-residuals.json").write_text('{"prompt": ')
    (folder / "output-Keep-residuals-records.csv").write_bytes(b"\xff\xfe")
    (folder / "Keep-residuals_01_resid.pt").write_bytes(b"PK not a zip")
    torch.save({"a": torch.zeros(1)}, folder / "Keep-residuals_02_resid.pt")
    sentences = {
        finding.file: finding.sentence for finding in read_run(folder, "Keep-residuals").findings
    }
    assert sentences["output-Keep-residuals.json"].startswith("cannot be read: not JSON at line 1")
    assert "utf-8" in sentences["output-Keep-residuals-records.csv"]
    assert sentences["Keep-residuals_01_resid.pt"].startswith("cannot be read: ")
    assert (
        sentences["Keep-residuals_02_resid.pt"]
        == "cannot be read: a residual file holds one tensor, got dict"
    )
    assert len(sentences) == 4


def test_error_report_is_shown_and_manifest_ignored(tmp_path: Path) -> None:
    report = {"model": "m/x", "error_type": "LensError", "message": "no tokenizer in /models/x"}
    (tmp_path / "output-x.error.json").write_text(json.dumps(report))
    (tmp_path / "run-x.manifest.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    run = read_run(tmp_path)
    assert [f.sentence for f in run.findings] == [
        "the run failed: LensError: no tokenizer in /models/x"
    ]
    assert run.files == frozenset()
    assert run.strays == ("notes.txt",)


def test_missing_folder_is_a_finding(tmp_path: Path) -> None:
    assert read_run(tmp_path / "none", "x").findings[0].sentence == "the run left no folder"


def test_folder_of_two_runs_needs_a_name(capture: Capture) -> None:
    folder = capture("fact")
    for path in (GOLDEN / "outputs" / "rms-rope").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert runs_in(folder) == ["Fact", "rms-rope"]
    with pytest.raises(ValueError, match=r"must hold one run, found .*name the run to read"):
        read_run(folder)
    assert read_run(folder, "Fact").strays == ()
