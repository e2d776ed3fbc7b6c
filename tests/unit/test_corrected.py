"""The corrected contract: the model's own modules, every row, tables that csv and pandas read back, and the proof."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenses_min import RunOptions, pipeline
from lenses_min.cli import command_line
from lenses_min.output.csv_text import MISSING, table_text
from lenses_min.output.run import Run
from spec.runs.csv_dialect import CsvError, parse_corrected

ODD = [
    *sorted(MISSING),
    "\r",
    "\n",
    "\\",
    '"',
    '"x',
    ",",
    " Berlin",
    "42",
    " 1e5",
    "inf",
    "true",
    " TRUE",
    "\x00",
]


@given(
    st.lists(
        st.one_of(st.sampled_from(ODD), st.text(st.characters(codec="utf-8"))),
        min_size=1,
        max_size=8,
    )
)
def test_texts_come_back_from_csv_pandas_and_the_harness(texts: list[str]) -> None:
    written = table_text([["text", "number"], *([text, 0.1] for text in texts)])
    by_csv = [row[0] for row in csv.reader(io.StringIO(written, newline=""))][1:]
    by_pandas = pd.read_csv(io.StringIO(written))["text"].tolist()
    assert by_pandas == by_csv
    assert [json.loads(cell) if cell.startswith('"') else cell for cell in by_csv] == texts
    assert [row[0] for row in parse_corrected(written).rows] == texts


def test_the_missing_texts_are_those_of_pandas() -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert set(STR_NA_VALUES) <= MISSING


def test_what_is_no_corrected_table_is_refused() -> None:
    with pytest.raises(CsvError, match="the file is empty"):
        parse_corrected("")
    with pytest.raises(CsvError, match="no JSON string"):
        parse_corrected('a\n"""x"\n')


@pytest.fixture(scope="module")
def byte_run(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    out = tmp_path_factory.mktemp("corrected")
    run = pipeline.run(
        RunOptions(str(models / "byte-bpe"), device="cpu", out_dir=str(out), contract="corrected")
    )
    run.save()
    return run, out


def test_a_saved_table_is_the_frame_that_pandas_reads(byte_run: tuple[Run, Path]) -> None:
    run, out = byte_run
    for table, name in (("records", "records"), ("pure", "pure-next-token")):
        read = pd.read_csv(out / f"output-byte-bpe-{name}.csv")
        pd.testing.assert_frame_equal(read, run.frame(table), check_dtype=False, check_exact=True)
        assert read["layer"].dtype == np.int64


def test_records_have_every_layer_and_position(byte_run: tuple[Run, Path]) -> None:
    run, _ = byte_run
    length = len(run.manifest["prompts"][0]["token_ids"])
    assert [(r.layer, r.pos) for r in run.records()] == [
        (layer, pos) for layer in range(5) for pos in range(length)
    ]


def test_the_document_says_what_differs(byte_run: tuple[Run, Path]) -> None:
    run, _ = byte_run
    assert list(run.document)[:2] == ["contract", "differs"]
    assert [entry["id"] for entry in run.document["differs"]] == [
        "R1",
        "R2",
        "R3",
        "R4",
        "R5",
        "R6",
        "R7",
        "rank",
    ]
    assert run.manifest["contract"] == "corrected"


def test_prism_rows_are_those_of_the_norm_lens_and_an_answer_without_an_id_is_its_own(
    models: Path,
) -> None:
    prism = RunOptions(
        str(models / "fact"),
        "tiny/Fact-prism",
        device="cpu",
        contract="corrected",
        prism_dir=str(models.parent / "prisms"),
    )
    run = pipeline.run(prism)
    assert [(r.layer, r.pos) for r in run.records("prism")] == [
        (r.layer, r.pos) for r in run.records()
    ]
    dropped = replace(prism, model=str(models / "dropped-answer"), model_id="tiny/D", prism="off")
    for contract, gold in (("corrected", "Paris"), ("reference", "Berlin")):
        rows = pipeline.run(replace(dropped, contract=contract)).passes()["ctl/orig"]
        assert [row.is_answer for row in rows] == [row.top[0][0].strip() == gold for row in rows]


@pytest.mark.parametrize(
    ("contract", "status", "message"), [("corrected", 0, "equals"), ("reference", 1, "IS NOT")]
)
def test_the_self_test_of_a_layernorm_model(
    contract: str,
    status: int,
    message: str,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [
        "run",
        str(models / "layernorm-parallel"),
        "--device",
        "cpu",
        "--contract",
        contract,
        "--self-test",
    ]
    assert command_line.main([*command, "--out-dir", str(tmp_path / "out")]) == status
    assert f"the last layer {message}" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_self_test_of_nothing_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["run", str(tmp_path / "none"), "--self-test"]) == 1
    assert "there is no checkpoint folder" in capsys.readouterr().err


def test_a_run_beyond_its_bound_says_so(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(models / "softcap-postnorm")
    assert (
        command_line.main(["run", model, "--device", "cpu", "--out-dir", str(tmp_path), "--quiet"])
        == 0
    )
    assert "IS NOT THE MODEL'S OWN OUTPUT" in capsys.readouterr().err
