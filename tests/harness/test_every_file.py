"""diff and check compare every file of a run, whatever its name and kind; what lies there is what they count."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from corrupting import csv_path

from spec.__main__ import main
from spec.compare.diff import ONLY_A, Diff, diff
from spec.compare.tolerance import FP32
from spec.compare.verdicts import BROKEN, CHANGED, EQUAL, IDENTICAL, NOT_UNDERSTOOD
from spec.golden import GOLDEN, load_cases
from spec.runners.check import Report, report
from spec.runners.command import Outcome

Capture = Callable[[str], Path]
Runner = Callable[..., str]
Output = pytest.CaptureFixture[str]
FACT = GOLDEN / "outputs" / "fact"
SIDECARS = {
    "output-Fact-milestones.csv": b"layer,is_copy\n0,False\n1,True\n",
    "output-Fact-pure-next-token-rawlens.csv": b"layer,entropy\n0,1.25\n1,2.5\n",
    "output-Fact-pure-next-token-tuned-variants.csv": b"layer,kl\n0,1.25\n",
    "output-Fact-notes.json": b'{"note": 1}',
    "Fact-figure.png": b"\x89PNG\r\n\x1a\n\0\0\0\x0d1\0",
    "notes.txt": "took 12 s, µ = 1\n".encode(),
    "empty": b"",
    ".hidden": b"1\n",
    "logs/run.log": b"started 1\n",
    "logs/deep/er.bin": b"\xff\xfe1\0",
}


def pair(capture: Capture) -> tuple[Path, Path]:
    """Two copies of a run with many files more."""
    folders = capture("fact"), capture("fact", "other")  # type: ignore[call-arg]
    for folder in folders:
        for name, content in SIDECARS.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folders


def compared(folders: tuple[Path, Path]) -> Diff:
    return diff(folders, (None, None), FP32)


def checked(expected: Path, obtained: Path, tmp_path: Path) -> Report:
    """The second run judged against the first, as check does it."""
    library = tmp_path / "library"
    copytree(expected, library / "outputs" / "fact")
    case = load_cases()["fact"]
    return report([case], library, {"fact": obtained}, Outcome(0, "", 1.0))


def test_identical_counts_what_lies_there(capture: Capture, tmp_path: Path, capsys: Output) -> None:
    a, b = pair(capture)
    assert main(["diff", str(a), str(b)]) == 0
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line == "identical: the same bytes in 13 of 13 files, 2,891 values compared"
    result = checked(a, b, tmp_path)
    assert result.matches
    assert set(result.results[0].verdicts.values()) == {IDENTICAL}
    assert len(result.results[0].verdicts) == 13


@pytest.mark.parametrize("name", [name for name in SIDECARS if name != "empty"])
def test_a_changed_digit_is_reported_whatever_the_name(
    name: str, capture: Capture, tmp_path: Path, capsys: Output
) -> None:
    a, b = pair(capture)
    content = SIDECARS[name]
    at = content.index(b"1")
    (b / name).write_bytes(content[:at] + b"7" + content[at + 1 :])
    for tolerance in ([], ["--tolerance", "bf16"]):
        assert main(["diff", str(a), str(b), *tolerance]) == 1
        assert f"\n{name} " in capsys.readouterr().out
    result = compared((a, b))
    assert [file.file for file in result.files if file.verdict == CHANGED] == [name]
    assert {m.file for m in result.mismatches} == {name}
    assert {m.kind for m in result.mismatches} <= {
        "text",
        "bytes",
        "value",
        "missing row",
        "extra row",
    }
    (case,) = checked(a, b, tmp_path).results
    assert {m.file for m in case.comparison.mismatches} == {name}
    assert case.verdicts[name] == CHANGED


@pytest.mark.parametrize("name", SIDECARS)
def test_a_dropped_file_is_reported_whatever_the_name(
    name: str, capture: Capture, tmp_path: Path
) -> None:
    a, b = pair(capture)
    (b / name).unlink()
    result = compared((a, b))
    assert [(f.file, f.verdict) for f in result.files if f.verdict != IDENTICAL] == [(name, ONLY_A)]
    assert result.verdict == CHANGED
    (case,) = checked(a, b, tmp_path).results
    assert [(m.file, m.kind) for m in case.comparison.mismatches] == [(name, "missing file")]
    (back,) = checked(b, a, tmp_path / "back").results
    assert [(m.file, m.kind) for m in back.comparison.mismatches] == [(name, "extra file")]


def test_the_first_line_or_byte_that_differs_is_named(capture: Capture) -> None:
    a, b = pair(capture)
    long = "".join(f"{i},{'x' * 100},0.125,{'y' * 100}\n" for i in range(9))
    (a / "output-Fact-more.txt").write_text(long)
    (b / "output-Fact-more.txt").write_text(long.replace("0.125", "0.126").replace("0,", "0;", 1))
    (b / "logs/deep/er.bin").write_bytes(b"\xff\xfe2\0")
    mismatches = {
        m.file: (m.place.row_text, m.expected, m.obtained, m.kind)
        for m in compared((a, b)).mismatches
    }
    assert mismatches == {
        "logs/deep/er.bin": ("byte 2", "31 00 of 4 bytes", "32 00 of 4 bytes", "bytes"),
        "output-Fact-more.txt": (
            "line 1",
            "0," + "x" * 46 + "…",
            "0;" + "x" * 46 + "… (and 8 more lines)",
            "text",
        ),
    }


def test_a_file_that_nobody_understands_is_identical_by_its_bytes(
    capture: Capture, tmp_path: Path, capsys: Output
) -> None:
    a, b = pair(capture)
    for folder in (a, b):
        (folder / "output-Fact.json").write_text('{"prompt": ')
        (folder / "Fact_00_resid.pt").write_bytes(b"")
    assert main(["diff", str(a), str(b)]) == 0
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line.startswith(
        "identical: the same bytes in 14 of 14 files "
        "(not understood: Fact_00_resid.pt, output-Fact.json), "
    )
    (result,) = checked(a, b, tmp_path).results
    assert result.comparison.matches
    assert result.verdicts["output-Fact.json"] == NOT_UNDERSTOOD
    (b / "output-Fact.json").write_text('{"prompt" ')
    assert main(["diff", str(a), str(b)]) == 1
    verdicts = {file.file: file.verdict for file in compared((a, b)).files}
    assert verdicts["output-Fact.json"] == BROKEN
    assert verdicts["Fact_00_resid.pt"] == NOT_UNDERSTOOD


def test_what_cannot_be_opened_is_reported_and_never_waited_for(capture: Capture) -> None:
    a, b = pair(capture)
    (a / "gone").symlink_to(a / "nothing")
    (b / "gone").symlink_to(b / "nothing")
    (a / "pipe").write_text("")
    os.mkfifo(b / "pipe")
    (b / "output-Fact-records.csv").unlink()
    os.mkfifo(b / "output-Fact-records.csv")
    result = compared((a, b))
    wrong = {file.file: file.verdict for file in result.files if file.verdict != IDENTICAL}
    names = ("gone", "pipe", "output-Fact-records.csv")
    assert wrong == dict.fromkeys(names, BROKEN)


def test_what_may_not_be_read_is_never_the_same(
    capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair(capture)
    read = Path.read_bytes

    def forbid(path: Path) -> bytes:
        if path.name == "notes.txt":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forbid)
    result = compared((a, b))
    assert [f.file for f in result.files if f.verdict == BROKEN] == ["notes.txt"]
    assert "cannot be read: Permission denied" in {m.obtained for m in result.mismatches}


def test_links_are_followed_and_end(capture: Capture) -> None:
    a, b = pair(capture)
    for folder in (a, b):
        (folder / "logs" / "above").symlink_to(folder)
        (folder / "linked").symlink_to(folder / "logs" / "deep")
    result = compared((a, b))
    assert {"linked/er.bin", "logs/above"} <= {file.file for file in result.files}
    assert {f.file for f in result.files if f.verdict != IDENTICAL} == {"logs/above"}


def test_the_work_area_of_a_runner_is_no_file_of_a_run(capture: Capture) -> None:
    a, b = pair(capture)
    (b / ".Fact.part").mkdir()
    (b / ".Fact.part" / "half").write_text("x")
    (b / ".Fact.lock").write_text("")
    assert compared((a, b)).verdict == IDENTICAL


def test_a_file_name_of_any_characters_is_printed_on_one_line(
    capture: Capture, capsys: Output
) -> None:
    a, b = pair(capture)
    (b / "a\nb\x1b[0m").write_text("")
    (b / os.fsdecode(b"\xff.txt")).write_text("")
    (b / "a\\nb\\x1b[0m").write_text("")
    assert main(["diff", str(a), str(b)]) == 3
    assert "\na\\nb\\x1b[0m " in (output := capsys.readouterr().out)
    assert "\n\\udcff.txt " in output
    assert "\na\\\\nb\\\\x1b[0m " in output


def test_runs_of_two_names_are_compared_with_all_their_files(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder, case, file_stem in zip(
        folders, ("fact", "raw-off"), ("Fact", "Raw-off"), strict=True
    ):
        copytree(GOLDEN / "outputs" / case, folder)
        (folder / f"output-{file_stem}-milestones.csv").write_text("layer\n1\n")
        (folder / "Fact.txt").write_text("1")
    verdicts = {file.file: file.verdict for file in compared(folders).files}
    assert verdicts["output-Fact-milestones.csv"] == verdicts["Fact.txt"] == IDENTICAL
    (folders[1] / "output-Raw-off-milestones.csv").write_text("layer\n2\n")
    (folders[1] / "Raw-off.txt").write_text("1")
    verdicts = {file.file: file.verdict for file in compared(folders).files}
    assert verdicts["output-Fact-milestones.csv"] == CHANGED
    assert (verdicts["Fact.txt"], verdicts["Raw-off.txt"]) == (IDENTICAL, "only in B")


def test_what_no_runner_is_held_to_counts_between_two_runs(
    capture: Capture, capsys: Output
) -> None:
    a, b = pair(capture)
    path = b / "output-Fact.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["model_stats"]["n_ctx"] = 4096
    document["diagnostics"]["prism_summary"]["artifact_path"] = "/elsewhere"
    document["diagnostics"]["prism_summary"]["error"] = "Missing prism artifacts in /elsewhere"
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    assert main(["diff", str(a), str(b)]) == 1
    shown = capsys.readouterr().out
    assert "not identical: every value is the same, but not every byte; " in shown
    assert "model_stats.n_ctx: 128 → 4096 (not judged)" in shown
    assert "prism_summary.artifact_path: " in shown
    assert 'Missing prism artifacts in /elsewhere" (not judged)' in shown
    assert compared((a, b)).verdict == EQUAL
    assert main(["diff", str(a), str(b), "--tolerance", "fp32"]) == 0


def test_a_check_against_a_capture_with_further_files_can_be_green(
    runner: Runner, tmp_path: Path, capsys: Output
) -> None:
    """Further files, and columns that the contract does not have: what the capture breaks, no runner is held to."""
    accident = r"""
