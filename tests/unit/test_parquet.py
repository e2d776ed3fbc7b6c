"""Tables of a run as Parquet: typed columns with the CSV's names and values, read back as the same run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lenses_min as lm
from lenses_min import LensError, RunOptions, pipeline
from lenses_min.cli import command_line
from lenses_min.core.rows import RecordRow
from lenses_min.output import parquet, store
from lenses_min.output.run import Run
from spec import __main__ as spec_command_line

GOLDEN = Path(__file__).parents[2] / "golden"
PURE = "output-Fact-pure-next-token.parquet"
FOLDERS = ("outputs/fact-prism", "corrected/odd-tokens")


def as_parquet(run: Run, folder: Path) -> Path:
    replace(run, table_format="parquet").save(folder)
    return folder


@pytest.fixture(scope="module")
def folder(own_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_parquet(own_run, tmp_path_factory.mktemp("parquet"))


def test_a_run_writes_every_table_as_parquet_and_the_rest_as_before(
    fact_options: RunOptions, fact_run: Run, tmp_path: Path
) -> None:
    csv, parquet = tmp_path / "csv", tmp_path / "parquet"
    fact_run.save(csv)
    pipeline.write(replace(fact_options, table_format="parquet"), parquet)
    files = {path.name for path in csv.iterdir()}
    assert {path.name.replace(".parquet", ".csv") for path in parquet.iterdir()} == files
    assert not list(parquet.glob("*.csv"))
    document = "output-Fact.json"
    assert (parquet / document).read_bytes() == (csv / document).read_bytes()
    read = lm.load(parquet)
    assert read.table_format == read.manifest["options"]["table_format"] == "parquet"
    assert read.tables == fact_run.tables == lm.load(csv).tables


def test_columns_have_the_names_of_the_csv_and_the_types_of_their_fields(folder: Path) -> None:
    table = pq.read_table(folder / PURE)
    assert table.column_names == store.PURE_COLUMNS
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert {types[name] for name in ("token", "top1", "top20", "prompt_id")} == {"string"}
    assert {types[name] for name in ("layer", "pos", "answer_rank")} == {"int64"}
    assert {types[name] for name in ("prob1", "prob20", "entropy", "control_margin")} == {"double"}
    assert {types[name] for name in ("copy_collapse", "is_answer")} == {"bool"}
    assert table["control_margin"].null_count > 0
    assert table["prob20"].null_count == len(table)


def test_no_number_is_rounded_and_pandas_reads_them(folder: Path, own_run: Run) -> None:
    frame = pd.read_parquet(folder / PURE)
    for column in ("entropy", "kl_to_final_bits", "layer", "is_answer"):
        assert frame[column].tolist() == [getattr(row, column) for row in own_run.pure()]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_run_comes_back_from_parquet_to_its_bytes_of_csv(name: str, tmp_path: Path) -> None:
    run = lm.load(GOLDEN / name)
    read = lm.load(as_parquet(run, tmp_path / "parquet"))
    assert read.tables == run.tables
    assert [read.columns(*key) for key in read.tables] == [run.columns(*key) for key in run.tables]
    replace(read, table_format="csv").save(tmp_path / "csv")
    for path in (GOLDEN / name).glob("*.csv"):
        assert (tmp_path / "csv" / path.name).read_bytes() == path.read_bytes()


HARD = ["\r", "\\", '"', "", "nan", "1", "True", "\0", "\u2028", " ", "\n", "北"]


def test_every_text_comes_back_and_a_lone_surrogate_as_json_escapes_it(
    fact_run: Run, tmp_path: Path
) -> None:
    row = fact_run.records()[0]
    rows = [
        replace(row, token=token, top=tuple((text, 0.5) for text in HARD))
        for token in [*HARD, "\udcff"]
    ]
    tables = {**fact_run.tables, ("records", "norm"): rows}
    read: list[RecordRow] = lm.load(
        as_parquet(replace(fact_run, tables=tables), tmp_path)
    ).records()
    assert read == [*rows[:-1], replace(rows[-1], token="\\udcff")]
    assert lm.load(tmp_path).frame("records")["token"].tolist() == [row.token for row in read]


def test_columns_that_no_field_types_keep_their_values(fact_run: Run, tmp_path: Path) -> None:
    further = [
        {"note": f"n{i}", "share": i / 3, "none": None} for i, _ in enumerate(fact_run.pure())
    ]
    rows = [replace(row, further=more) for row, more in zip(fact_run.pure(), further, strict=True)]
    other = [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    run = replace(fact_run, tables={**fact_run.tables, ("pure", "norm"): rows})
    as_parquet(run, tmp_path)
    assert lm.load(tmp_path).pure()[0].further == {}  # a column of no file
    content = pq.read_table(tmp_path / PURE)
    for name in ("note", "share", "none"):
        content = content.append_column(name, pa.array([more[name] for more in further]))
    pq.write_table(content, tmp_path / PURE)
    pq.write_table(pa.Table.from_pylist(other), tmp_path / "output-Fact-mine.parquet")
    read = lm.load(tmp_path)
    assert [row.further for row in read.pure()] == further
    assert read.rows("mine") == other
    read.save(tmp_path / "again")
    assert lm.load(tmp_path / "again").tables == read.tables


def test_another_format_in_the_same_folder_replaces_the_first(
    fact_run: Run, tmp_path: Path
) -> None:
    for first, second in (("csv", "parquet"), ("parquet", "csv")):
        replace(fact_run, table_format=first).save(tmp_path)
        replace(fact_run, table_format=second).save(tmp_path)
        assert {path.suffix for path in tmp_path.iterdir()} == {".json", f".{second}"}


def test_both_formats_of_one_table_are_refused(fact_run: Run, folder: Path, tmp_path: Path) -> None:
    fact_run.save(tmp_path)
    (tmp_path / PURE).write_bytes((folder / PURE).read_bytes())
    with pytest.raises(LensError, match=rf"holds two tables pure of norm; take away {PURE}"):
        lm.load(tmp_path)


def changed(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], object]:
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot read {path}: "),
        (lambda path: path.write_text("a,b\n1,2\n"), "cannot read {path}: "),
        (changed(lambda t: t.drop_columns("entropy")), "it has no column 'entropy'"),
        (
            changed(lambda t: with_column(t, "layer", [None, *[1] * (len(t) - 1)])),
            "column layer, row 1: it is null",
        ),
        (
            changed(lambda t: with_column(t, "entropy", ["x"] * len(t))),
            "column entropy: Failed to parse string: 'x'",
        ),
        (
            changed(lambda t: t.rename_columns({"entropy": "layer"})),
            "it names the column 'layer' twice",
        ),
        (changed(lambda t: t.slice(0, 0)), "{path} has no rows; the run is not whole"),
    ],
)
def test_a_broken_file_is_one_clear_error(
    change: Callable[[Path], object], fault: str, folder: Path, tmp_path: Path
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    change(path := tmp_path / PURE)
    with pytest.raises(LensError) as caught:
        lm.load(tmp_path)
    assert fault.format(path=path) in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_show_and_report_read_both(
    folder: Path, own_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_run.save(tmp_path)
    shown = []
    for place in (tmp_path, folder):
        assert command_line.main(["show", str(place)]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    page = tmp_path / "page.html"
    assert command_line.main(["report", str(folder), "-o", str(page)]) == 0
    assert "output-Fact-answers.parquet" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["validate", "forensics"])
def test_the_harness_reads_csv_only_and_reports_it(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spec_command_line.main([command, str(folder)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "is a Parquet file, and spec reads CSV only; run lenses-min again" in output.err


def test_a_table_without_rows_has_the_types_of_its_fields(tmp_path: Path) -> None:
    columns = ["prompt_id", "layer", "entropy", "copy_collapse", "top1", "prob20", "note"]
    parquet.write(tmp_path / "none.parquet", "pure", [], columns)
    table = pq.read_table(tmp_path / "none.parquet")
    assert len(table) == 0
    assert {field.name: str(field.type) for field in table.schema} == {
        "prompt_id": "string",
        "layer": "int64",
        "entropy": "double",
        "copy_collapse": "bool",
        "top1": "string",
        "prob20": "double",
        "note": "null",
    }


def test_files_are_compressed_with_zstd_also_where_they_are_joined(tmp_path: Path) -> None:
    """One file alone is joined too."""
    parts = [tmp_path / f"{number}.parquet" for number in range(2)]
    for number, part in enumerate(parts):
        parquet.write(part, "notes", [{"a": number}], ["a"])
    for count in (1, 2):
        parquet.join(joined := tmp_path / f"joined-{count}.parquet", parts[:count])
        assert pq.read_table(joined).to_pylist() == [{"a": number} for number in range(count)]
    for path in tmp_path.iterdir():
        assert pq.read_metadata(path).row_group(0).column(0).compression == "ZSTD"


def test_a_null_is_an_empty_text_where_a_text_must_be() -> None:
    values = pa.chunked_array([["x", None]])
    assert parquet.read_values("token", values, str) == ["x", ""]
    assert parquet.read_values("prompt_id", values, str | None) == ["x", None]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (pa.ArrowInvalid("first\nsecond"), "first"),
        (OSError("no file"), "no file"),
        (pa.ArrowInvalid(""), "ArrowInvalid"),
        (OSError(), "OSError"),
    ],
)
def test_an_error_of_arrow_is_its_first_line_or_else_its_kind(error: Exception, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"), parquet.arrow_errors():
        raise error
