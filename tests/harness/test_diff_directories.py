"""Directories of several runs are compared run by run; a run's document names the run."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from corrupting import PURE, cell

from spec.__main__ import main
from spec.compare.diff import ONLY_A, ONLY_B, FileDiff
from spec.compare.diff_directories import RunLocation, diff_shared, matched
from spec.compare.tolerance import FP32
from spec.compare.verdicts import CHANGED, IDENTICAL
from spec.golden import GOLDEN
from spec.runs.listing import files_below, listing, run_of, runs_in

Capture = Callable[[str], Path]
Output = pytest.CaptureFixture[str]
OUTPUTS = GOLDEN / "outputs"
FLAT = ("fact", "raw-off")


@pytest.fixture
def flat(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories that hold two runs beside one another, and a file of neither."""
    for name in ("a", "b"):
        for case in FLAT:
            copytree(OUTPUTS / case, tmp_path / name, dirs_exist_ok=True)
        (tmp_path / name / "notes.txt").write_text("1")
    return tmp_path / "a", tmp_path / "b"


@pytest.fixture
def nested(tmp_path: Path) -> tuple[Path, Path]:
    """The same two runs in a folder each."""
    for name in ("c", "d"):
        for case in FLAT:
            copytree(OUTPUTS / case, tmp_path / name / "sweep" / case)
    return tmp_path / "c", tmp_path / "d"


def diffed(a: Path, b: Path, capsys: Output, *more: str) -> tuple[int, str]:
    status = main(["diff", str(a), str(b), *more])
    return status, capsys.readouterr().out


def test_runs_beside_one_another_are_compared_by_name(
    flat: tuple[Path, Path], capsys: Output
) -> None:
    status, output = diffed(*flat, capsys)
    assert status == 0
    last = "identical: of 2 runs 2 identical; of no run alone: the same bytes in 1 of 1 files"
    assert output.splitlines()[-1] == last
    cell_of(flat[1] / "output-Raw-off-pure-next-token.csv", "entropy", "1.5")
    status, output = diffed(*flat, capsys)
    assert status == 1
    assert "\nRaw-off  changed beyond fp32: 1 of 3 files, " in output
    assert output.splitlines()[-1].startswith("changed: of 2 runs 1 changed, 1 identical; ")


def cell_of(path: Path, column: str, text: str) -> None:
    """Another text in the first row of a table."""
    lines = path.read_text(encoding="utf-8").split("\n")
    cells = lines[1].split(",")
    cells[lines[0].split(",").index(column)] = text
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]), encoding="utf-8")


def test_a_move_within_tolerance_is_no_identity(flat: tuple[Path, Path], capsys: Output) -> None:
    path = flat[1] / "output-Fact-pure-next-token.csv"
    text = path.read_text(encoding="utf-8")
    assert "1.7617796659469604" in text
    path.write_text(text.replace("1.7617796659469604", "1.7617797"), encoding="utf-8")
    assert diffed(*flat, capsys)[0] == 1
    status, output = diffed(*flat, capsys, "--tolerance", "fp32")
    assert status == 0
    assert output.splitlines()[-1].startswith("equal within tolerance: of 2 runs 1 equal within")


def test_files_of_no_run_are_compared_too(flat: tuple[Path, Path], capsys: Output) -> None:
    (flat[1] / "notes.txt").write_text("2")
    status, output = diffed(*flat, capsys)
    assert status == 1
    assert "notes.txt, line 1: A 1, B 2 (text)" in output
    assert "of no run alone: the same bytes in 0 of 1 files" in output
    (flat[1] / "notes.txt").unlink()
    status, output = diffed(*flat, capsys)
    assert status == 1
    assert "notes.txt  only in A" in output


