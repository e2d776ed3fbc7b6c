"""Two small runs: the facts of each, the verdict of every file, and one run under the name of the other."""

import json
from pathlib import Path
from typing import Any

import pytest

from spec.compare.diff import (
    ONLY_A,
    ONLY_B,
    SAME_BUT_TIMES,
    FileDiff,
    compared_file,
    diff,
    renamed,
    swap_name,
    verdict_of,
)
from spec.compare.diff_columns import Note
from spec.compare.diff_facts import Change, facts, last_position, manifest, milestone, shape
from spec.compare.kinds import Kind
from spec.compare.tolerance import BF16, FP32
from spec.compare.verdicts import EQUAL, IDENTICAL, NOT_UNDERSTOOD
from spec.runs.csv_dialect import parse, parse_corrected
from spec.runs.run import PURE, Run

DOCUMENT = {
    "diagnostics": {
        "model": "tiny/F",
        "device": "cpu",
        "use_fp32_unembed": True,
        "unembed_dtype": "float32",
        "copy_thresh": 0.75,
    },
    "model_stats": {"num_layers": 6, "d_model": 128, "d_vocab": 500},
    "raw_lens_check": {"mode": "sample"},
}
POSITIONS = "prompt_id,prompt_variant,layer,pos\npos,orig,0,16\npos,orig,1,17\n"


def write_run(folder: Path, name: str, n_ctx: int = 8) -> Path:
    """A run that is a document alone."""
    folder.mkdir(exist_ok=True)
    document = {"model_stats": {"n_ctx": n_ctx}}
    (folder / f"output-{name}.json").write_text(json.dumps(document, indent=2))
    return folder


def with_table(text: str) -> Run:
    return Run("F", tables={PURE: parse(text)})


def test_the_facts_of_a_run(tmp_path: Path) -> None:
    made = {"dtype": "float16", "fingerprint": "ab", "versions": {"torch": "2.9"}}
    (tmp_path / "run-F.manifest.json").write_text(json.dumps(made))
    run = Run("F", tables={PURE: parse(POSITIONS)}, document=DOCUMENT)
    assert facts(run, tmp_path) == {
        "model": "tiny/F",
        "device": "cpu",
        "use_fp32_unembed": "true",
        "unembed_dtype": "float32",
        "dtype": "float16",
        "blocks": "6",
        "width": "128",
        "vocabulary": "500",
        "last position": "16",
        "copy_thresh": "0.75",
        "raw lens": "sample",
        "weights": "ab",
        "torch": "2.9",
    }


@pytest.mark.parametrize("digits", [309, 5000])
def test_a_layer_and_a_position_beyond_the_range_of_a_float_are_no_facts(digits: int) -> None:
    large = "9" * digits
    run = with_table(f"prompt_id,prompt_variant,layer,pos\npos,orig,{large},{large}\n")
    assert last_position(run) is None
    assert shape(run) == {}


def test_the_facts_of_a_table_without_rows(tmp_path: Path) -> None:
    run = with_table("prompt_id,prompt_variant,layer,pos\n")
    assert last_position(run) is None
    assert shape(run) == {}
    assert facts(run, tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "content"), [('{"a": 1}', {"a": 1}), ("[1]", {}), ("{", {}), (None, {})]
)
def test_a_manifest_is_an_object_or_empty(
    text: str | None, content: dict[str, Any], tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "run-F.manifest.json").write_text(text)
    assert manifest(tmp_path, "F") == content


def test_a_milestone_has_the_tolerance_of_its_last_key() -> None:
    """Class bf16 allows a temperature 22%, and a number without a bound of its own 5%."""
    path = ("diagnostics", "last_layer_consistency", "temp_est")
    name = "last_layer_consistency.temp_est"
    assert milestone(path, 1.0, 1.125, BF16) == Change(name, "1.0", "1.125", False)
    assert milestone(path, 1.0, 1.25, BF16) == Change(name, "1.0", "1.25", True)


