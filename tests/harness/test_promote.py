"""Promotion of a capture to golden/: shown, explained, applied as a whole; refused where it could be a mistake."""

import json
import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from spec.__main__ import main
from spec.errors import SpecError
from spec.golden import GOLDEN, MANIFEST, build_manifest, contents, read_manifest, verify
from spec.lifecycle import promote as lifecycle_promote
from spec.lifecycle.capture import RECORD, captured_files, write_json
from spec.lifecycle.library import load_library
from spec.lifecycle.new_case import make_entry
from spec.runs.csv_dialect import encode, parse
from spec.schema.rule_sources import checks_of
from spec.schema.rules import Rule

REASON = "run.py rounds the entropy now"
Output = pytest.CaptureFixture[str]
Build = Callable[..., Path]


@pytest.fixture(autouse=True)
def not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a golden/ of two cases and a changelog."""
    golden = tmp_path / "project" / "golden"
    for case in ("fact", "rms-rope"):
        shutil.copytree(GOLDEN / "outputs" / case, golden / "outputs" / case)
        (golden / "models" / case).mkdir(parents=True)
        (golden / "models" / case / "config.json").write_text("{}")
    cases = json.loads((GOLDEN / "cases.json").read_text())["cases"]
    (golden / "cases.json").write_text(
        json.dumps({"cases": {n: cases[n] for n in ("fact", "rms-rope")}}, indent=1)
    )
    write_json(golden / MANIFEST, build_manifest(golden))
    (golden.parent / "CHANGELOG.md").write_text(
        "# Changes\n\n### Golden changes\n\n- the first.\n\n### Else\n"
    )
    return golden.parent


@pytest.fixture
def capture(tmp_path: Path) -> Build:
    """Builds a capture of `fact` with one entropy changed, as the capture command stores it."""

    def build(problem: str = "", old: str = "1.7617796659469604", new: str = "1.75") -> Path:
        folder = tmp_path / "capture"
        shutil.copytree(GOLDEN / "outputs" / "fact", folder / "outputs" / "fact")
        table = folder / "outputs" / "fact" / "output-Fact-pure-next-token.csv"
        table.write_text(table.read_text().replace(old, new, 1))
        cases = json.loads((GOLDEN / "cases.json").read_text())["cases"]
        write_json(folder / "cases.json", {"cases": {"fact": cases["fact"]}})
        results = {"fact": {"problem": problem, "seconds": 0.1}}
        ran = {"run_py": "run.py", "modules": {"run.py": "ab" * 32}}
        write_json(
            folder / RECORD, {"provenance": ran, "cases": results, "files": captured_files(folder)}
        )
        return folder

    return build


def promote(capture: Path, project: Path, *more: str, reason: str = REASON) -> int:
    paths = ["--golden", str(project / "golden"), "--changelog", str(project / "CHANGELOG.md")]
    return main(["promote", str(capture), "--reason", reason, *paths, *more])


def state(project: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in project.rglob("*") if path.is_file()}


def test_a_promotion_shows_the_difference_and_verifies_the_new_state(
    capture: Build, project: Path, capsys: Output
) -> None:
    folder = capture()
    assert promote(folder, project) == 0
    shown = capsys.readouterr().out
    assert (
        "pos/orig layer 0 pos 16, entropy: expected 1.7617796659469604, obtained 1.75 (value)"
        in shown
    )
    assert shown.index("obtained 1.75") < shown.index("1 cases promoted: fact")
    golden = project / "golden"
    assert verify(golden) == []
    assert "1.75," in (golden / "outputs/fact/output-Fact-pure-next-token.csv").read_text()
    promotions = read_manifest(golden)["promotions"]
    assert [(p["reason"], p["cases"], p["provenance"]["run_py"]) for p in promotions] == [
        (REASON, ["fact"], "run.py")
    ]
    lines = (project / "CHANGELOG.md").read_text().splitlines()
    assert lines[4] == f"- {promotions[0]['date']}: fact: {REASON} (run.py abababababab)."
    assert lines[5:] == ["- the first.", "", "### Else"]
    assert sorted(path.name for path in project.iterdir()) == ["CHANGELOG.md", "golden"]


def test_the_same_capture_again_changes_nothing(
    capture: Build, project: Path, capsys: Output
) -> None:
    folder = capture()
    assert promote(folder, project) == 0
    before = state(project)
    assert promote(folder, project) == 0
    assert state(project) == before
    assert "but for rounding at most; nothing was changed" in capsys.readouterr().out


def test_every_difference_is_shown_however_many(
    capture: Build, project: Path, capsys: Output
) -> None:
    folder = capture(old="", new="")
    table = folder / "outputs/fact/output-Fact-records.csv"
    table.write_text(table.read_text().replace("pos,orig,0", "pos,orig,9"))
    record = json.loads((folder / RECORD).read_text())
    write_json(folder / RECORD, record | {"files": captured_files(folder)})
    assert promote(folder, project, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert shown.count("(missing row)") >= 17
    assert "more; --json" not in shown


ENTROPY = "pure-next-token: entropy"


def drop_row(folder: Path) -> None:
    table = folder / "outputs/fact/output-Fact-records.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines[:5], *lines[6:]]))


def add_manifest(folder: Path) -> None:
    """A file that comparisons leave out."""
    (folder / "outputs/fact/run-Fact.manifest.json").write_text("{}")


def other_option(folder: Path) -> None:
    with_entry(folder, "fact", args={"copy_threshold": 0.5})


def other_model(folder: Path) -> None:
    shutil.copytree(GOLDEN / "models" / "rms-rope", folder / "models" / "fact")


def new_case(folder: Path) -> None:
    cases = json.loads((GOLDEN / "cases.json").read_text())["cases"]
    shutil.copytree(GOLDEN / "outputs" / "qk-norm", folder / "outputs" / "qk-norm")
    shutil.copytree(GOLDEN / "models" / "qk-norm", folder / "models" / "qk-norm")
    write_json(folder / "cases.json", {"cases": {n: cases[n] for n in ("fact", "qk-norm")}})


FURTHER: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a row": (drop_row, "records: row"),
    "a file that is not compared": (add_manifest, "run-Fact.manifest.json"),
    "an option": (other_option, "cases.json: fact"),
    "a model": (other_model, "models/fact"),
    "a case": (new_case, "case qk-norm"),
}


def sealed(folder: Path) -> Path:
    """The capture, whose record has the files and the cases that lie there."""
    record = json.loads((folder / RECORD).read_text())
    names = json.loads((folder / "cases.json").read_text())["cases"]
    cases = {name: {"problem": "", "seconds": 0.1} for name in names}
    write_json(folder / RECORD, record | {"cases": cases, "files": captured_files(folder)})
    return folder


@pytest.mark.parametrize("only", [ENTROPY, "pure-next-token: *", "*entropy"])
def test_a_promotion_of_named_columns_alone(
    only: str, capture: Build, project: Path, capsys: Output
) -> None:
    """Rounding of the other table is none of its changes."""
    assert promote(rounded(capture()), project, "--only", only) == 0
    assert "1 cases promoted: fact" in capsys.readouterr().out
    assert verify(project / "golden") == []


@pytest.mark.parametrize("what", FURTHER)
def test_what_only_does_not_name_is_refused(
    what: str, capture: Build, project: Path, capsys: Output
) -> None:
    change, name = FURTHER[what]
    folder = capture()
    change(folder)
    sealed(folder)
    before = state(project)
    assert promote(folder, project, "--only", ENTROPY) == 2
    assert f"changes more than --only names: {name}; find" in capsys.readouterr().err
    assert promote(folder, project, "--only", name, "--dry-run") == 2
    assert f"changes more than --only names: {ENTROPY}; find" in capsys.readouterr().err
    assert state(project) == before
    assert promote(folder, project, "--only", ENTROPY, "--only", name) == 0


def test_what_only_names_and_does_not_change_is_refused(
    capture: Build, project: Path, capsys: Output
) -> None:
    before = state(project)
    assert promote(capture(), project, "--only", ENTROPY, "--only", "records: row") == 2
    shown = capsys.readouterr().err
    assert f"the capture does not change records: row; it changes {ENTROPY}\n" in shown
    assert state(project) == before


def test_each_rule_that_breaks_is_a_line_before_anything_is_written(
    capture: Build, project: Path, capsys: Output
) -> None:
    """However many places there are, and beside the places that golden/ breaks already."""
    folder = capture()
    table = folder / "outputs/fact/output-Fact-records.csv"
    table.write_text(table.read_text().replace("pos,orig,0", "pos,orig,9"))
    assert promote(sealed(folder), project, "--dry-run") == 0
    head, _, schema = capsys.readouterr().out.partition("What breaks the schema: ")
    title, *lines = schema.splitlines()
    lines = [line.strip() for line in lines if line]
    assert lines[-1] == "dry run: nothing was changed"
    assert {line.split(":")[0] for line in lines[:-1]} == {"rows.missing", "rows.extra"}
    assert title == "34 places, 2 rules"
    assert lines[0] == (
        "rows.missing: 17 places, first fact: output-Fact-records.csv, pos/orig layer 0 pos 0: no such row; "
        "Rule.ROWS_MISSING in spec/schema/rules.py, spec/schema/row_order.py: check_order"
    )
    assert "rows.missing" not in head


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_its_check_in_the_code(rule: Rule) -> None:
    checks = checks_of(rule)
    assert checks
    for check in checks:
        file, name = check.split(": ")
        assert callable(getattr(import_module(f"spec.schema.{file[:-3]}"), name))


REFUSALS: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], Any], dict[str, str], str]] = {
    "in CI": (lambda p, m: m.setenv("CI", "true"), {}, "not in CI"),
    "no reason": (lambda p, m: None, {"reason": "  "}, "needs an explanation, got --reason '  '"),
    "one word": (lambda p, m: None, {"reason": "update"}, "needs an explanation, got --reason 'update'"),
    "tampered": (
        lambda p, m: (p / "golden/outputs/fact/output-Fact.json").write_text("{}"), {}, "output-Fact.json was changed",
    ),
    "missing": (
        lambda p, m: (p / "golden/outputs/fact/output-Fact.json").unlink(), {}, "Fact.json is listed but missing",
    ),
    "extra": (lambda p, m: (p / "golden/outputs/fact/more.csv").touch(), {}, "outputs/fact/more.csv is not listed"),
    "no list": (lambda p, m: (p / "CHANGELOG.md").write_text("# Changes\n"), {}, "has no list “### Golden changes”"),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSALS)
def test_a_refusal_changes_nothing(
    why: str, capture: Build, project: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, more, message = REFUSALS[why]
    damage(project, monkeypatch)
    before = state(project)
    assert promote(capture(), project, **more) == 2
    assert message in capsys.readouterr().err
    assert state(project) == before


def test_a_reason_must_be_given(capture: Build) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["promote", str(capture())])
    assert ended.value.code == 2


def test_a_capture_with_a_failed_case_is_refused(
    capture: Build, project: Path, capsys: Output
) -> None:
    assert promote(capture(problem="run.py raised KeyError"), project) == 2
    assert (
        "the capture holds cases that failed: fact (run.py raised KeyError)"
        in capsys.readouterr().err
    )


def test_golden_with_uncommitted_changes_is_refused(
    capture: Build, project: Path, capsys: Output
) -> None:
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for more in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *more], check=True)
    document = json.loads((project / "golden" / MANIFEST).read_text())
    write_json(project / "golden" / MANIFEST, document | {"note": "by hand"})
    assert verify(project / "golden") == []
    assert promote(capture(), project) == 2
    assert (
        "golden/ has changes that are not committed: golden/MANIFEST.json"
        in capsys.readouterr().err
    )


def test_a_failed_swap_leaves_golden_in_place(
    capture: Build, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = capture(), state(project)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.parent.name.startswith(".golden-") and self.name == "golden":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left"):
        promote(folder, project)
    assert state(project) == before


def test_a_new_case_from_a_recipe_and_from_a_checkpoint(tmp_path: Path, capsys: Output) -> None:
    library = tmp_path / "library"
    options = ["--option", "copy_threshold=0.5", "--raw-lens", "full"]
    assert (
        main(
            [
                "new-case",
                "qwen-soft",
                "--recipe",
                "qwen3",
                "--seed",
                "5",
                "--out",
                str(library),
                *options,
            ]
        )
        == 0
    )
    assert main(["new-case", "loose-fact", "--recipe", "fact", "--out", str(library)]) == 0
    checkpoint = str(library / "models" / "qwen-soft")
    assert (
        main(
            [
                "new-case",
                "again",
                "--checkpoint",
                checkpoint,
                "--model-id",
                "a/B",
                "--out",
                str(library),
            ]
        )
        == 0
    )
    assert "capture --cases" in capsys.readouterr().out
    cases = json.loads((library / "cases.json").read_text())["cases"]
    assert cases["qwen-soft"]["args"] == {"copy_threshold": 0.5}
    assert cases["qwen-soft"]["env"] == {"LOGOS_RAW_LENS": "full"}
    assert cases["loose-fact"]["model"] == "fact"
    models = sorted(path.name for path in (library / "models").iterdir())
    assert models == ["again", "fact", "qwen-soft"]
    for case in load_library(library):
        assert contents(case.model_path(library)), "a library holds what its cases read"
    assert main(["new-case", "again", "--recipe", "fact", "--out", str(library)]) == 2
    assert "has a case again already" in capsys.readouterr().err


ARTIFACTS = GOLDEN / "prisms" / "Fact-prism"
WRONG_CASES = {
    "a seed of what was built by hand": (
        ["--recipe", "fact", "--seed", "5"],
        "fact was built by hand, no seed draws it; leave out --seed",
    ),
    "a seed of a checkpoint": (
        ["--checkpoint", str(GOLDEN / "models" / "fact"), "--seed", "5"],
        "--seed draws a model of a recipe",
    ),
    "no seed": (["--recipe", "gpt2"], "--recipe gpt2 draws a new model and needs --seed"),
    "no such recipe": (
        ["--recipe", "gpt5"],
        "there are llama, mistral",
    ),
    "no such model": (["--recipe", "Fact"], "or a model of golden/: attn-bias, biased-head"),
    "a recorded name of golden/": (
        ["--recipe", "fact", "--model-id", "me/FACT-prism"],
        "cases fact-prism and mine both record the name FACT-prism",
    ),
    "no artifacts": (
        ["--recipe", "fact", "--prism", str(GOLDEN)],
        "it has no whiten.pt; give the folder of one saved model",
    ),
    "no checkpoint": (["--checkpoint", str(GOLDEN)], "it has no config.json"),
}


@pytest.mark.parametrize("why", WRONG_CASES)
def test_an_invalid_new_case_writes_nothing(why: str, tmp_path: Path, capsys: Output) -> None:
    options, message = WRONG_CASES[why]
    library = tmp_path / "library"
    assert main(["new-case", "mine", *options, "--out", str(library)]) == 2
    assert message in capsys.readouterr().err
    assert not library.exists()


def test_a_library_holds_one_model_of_a_name(tmp_path: Path, capsys: Output) -> None:
    """Two cases share it where its bytes are the same; another model of that name is refused."""
    library = tmp_path / "library"
    for name in ("first", "second"):
        more = ["--prism", str(ARTIFACTS)] if name == "second" else []
        assert main(["new-case", name, "--recipe", "fact", "--out", str(library), *more]) == 0
    cases = load_library(library)
    assert [(case.model, case.prism_dir) for case in cases] == [("fact", None), ("fact", "prisms")]
    assert contents(library / "prisms" / "second") == contents(ARTIFACTS)
    (library / "models" / "third").mkdir()
    (library / "models" / "third" / "config.json").write_text("{}")
    before = state(library)
    options = ["--recipe", "llama", "--seed", "1", "--out", str(library)]
    assert main(["new-case", "third", *options]) == 2
    assert "models/third holds other files; choose another name" in capsys.readouterr().err
    assert state(library) == before


def test_an_error_lists_every_problem_of_a_case() -> None:
    with pytest.raises(SpecError) as raised:
        make_entry("Fact!", "fact", "a/b/c", {"depth": 1, "copy_margin": "x"}, "loud", "fp8")
    for part in (
        "got 'Fact!'",
        "got 'a/b/c'",
        "unknown option depth",
        "copy_margin is a float, got 'x'",
        "got 'loud'",
        "got 'fp8'",
    ):
        assert part in str(raised.value)
    with pytest.raises(SpecError, match="golden/ has a case fact already"):
        make_entry("fact", "fact", "tiny/x", {}, None, "fp32")


def test_every_promotion_is_in_the_changelog() -> None:
    changelog = (GOLDEN.parent / "CHANGELOG.md").read_text()
    for promotion in read_manifest().get("promotions", []):
        assert (
            f"- {promotion['date']}: {', '.join(promotion['cases'])}: {promotion['reason']}"
            in changelog
        )


def recapture(folder: Path, provenance: dict[str, Any], text: str = "1.5") -> Path:
    """Change an entropy in the capture of `fact` and set its provenance."""
    table = folder / "outputs" / "fact" / "output-Fact-pure-next-token.csv"
    table.write_text(table.read_text().replace("1.75", text, 1))
    record = json.loads((folder / RECORD).read_text())
    files = {"provenance": provenance, "files": captured_files(folder)}
    write_json(folder / RECORD, record | files)
    return folder


def rounded(folder: Path) -> Path:
    """The capture, each entropy of its records moved by rounding, as another processor writes it."""
    table = folder / "outputs" / "fact" / "output-Fact-records.csv"
    parsed = parse(table.read_text(encoding="utf-8"))
    lines = [list(parsed.header), *map(list, parsed.rows)]
    at = parsed.places["entropy"]
    for line in lines[1:]:
        moved = torch.nextafter(torch.tensor(float(line[at])), torch.tensor(99.0))
        line[at] = repr(moved.item())
    text = "".join(",".join(map(encode, line)) + "\n" for line in lines)
    table.write_text(text, encoding="utf-8")
    record = json.loads((folder / RECORD).read_text())
    write_json(folder / RECORD, {**record, "files": captured_files(folder)})
    return folder


def test_files_that_differ_by_rounding_alone_stay_as_they_are(
    capture: Build, project: Path
) -> None:
    before = state(project)
    assert promote(rounded(capture()), project) == 0
    after = state(project)
    changed = {Path(name).name for name in before if before[name] != after[name]}
    assert changed == {"output-Fact-pure-next-token.csv", MANIFEST, "CHANGELOG.md"}


def test_a_capture_that_differs_by_rounding_alone_is_not_promoted(
    capture: Build, project: Path, capsys: Output
) -> None:
    before = state(project)
    assert promote(rounded(capture(new="1.7617796659469604")), project) == 0
    assert state(project) == before
    assert "but for rounding at most; nothing was changed" in capsys.readouterr().out


def test_where_old_and_new_files_contradict_each_other_all_are_new(
    capture: Build, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        lifecycle_promote, "violations", lambda folder: () if "capture" in str(folder) else ("one",)
    )
    folder = rounded(capture())
    assert promote(folder, project) == 0
    outputs = "outputs/fact"
    assert contents(project / "golden" / outputs) == contents(folder / outputs)


RAN = {
    "run_py": "run.py",
    "modules": {"run.py": "ab" * 32},
    "python": "3.11.2",
    "libraries": {"torch": "2.13.0"},
}
CHANGED_SOURCES: dict[str, dict[str, Any]] = {
    "run.py": {"modules": {"run.py": "cd" * 32}},
    "a module of its own": {"modules": {"run.py": "ab" * 32, "helper.py": "ab" * 32}},
    "a library": {"libraries": {"torch": "2.14.0"}},
    "Python": {"python": "3.12.0"},
}


@pytest.mark.parametrize("cause", [*CHANGED_SOURCES, "the machine"])
def test_files_may_change_only_with_the_software_that_writes_them(
    cause: str, capture: Build, project: Path, capsys: Output
) -> None:
    folder = recapture(capture(), RAN, "1.75")
    assert promote(folder, project) == 0
    before = state(project)
    explained = cause in CHANGED_SOURCES
    recapture(folder, RAN | CHANGED_SOURCES.get(cause, {"cpu": "AVX2", "threads": {"torch": 2}}))
    assert promote(folder, project) == (0 if explained else 2)
    assert (state(project) == before) is not explained
    message = (
        "fact: the files differ though neither run.py, its modules, the libraries nor the case"
    )
    assert (message in capsys.readouterr().err) is not explained


def with_entry(folder: Path, name: str, **changes: Any) -> None:
    """Change a case's entry in a capture."""
    cases = json.loads((folder / "cases.json").read_text())["cases"]
    cases[name] = cases[name] | changes
    write_json(folder / "cases.json", {"cases": cases})


