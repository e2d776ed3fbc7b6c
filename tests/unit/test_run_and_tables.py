"""A run's tables: whose a file is, what is refused, and what rows, columns, prompts and names come back."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

import lenses_min as lm
from lenses_min import LensError, RunOptions
from lenses_min.output import csv_text, load
from lenses_min.output.inputs import inputs
from lenses_min.output.run import Run
from lenses_min.report import facts

FACT = Path(__file__).parents[2] / "golden" / "outputs" / "fact"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(FACT, tmp_path / "run")


def test_whose_a_table_is(tmp_path: Path) -> None:
    """Of the longest name that leaves the end of a table, else of the longest that the file begins with."""
    ends = {
        "m": ["records", "records-final", "pure-next-token", "notes"],
        "m-records": ["records"],
        "m-x": ["mine", "records"],
    }
    files = [f"output-{name}-{end}.csv" for name, all_ends in ends.items() for end in all_ends]
    others = [
        "output-n-records.csv",  # of no run here
        "output-m-gone-records.csv",  # of a run that is gone
        "output-m-records.txt",
        "records.csv",
    ]
    for file in [*files, *others, *(f"output-{name}.json" for name in ends)]:
        (tmp_path / file).touch()
    for name, own in ends.items():
        names = {end: path.name for end, path in load.table_files(tmp_path, name)}
        assert names == {end: f"output-{name}-{end}.csv" for end in own}


def test_a_table_is_there_once(folder: Path) -> None:
    shutil.copy(folder / "output-Fact-records.csv", folder / "output-Fact-records-norm.csv")
    message = f"{folder} holds two tables records of norm; take away output-Fact-records.csv"
    with pytest.raises(LensError) as refused:
        lm.load(folder)
    assert str(refused.value) == message


def test_a_table_of_another_s_lens_has_the_columns_of_its_file(folder: Path) -> None:
    header, *rows = (folder / "output-Fact-records.csv").read_text(encoding="utf-8").splitlines()
    mine = [f"{header},more", *(f"{row},{i}" for i, row in enumerate(rows[:3]))]
    (folder / "output-Fact-records-mine.csv").write_text("\n".join(mine) + "\n", encoding="utf-8")
    (folder / "output-Fact-pure-next-token-mine.csv").write_text(
        (folder / "output-Fact-pure-next-token.csv").read_text(encoding="utf-8"), encoding="utf-8"
    )
    run = lm.load(folder)
    assert run.lenses == ["norm", "mine"]
    assert run.columns("records", "mine") == [*header.split(","), "more"]
    frame = run.frame("records", "mine")
    assert list(frame.columns) == [*header.split(","), "more"]
    assert list(frame["more"]) == [0, 1, 2]
    assert list(run.frame("records").columns) == header.split(",")


def test_an_empty_further_table_has_no_rows(folder: Path) -> None:
    (folder / "output-Fact-notes.csv").touch()
    run = lm.load(folder)
    assert (run.rows("notes"), run.columns("notes")) == ([], [])


def test_two_runs_that_failed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"output-{name}.error.json").touch()
    with pytest.raises(LensError) as refused:
        lm.load(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} holds no run: no output-NAME.json; "
        "output-a.error.json tells why a failed, output-b.error.json tells why b failed"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (
            b"",
            "no JSON: Expecting value: line 1 column 1 (char 0); it begins with ''; "
            "run.py writes there why a run failed (R9)",
        ),
        (
            b"E" * 99 + b"\nmore",
            f"no JSON: Expecting value: line 1 column 1 (char 0); it begins with {'E' * 80!r}; "
            "run.py writes there why a run failed (R9)",
        ),
    ],
)
def test_a_document_that_is_no_json(content: bytes, message: str, folder: Path) -> None:
    document = folder / "output-Fact.json"
    document.write_bytes(content)
    with pytest.raises(LensError) as refused:
        lm.load(folder)
    assert str(refused.value) == f"cannot read {document}: {message}"


def test_residuals_are_read_as_data_and_on_the_host(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "Fact_03_resid.pt"
    with monkeypatch.context() as saving:
        saving.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(torch.ones(1, 2, 3), path)
    (residual,) = lm.load(folder).residuals.values()
    assert torch.equal(residual, torch.ones(1, 2, 3))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # the default of old versions
    torch.save(Path("code"), path)
    with pytest.raises(LensError, match=f"^cannot read {path}: Weights only load failed"):
        lm.load(folder)


def run_of(document: dict[str, Any]) -> Run:
    tables: dict[tuple[str, str], list[Any]] = {
        ("pure", "norm"): [],
        ("pure", "raw"): [],
        ("milestones", "norm"): [{"a": 1}, {"b": 2, "a": 3}],
    }
    return Run("x", tables, document)


def test_tables_that_are_missing() -> None:
    run = run_of({})
    assert run.records("raw") == run.records() == []
    assert run.milestones == dict.fromkeys(lm.load(FACT).milestones)
    for table, lens in (("records", "tuned"), ("pure", "final"), ("else", "norm")):
        with pytest.raises(KeyError) as refused:
            run.rows(table, lens)
        message = f"no table {table!r} of lens {lens!r}; tables: pure, milestones; lenses: ['norm', 'raw']"
        assert refused.value.args == (message,)
    with pytest.raises(KeyError, match="no table 'else' of lens 'raw'"):
        run.columns("else", "raw")


def test_a_further_table_has_the_columns_of_all_its_rows() -> None:
    run = run_of({})
    assert run.columns("milestones") == ["a", "b"]
    frame = run.frame("milestones")
    assert list(frame.columns) == ["a", "b"]
    assert frame.fillna(0).to_numpy().tolist() == [[1, 0], [3, 2]]


def test_the_model_is_named_by_the_document_or_else_by_the_file() -> None:
    assert run_of({"diagnostics": {"model": "tiny/X"}}).model_id == "tiny/X"
    assert run_of({"diagnostics": {}}).model_id == run_of({}).model_id == "x"


PASS = {"prompt_id": "pos", "prompt_variant": "orig", "context_prompt": "The capital"}
PROMPTS: list[tuple[dict[str, Any], dict[str, tuple[str, str]]]] = [
    (
        {"passes": [PASS | {"gold_answer": {"string": "Berlin"}}, {"prompt_id": "ctl"}]},
        {"pos/orig": ("The capital", "Berlin"), "ctl/orig": ("", "")},
    ),
    (
        {"passes": [PASS, PASS | {"prompt_variant": "no_filler", "context_prompt": "Capital"}]},
        {"pos/orig": ("The capital", ""), "pos/no_filler": ("Capital", "")},
    ),
    (
        {
            "prompt": {"context_prompt": "The capital", "ground_truth": "Berlin"},
            "control_prompt": {"context_prompt": "Of France", "gold_answer": {"string": "Paris"}},
        },
        {"pos/orig": ("The capital", "Berlin"), "ctl/orig": ("Of France", "Paris")},
    ),
    ({"prompt": {}}, {"pos/orig": ("", "")}),
    (
        {"prompt": {"fact_key": "de", "context_prompt": "The capital", "ground_truth": "Berlin"}},
        {"de/pos/orig": ("The capital", "Berlin")},
    ),
]


@pytest.mark.parametrize(("document", "prompts"), PROMPTS)
def test_prompts_as_far_as_the_document_has_them(
    document: dict[str, Any], prompts: dict[str, tuple[str, str]]
) -> None:
    assert run_of(document).prompts == prompts


def test_the_commit_of_a_hub_id_is_that_of_the_local_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cached: dict[tuple[str, str], Any] = {
        ("org/here", "config.json"): "/cache/models--org--here/snapshots/1a2b/config.json",
        ("org/gone", "config.json"): object(),  # known to be missing
    }
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *file: cached.get(file))
    assert inputs(RunOptions("org/here")) == {"model": "1a2b"}
    assert inputs(RunOptions("org/gone")) == inputs(RunOptions("org/else")) == {"model": ""}
    monkeypatch.undo()
    assert inputs(RunOptions("a/b/c")) == {"model": ""}, "no hub id at all"


def test_the_raw_lens_check_of_every_pass() -> None:
    checks = [
        {"samples": [{"layer": 2, "p": 0.5}, {"layer": "x"}, 5], "summary": {"risk": "low"}},
        {"samples": [], "summary": {"risk": "high"}},
    ]
    documents: list[dict[str, Any]] = [
        {"prompt_id": "pos", "prompt_variant": "orig", "raw_lens_check": checks[0]},
        {"prompt_id": "ctl", "prompt_variant": "orig", "raw_lens_check": checks[1]},
        {"prompt_id": "off", "prompt_variant": "orig"},
    ]
    low = {"samples": [{"layer": 2, "p": 0.5}], "summary": {"risk": "low"}}
    high = {"samples": [], "summary": {"risk": "high"}}
    run = run_of({"passes": documents, "raw_lens_check": checks[1]})
    assert facts.raw_checks(run) == {"pos/orig": low, "ctl/orig": high}
    assert facts.raw_checks(run_of({"raw_lens_check": checks[0]})) == {"pos/orig": low}
    assert facts.raw_checks(run_of({})) == {}


@pytest.mark.parametrize("text", ["3", "-1.5", "1e5", "inf", "NaN", "true", " False ", '"x', "\r"])
def test_a_text_that_a_reader_would_take_for_something_else_is_a_json_string(text: str) -> None:
    assert csv_text.plain(text) == json.dumps(text)
    assert csv_text.plain(f"x{text}y") == (json.dumps(f"x{text}y") if text == "\r" else f"x{text}y")
    assert csv_text.plain(3) == 3


def test_a_pass_whose_prompt_is_not_known_has_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(
        "lenses_min.output.run.firmness", lambda rows, text, thresholds: texts.append(text)
    )
    run = replace(lm.load(Path(__file__).parents[2] / "golden" / "outputs" / "fact"), document={})
    run.firmness_of(name="pos/no_filler")
    assert texts == [""]