def test_a_manifest_that_differs_in_times_leaves_two_runs_identical() -> None:
    files = [FileDiff("output-A.json", IDENTICAL, 9, 0)]
    times = FileDiff("run-A.manifest.json", SAME_BUT_TIMES, 0, 0, judged=False)
    lone = FileDiff("run-A.manifest.json", ONLY_A, 0, 0, judged=False)
    assert verdict_of([*files, times]) == IDENTICAL
    assert verdict_of([*files, lone]) == EQUAL


def test_a_diff_has_both_names_and_what_is_not_judged(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", "A"), write_run(tmp_path / "b", "B", n_ctx=16)
    write_run(a, "C")
    (a / "notes.txt").write_text("of no run")
    result = diff((a, b), ("A", "B"), FP32)
    assert [(side.folder, side.file_stem) for side in (result.a, result.b)] == [(a, "A"), (b, "B")]
    assert result.files == (FileDiff("output-A.json", EQUAL, 2, 0),)
    assert result.notes == (Note("output-A.json", ("model_stats", "n_ctx"), "8", "16"),)
    assert result.left_out == ("notes.txt",)


def test_the_verdict_of_every_file(tmp_path: Path) -> None:
    """The values of the document are the orders of the keys of its two objects."""
    folders = write_run(tmp_path / "a", "A"), write_run(tmp_path / "b", "A")
    for number, folder in enumerate(folders):
        (folder / "A_00_resid.pt").write_bytes(b"no tensor")
        (folder / f"lone{number}.bin").write_bytes(b"1")
        (folder / "summary.csv").write_text(f"model,elapsed_s\nx,{number}.5\n")
    assert diff(folders, (None, None), FP32).files == (
        FileDiff("A_00_resid.pt", NOT_UNDERSTOOD, 0, 0),
        FileDiff("lone0.bin", ONLY_A, 0, 1),
        FileDiff("lone1.bin", ONLY_B, 0, 1),
        FileDiff("output-A.json", IDENTICAL, 2, 0),
        FileDiff("summary.csv", SAME_BUT_TIMES, 0, 0, False, ("elapsed_s",)),
    )


def test_a_table_of_the_same_bytes_differs_in_nothing_in_two_dialects(tmp_path: Path) -> None:
    name = f"output-F-{PURE}.csv"
    text = "prompt_id,prompt_variant,layer,pos,token\npos,orig,0,3,a\\\\b\n"
    runs = []
    for side, table in (("a", parse(text)), ("b", parse_corrected(text))):
        path = tmp_path / side
        path.write_text(text)
        runs.append(Run("F", frozenset({name}), {PURE: table}, paths={name: path}))
    assert compared_file(name, runs[0], runs[1], FP32).mismatches == []
    (tmp_path / "b").write_text("other bytes")
    (mismatch,) = compared_file(name, runs[0], runs[1], FP32).mismatches
    assert (mismatch.place.column, mismatch.kind) == ("token", Kind.VALUE)


def test_a_residual_goes_with_the_name_of_its_run() -> None:
    files = {"A_03_resid.pt": Path("A_03_resid.pt")}
    run = renamed(Run("A", frozenset(files), residuals={"A_03_resid.pt": 1}, paths=files), "B")
    assert dict(run.residuals) == {"B_03_resid.pt": 1}
    assert dict(run.paths) == {"B_03_resid.pt": files["A_03_resid.pt"]}


@pytest.mark.parametrize(
    ("file", "other"),
    [
        ("output-A-records.csv", "output-B-records.csv"),
        ("plots/A.png", "plots/B.png"),
        ("logs/old/run-A.txt", "logs/old/run-B.txt"),
        ("A/notes.txt", "A/notes.txt"),
    ],
)
def test_a_file_under_another_name_stays_in_its_folder(file: str, other: str) -> None:
    assert swap_name(file, "A", "B") == other