def test_a_run_of_a_alone_is_a_change_and_one_of_b_alone_an_extension(
    flat: tuple[Path, Path], capsys: Output
) -> None:
    status, output = diffed(flat[0], OUTPUTS / "fact", capsys)
    assert status == 1
    assert "Raw-off  only in A" in output
    assert output.splitlines()[-1].startswith("changed: of 2 runs 1 identical, 1 only in A")
    status, output = diffed(OUTPUTS / "fact", flat[0], capsys, "--tolerance", "bf16")
    assert status == 3
    assert "Raw-off  only in B" in output
    assert diffed(OUTPUTS / "fact", flat[0], capsys, "--allow", "extended")[0] == 0


def test_runs_in_folders_are_compared(nested: tuple[Path, Path], capsys: Output) -> None:
    status, output = diffed(*nested, capsys)
    assert status == 0
    assert "\nsweep/fact/Fact        identical" in output
    (nested[1] / "sweep" / "raw-off").rename(nested[1] / "moved")
    status, output = diffed(*nested, capsys)
    assert status == 0  # the run is known by its name
    cell(PURE, 0, "entropy", "1.5")(nested[1] / "moved")
    status, output = diffed(*nested, capsys)
    assert status == 1
    assert "\nsweep/raw-off/Raw-off  changed beyond fp32: 1 of 3 files" in output


def test_a_run_in_a_folder_and_the_same_beside_others(
    flat: tuple[Path, Path], nested: tuple[Path, Path], capsys: Output
) -> None:
    (flat[0] / "notes.txt").unlink()
    assert diffed(flat[0], nested[0], capsys)[0] == 0


def test_machines_get_every_run(flat: tuple[Path, Path], capsys: Output) -> None:
    status, output = diffed(*flat, capsys, "--json")
    report = json.loads(output)
    assert status == 0
    assert report["verdict"] == "identical"
    assert {name: run["verdict"] for name, run in report["runs"].items()} == {
        "Fact": "identical",
        "Raw-off": "identical",
    }
    assert report["files"][0]["file"] == "notes.txt"


def test_a_document_names_its_run(flat: tuple[Path, Path], capsys: Output) -> None:
    documents = (flat[0] / "output-Fact.json", flat[1] / "output-Fact.json")
    status, output = diffed(*documents, capsys)
    assert status == 0
    assert output.splitlines()[-1] == (
        "identical: the same bytes in 3 of 3 files, 2,873 values compared"
    )
    assert "not compared, of no run alone: notes.txt\n" in output
    assert diffed(documents[0], flat[1], capsys)[0] == 0
    assert diffed(OUTPUTS / "fact", documents[1], capsys)[0] == 0
    assert diffed(documents[0], flat[1], capsys, "--run", "Fact")[0] == 0
    cell_of(csv_of(flat[1]), "entropy", "1.5")
    assert diffed(*documents, capsys)[0] == 1


def csv_of(folder: Path) -> Path:
    return folder / "output-Fact-pure-next-token.csv"


