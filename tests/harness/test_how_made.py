"""Files that tell how runs were made: what is never the same twice is left out and named, all else is not."""

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from spec.__main__ import main
from spec.compare.diff import (
    MADE_OTHERWISE,
    ONLY_A,
    ONLY_B,
    SAME_BUT_TIMES,
    Diff,
    FileDiff,
    diff,
    judge_how_made,
)
from spec.compare.how_made import how_made, never_twice
from spec.compare.tolerance import FP32
from spec.compare.verdicts import BROKEN, CHANGED, EQUAL, IDENTICAL
from spec.golden import GOLDEN

Output = pytest.CaptureFixture[str]
MANIFEST = {
    "model_id": "tiny/Fact",
    "options": {"out_dir": "/a", "threads": 0},
    "versions": {"torch": "2.13.0"},
    "prompts": [{"token_ids": [1, 2]}],
    "warnings": [],
    "finished_at": "2025-11-25T04:53:25+00:00",
    "elapsed_s": 0.544,
    "peak_memory": {"host": 499073024, "cuda": 0},
}
TIMES = {
    "options": {"out_dir": "/b", "threads": 0},
    "finished_at": "2025-11-25T05:00:00+00:00",
    "elapsed_s": 12.0,
    "peak_memory": {"host": 1, "cuda": 2},
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        copytree(GOLDEN / "outputs" / "fact", tmp_path / name)
        write(tmp_path / name)
    return tmp_path / "a", tmp_path / "b"


def write(folder: Path, **changes: Any) -> None:
    text = json.dumps(MANIFEST | changes, indent=2)
    (folder / "run-Fact.manifest.json").write_text(text)


def compared(folders: tuple[Path, Path]) -> Diff:
    return diff(folders, (None, None), FP32)


def test_times_are_left_out_and_named(folders: tuple[Path, Path], capsys: Output) -> None:
    assert main(["diff", *map(str, folders)]) == 0
    assert "the same bytes in 4 of 4 files, 2,873" in capsys.readouterr().out.splitlines()[-1]
    write(folders[1], **TIMES)
    assert main(["diff", *map(str, folders)]) == 0
    output = capsys.readouterr().out
    assert (
        "not compared: run-Fact.manifest.json: options.out_dir, finished_at, elapsed_s, " in output
    )
    assert output.splitlines()[-1] == (
        "identical: the same bytes in 3 of 4 files, but for times in run-Fact.manifest.json, "
        "2,873 values compared"
    )
    verdicts = {file.file: file.verdict for file in compared(folders).files}
    assert verdicts["run-Fact.manifest.json"] == SAME_BUT_TIMES


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"versions": {"torch": "2.14.0"}}, "versions.torch"),
        ({"options": {"out_dir": "/b", "threads": 1}}, "options.threads"),
        ({"prompts": [{"token_ids": [1, 3]}]}, "prompts.token_ids"),
        ({"warnings": ["R1"]}, "warnings"),
        ({"more": None}, "more"),
        ({"elapsed_s": "0.544 s"}, "elapsed_s"),
        ({"peak_memory": {"host": 499073024}}, "peak_memory.cuda"),
        ({"options": {"threads": 0, "out_dir": "/a"}}, "order of its keys"),
    ],
)
def test_all_else_makes_runs_not_identical(
    changes: dict[str, Any], name: str, folders: tuple[Path, Path], capsys: Output
) -> None:
    write(folders[1], **changes)
    assert main(["diff", *map(str, folders)]) == 1
    assert f"not judged: run-Fact.manifest.json: {name}" in capsys.readouterr().out
    result = compared(folders)
    assert result.verdict == EQUAL
    assert {f.verdict for f in result.files if not f.judged} == {MADE_OTHERWISE}
    assert main(["diff", *map(str, folders), "--tolerance", "fp32"]) == 0


def test_another_layout_is_no_time(folders: tuple[Path, Path]) -> None:
    path = folders[1] / "run-Fact.manifest.json"
    path.write_text(path.read_text().replace("  ", "   ", 1))
    assert main(["diff", *map(str, folders)]) == 1


def test_a_manifest_of_one_side(folders: tuple[Path, Path], capsys: Output) -> None:
    (folders[0] / "run-Fact.manifest.json").unlink()
    assert main(["diff", *map(str, folders)]) == 1
    result = compared(folders)
    assert result.verdict == EQUAL
    assert [f.file for f in result.files if f.verdict == ONLY_B] == ["run-Fact.manifest.json"]


SUMMARY = "model_id,L_copy,elapsed_s,peak_host_bytes,peak_cuda_bytes\ntiny/Fact,1,0.5,3,0\n"
SWEEP = '{\n  "started_at": "2025-11-25T04:53:25+00:00",\n  "finished_at": null\n}\n'