out = Path(jobs[0]["out_dir"])
(out / "output-Fact-milestones.csv").write_text("layer\n1\n")
(out / "notes").mkdir()
(out / "notes" / "a.txt").write_text("1")
path = out / "output-Fact-pure-next-token.csv"
lines = path.read_text().splitlines()
path.write_text("".join(line + (",more" if i == 0 else ",0.5") + "\n" for i, line in enumerate(lines)))
"""
    command = runner(accident)
    expected = tmp_path / "first"
    assert main(["check", "fact", "--runner", command, "--keep", str(expected)]) == 3
    output = capsys.readouterr().out
    assert "fact: a later layout: 1 column (more), 2 files (" in output
    (expected / "fact" / "run-Fact.manifest.json").unlink()
    capsys.readouterr()
    library = tmp_path / "library"
    copytree(expected / "fact", library / "outputs" / "fact")
    result = checked_against(library, command, tmp_path / "second")
    assert result.matches
    assert result.results[0].excused == 0
    (library / "outputs" / "fact" / "notes" / "a.txt").write_text("2")
    assert not checked_against(library, command, tmp_path / "third").matches


def checked_against(library: Path, command: str, folder: Path) -> Report:
    from spec.runners.check import check

    folder.mkdir()
    return check([load_cases()["fact"]], library, command, folder)


def test_a_damaged_manifest_is_reported(capture: Capture, tmp_path: Path) -> None:
    a, b = pair(capture)
    for folder in (a, b):
        (folder / "run-Fact.manifest.json").write_text("{}")
    (result,) = checked(a, b, tmp_path).results
    assert result.comparison.matches
    assert result.not_compared == ("run-Fact.manifest.json",)
    (b / "run-Fact.manifest.json").write_text("garbage")
    (result,) = checked(a, b, tmp_path / "again").results
    assert [(m.file, m.kind) for m in result.comparison.mismatches] == [
        ("run-Fact.manifest.json", "obtained run")
    ]
    assert compared((a, b)).verdict == BROKEN


def test_a_table_of_a_run_in_a_folder_is_a_file_like_others(capture: Capture) -> None:
    """Not taken for a table of the run, and not for a run of its own."""
    a, b = pair(capture)
    for folder, digit in ((a, "1"), (b, "2")):
        (folder / "earlier").mkdir()
        text = csv_path(folder, "records").read_text(encoding="utf-8")
        (folder / "earlier" / "records.csv").write_text(text + digit, encoding="utf-8")
    assert {m.file for m in compared((a, b)).mismatches} == {"earlier/records.csv"}