def test_a_directory_named_by_a_relative_path(
    flat: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(flat[0])
    assert diffed(Path("."), Path("../b"), capsys)[0] == 0
    assert diffed(Path("output-Fact.json"), Path("../b/output-Fact.json"), capsys)[0] == 0


def test_runs_of_one_name_and_another_shape_are_changed(tmp_path: Path, capsys: Output) -> None:
    """A digit of the model's size is a change like any other, and no wrong command line."""
    folder = Path(copytree(OUTPUTS / "fact", tmp_path / "run"))
    path = folder / "output-Fact.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"num_layers": 6', '"num_layers": 7'), encoding="utf-8")
    status, output = diffed(OUTPUTS / "fact", folder, capsys)
    assert status == 1
    assert "\nblocks: 6 → 7\n" in output


@pytest.mark.parametrize(
    ("file", "runs", "file_stem"),
    [
        ("output-Qwen3-8B-records.csv", ["Qwen3-8B", "Qwen3-8B-Base"], "Qwen3-8B"),
        ("output-Qwen3-8B-Base-records.csv", ["Qwen3-8B", "Qwen3-8B-Base"], "Qwen3-8B-Base"),
        ("output-Qwen3-8B-Base-milestones.csv", ["Qwen3-8B-Base", "Qwen3-8B"], "Qwen3-8B-Base"),
        ("Qwen3-8B-Base.png", ["Qwen3-8B", "Qwen3-8B-Base"], "Qwen3-8B-Base"),
        ("logs/run-Qwen3-8B.txt", ["Qwen3-8B", "Qwen3-8B-Base"], "Qwen3-8B"),
        ("Qwen3-8Bx.png", ["Qwen3-8B"], None),
        ("output-a-records.csv", ["a", "a-records"], "a"),
        ("a-records_00_resid.pt", ["a", "a-records"], "a-records"),
        ("summary.csv", ["a"], None),
    ],
)
def test_a_file_belongs_to_the_longest_name(
    file: str, runs: list[str], file_stem: str | None
) -> None:
    assert run_of(file, runs) == file_stem


def test_which_files_make_a_run(tmp_path: Path) -> None:
    names = ["output-A.json", "output-A-records.csv", "output-A-notes.json", "output-B.error.json"]
    names += ["output-A-Base.json", "output-A-Base-pure-next-token.csv", "output-C-records-raw.csv"]
    names += ["output-A-milestones.csv", ".output-D.json", "other.json"]
    for name in names:
        (tmp_path / name).write_text("")
    assert runs_in(tmp_path) == ["A", "A-Base", "B", "C"]
    files = listing(tmp_path)
    assert set(files.runs["A"]) == set(names[:3]) | {"output-A-milestones.csv"}
    assert set(files.shared) == {".output-D.json", "other.json"}
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "output-E.json").write_text("")
    assert "inside/output-E.json" in files_below(tmp_path)
    assert "inside/output-E.json" not in listing(tmp_path).shared


def test_a_file_of_no_run_that_one_side_lacks(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("1")
    assert diff_shared({path.name: path}, {}, FP32) == ([FileDiff(path.name, ONLY_A, 0, 1)], [])
    assert diff_shared({}, {path.name: path}, FP32) == ([FileDiff(path.name, ONLY_B, 0, 1)], [])


def test_every_file_of_no_run_has_its_verdict_and_mismatches(tmp_path: Path) -> None:
    sides: tuple[dict[str, Path], dict[str, Path]] = ({}, {})
    for name, texts in {"a.txt": "12", "b.txt": "11", "c.txt": "34"}.items():
        for side, text in enumerate(texts):
            path = sides[side][name] = tmp_path / f"{side}-{name}"
            path.write_text(text)
    files, mismatches = diff_shared(*sides, FP32)
    assert files == [
        FileDiff("a.txt", CHANGED, 0, 1),
        FileDiff("b.txt", IDENTICAL, 0, 0),
        FileDiff("c.txt", CHANGED, 0, 1),
    ]
    assert [mismatch.file for mismatch in mismatches] == ["a.txt", "c.txt"]


def location(name: str) -> RunLocation:
    folder, _, file_stem = name.rpartition("/")
    return RunLocation(Path(folder), file_stem, {}, folder)


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        (["x/A", "y/A"], ["y/A", "x/A"], [("x/A", "x/A"), ("y/A", "y/A")]),
        (["x/A", "y/A"], ["x/A", "z/A"], [("x/A", "x/A"), ("y/A", "z/A")]),
        (["x/A", "y/A"], ["z/A"], []),
        (["z/A"], ["x/A", "y/A"], []),
        (["x/A"], ["x/B"], []),
    ],
)
def test_runs_are_paired_by_folder_and_name_and_then_by_a_name_that_comes_once(
    a: list[str], b: list[str], pairs: list[tuple[str, str]]
) -> None:
    paired, only_a, only_b = matched([*map(location, a)], [*map(location, b)])
    assert [(left.name, right.name) for left, right in paired] == pairs
    assert [place.name for place in only_a] == [n for n in a if n not in dict(pairs)]
    assert [place.name for place in only_b] == [n for n in b if n not in dict(pairs).values()]