def test_a_sweep_that_was_repeated_is_identical(folders: tuple[Path, Path], capsys: Output) -> None:
    for folder, seconds in zip(folders, ("0.5", "12.25"), strict=True):
        copytree(GOLDEN / "outputs" / "raw-off", folder, dirs_exist_ok=True)
        (folder / "summary.csv").write_text(SUMMARY.replace("0.5", seconds))
        (folder / "sweep.manifest.json").write_text(SWEEP.replace("04:53", f"04:{seconds[-2:]}"))
    assert main(["diff", *map(str, folders)]) == 0
    output = capsys.readouterr().out
    assert "not compared: summary.csv: elapsed_s" in output
    assert "not compared: sweep.manifest.json: started_at" in output
    (folders[1] / "summary.csv").write_text(SUMMARY.replace(",1,", ",2,"))
    assert main(["diff", *map(str, folders), "--tolerance", "fp32"]) == 1
    assert "summary.csv          changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "other",
    [
        SUMMARY + SUMMARY.splitlines()[1] + "\n",
        SUMMARY[:-1],
        SUMMARY.replace("\n", "\r\n"),
        SUMMARY.replace("elapsed_s", "elapsed"),
        SUMMARY.replace("0.5", "half"),
        SUMMARY.replace(",0\n", "\n"),
        SUMMARY.replace(",0\n", ",0,9\n"),
    ],
)
def test_a_summary_is_held_to_all_but_its_costs(other: str, tmp_path: Path) -> None:
    paths = tmp_path / "a" / "summary.csv", tmp_path / "b" / "summary.csv"
    for path, text in zip(paths, (SUMMARY, other), strict=True):
        path.parent.mkdir()
        path.write_bytes(text.encode())
    assert how_made("summary.csv", *paths).differing


def test_which_files_tell_how_runs_were_made() -> None:
    files = [
        "run-X.manifest.json",
        "logs/run-X.manifest.json",
        "logs/more/run-X.manifest.json",
        "sweep.manifest.json",
        "summary.csv",
    ]
    assert all(never_twice(file) for file in files)
    assert not any(map(never_twice, ["output-X.json", "manifest.json", "output-X-summary.csv"]))


def test_facts_of_a_manifest_are_settings(folders: tuple[Path, Path]) -> None:
    write(folders[0], dtype="float32", fingerprint="a1", versions={"torch": "1", "python": "3"})
    write(folders[1], dtype="bfloat16", fingerprint="b2", versions={"torch": "2", "python": "3"})
    assert {(change.name, change.a, change.b) for change in compared(folders).settings} == {
        ("dtype", "float32", "bfloat16"),
        ("weights", "a1", "b2"),
        ("torch", "1", "2"),
    }


@pytest.mark.parametrize(
    ("name", "texts", "result"),
    [
        ("sweep.manifest.json", ('{"a": 1}', '{"a": 1}'), (IDENTICAL, 0, 0, False)),
        ("sweep.manifest.json", ('{"a": 1}', '{"a": '), (BROKEN, 0, 1, True)),
        ("sweep.manifest.json", ('{"a": 1}', None), (ONLY_A, 0, 0, False)),
        ("sweep.manifest.json", (None, "{"), (ONLY_B, 0, 0, False)),
        (
            "sweep.manifest.json",
            ('{\n  "started_at": "x"\n}', '{\n  "started_at": "y"\n}'),
            (SAME_BUT_TIMES, 0, 0, False, ("started_at",)),
        ),
        (
            "sweep.manifest.json",
            ('{"a": 1, "b": [1, 2], "finished_at": "x"}', '{"a": 2, "b": [3, 4]}'),
            (MADE_OTHERWISE, 0, 0, False, ("a", "b", "finished_at", "layout")),
        ),
        ("summary.csv", ("a,b\n1,2\n", "a,b\n2,3\n"), (CHANGED, 0, 2, True, ("a", "b"))),
        (
            "summary.csv",
            ("elapsed_s\n1\n", "elapsed_s\n2\n"),
            (SAME_BUT_TIMES, 0, 0, False, ("elapsed_s",)),
        ),
        ("summary.csv", ("a\n", None), (ONLY_A, 0, 0, True)),
    ],
)
def test_the_verdict_of_a_file_of_how_runs_were_made(
    name: str, texts: tuple[str | None, str | None], result: tuple[Any, ...], tmp_path: Path
) -> None:
    paths: list[Path | None] = []
    for side, text in zip("ab", texts, strict=True):
        path = tmp_path / side
        if text is not None:
            path = path.with_suffix(Path(name).suffix)
            path.write_text(text)
        paths.append(None if text is None else path)
    assert judge_how_made(name, *paths) == FileDiff(name, *result)