def test_another_option_of_the_case_explains_other_files(capture: Build, project: Path) -> None:
    folder = recapture(capture(), RAN, "1.75")
    assert promote(folder, project) == 0
    with_entry(folder, "fact", args={"copy_threshold": 0.5})
    assert promote(recapture(folder, RAN), project) == 0


HAND = {
    "runner": "run.py of a project",
    "licence": "MIT",
    "as_of": "2025-09-06",
    "python": "3.11",
    "torch": "2.13.0+cpu",
    "transformer-lens": "2.16.1",
    "transformers": "4.57.6",
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two cases that golden/ of the project does not have, laid out as golden/ is, and their provenance."""
    folder = tmp_path / "library"
    cases = json.loads((GOLDEN / "cases.json").read_text())["cases"]
    chosen = {"fact-prism": cases["fact-prism"], "qk-norm": cases["qk-norm"]}
    for name in chosen:
        shutil.copytree(GOLDEN / "outputs" / name, folder / "outputs" / name)
    shutil.copytree(GOLDEN / "models" / "qk-norm", folder / "models" / "qk-norm")
    shutil.copytree(GOLDEN / "prisms" / "Fact-prism", folder / "prisms" / "Fact-prism")
    write_json(folder / "cases.json", {"cases": chosen})
    write_json(tmp_path / "ran.json", HAND)
    return folder


def promote_library(folder: Path, project: Path, *more: str) -> int:
    ran = str(folder.parent / "ran.json")
    return promote(folder, project, "--provenance", ran, *more, reason="two more situations")


def test_captures_made_elsewhere_are_promoted_with_models_and_artifacts(
    library: Path, project: Path, capsys: Output
) -> None:
    for path in library.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert promote_library(library, project) == 0
    shown = capsys.readouterr().out
    assert "fact-prism: a new case, 5 files, 0 schema violations" in shown
    golden = project / "golden"
    assert verify(golden) == []
    for path in (path for path in library.rglob("*") if path.is_file()):
        if path.name != "cases.json":
            assert (golden / path.relative_to(library)).read_bytes() == path.read_bytes()
    assert all(path.stat().st_mode & 0o200 for path in golden.rglob("*"))
    assert list(read_manifest(golden)["cases"]) == ["fact", "rms-rope", "fact-prism", "qk-norm"]
    (promotion,) = read_manifest(golden)["promotions"]
    assert (promotion["cases"], promotion["provenance"]) == (["fact-prism", "qk-norm"], HAND)
    changes = (project / "CHANGELOG.md").read_text()
    assert ": fact-prism, qk-norm: two more situations (run.py of 2025-09-06)." in changes
    assert promote_library(library, project) == 0
    assert "golden/ holds these 2 captures already" in capsys.readouterr().out


def test_a_new_case_that_breaks_the_schema_is_shown(
    library: Path, project: Path, capsys: Output
) -> None:
    table = library / "outputs" / "qk-norm" / "output-qk-norm-pure-next-token.csv"
    table.write_text(table.read_text().replace("False,False,False", "False,True,False", 1))
    assert promote_library(library, project, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "qk-norm: a new case, 3 files, 2 schema violations\n" in shown
    assert "entropy_collapse" in shown


def rename_model(library: Path, project: Path) -> None:
    """Give the new case a model of the project, in other bytes."""
    (library / "models" / "qk-norm").rename(library / "models" / "fact")
    with_entry(library, "qk-norm", model="fact")


LIBRARY_REFUSALS: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "no outputs": (
        lambda library, project: shutil.rmtree(library / "outputs" / "qk-norm"),
        "are not the same: qk-norm; give every case its outputs",
    ),
    "outputs of no case": (
        lambda library, project: (library / "outputs" / "qk-norm").rename(
            library / "outputs" / "x"
        ),
        "are not the same: qk-norm, x; give every case its outputs",
    ),
    "an entry that is none": (
        lambda library, project: write_json(
            library / "cases.json", {"cases": {"qk-norm": {"model": "qk-norm"}}}
        ),
        "cases.json: 'model_id'; give a folder with cases.json",
    ),
    "no model": (
        lambda library, project: shutil.rmtree(library / "models" / "qk-norm"),
        "case qk-norm has no checkpoint models/qk-norm",
    ),
    "another model of that name": (
        rename_model,
        "models/fact differs from that of golden/, where fact reads it",
    ),
    "one recorded name": (
        lambda library, project: with_entry(library, "qk-norm", model_id="other/FACT"),
        "cases fact and qk-norm both record the name FACT",
    ),
    "silent provenance": (
        lambda library, project: write_json(
            library.parent / "ran.json", HAND | {"torch": " ", "as_of": None}
        ),
        "ran.json does not say as_of, torch; say what ran",
    ),
    "no provenance": (
        lambda library, project: (library.parent / "ran.json").write_text("[]"),
        "it is a JSON object with runner, licence",
    ),
    "a record of its own": (
        lambda library, project: write_json(library / RECORD, {}),
        "has a capture.json of its own",
    ),
}


@pytest.mark.parametrize("why", LIBRARY_REFUSALS)
def test_an_invalid_library_is_refused(
    why: str, library: Path, project: Path, capsys: Output
) -> None:
    damage, message = LIBRARY_REFUSALS[why]
    damage(library, project)
    before = state(project)
    assert promote_library(library, project) == 2
    assert message in capsys.readouterr().err
    assert state(project) == before


def test_a_changelog_that_cannot_be_written_leaves_everything(
    capture: Build, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = capture(), state(project)
    write = Path.write_text

    def fail(self: Path, *args: Any, **more: Any) -> int:
        if self.name.startswith(".CHANGELOG"):
            raise OSError(28, "No space left on device")
        return write(self, *args, **more)

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="No space left"):
        promote(folder, project)
    assert state(project) == before
