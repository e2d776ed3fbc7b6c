"""A repository of forty-odd commits, of each of which the truth is known: history, bisect and accept name all of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from histories import PLANTED, UNDONE, Repository, build, interpreter, start

from spec.__main__ import main
from spec.lifecycle.capture_cache import CaptureCache
from spec.lifecycle.commits import Commit

pytestmark = pytest.mark.long
Output = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Setting:
    """The repository, and the options with which every command reads it."""

    repository: Repository
    folder: Path

    @property
    def options(self) -> list[str]:
        return [
            *("--repo", str(self.repository.path), "--run-py", "layers/run.py"),
            *("--python", str(self.folder / "python"), "--timeout", "2"),
            *("--cache", str(self.folder / "cache"), "--case", "fact", "--case", "rms-rope"),
        ]

    @property
    def span(self) -> str:
        return f"{self.repository.truths[0].hash}..main"

    def state(self) -> tuple[str, ...]:
        """What a user has in the repository."""
        requested = (
            ["rev-parse", "HEAD"],
            ["status", "--porcelain"],
            ["for-each-ref"],
            ["stash", "list"],
        )
        return tuple(self.repository.git(*arguments) for arguments in requested)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("history")
    interpreter(folder)
    return Setting(build(folder / "repository"), folder)


@pytest.fixture(scope="module")
def report(setting: Setting) -> dict[str, Any]:
    """All that history says of the range, from its --json; the page and the XML lie beside it."""
    before = setting.state()
    out = setting.folder / "history.json"
    files = [
        "--html",
        str(setting.folder / "page.html"),
        "--junit",
        str(setting.folder / "junit.xml"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *texts, **_: lines.extend(map(str, texts)))
        status = main(
            ["history", *setting.options, setting.span, "--json", *files, *ledger(setting)]
        )
    assert status == 1
    assert setting.state() == before
    out.write_text("\n".join(lines), encoding="utf-8")
    return dict(json.loads(out.read_text(encoding="utf-8")))


def ledger(setting: Setting, name: str = "none.jsonl") -> list[str]:
    return ["--ledger", str(setting.folder / name)]


def test_every_commit_is_named_rightly(setting: Setting, report: dict[str, Any]) -> None:
    truths = setting.repository.truths
    assert [commit["commit"] for commit in report["commits"]] == [truth.hash for truth in truths]
    for commit, truth in zip(report["commits"], truths, strict=True):
        names = ["fails"] if commit["problem"] else sorted(commit["changed"] + commit["added"])
        assert (commit["verdict"], names) == (truth.verdict, list(truth.names)), truth.subject


def test_a_failing_commit_says_how(report: dict[str, Any]) -> None:
    problems = [commit["problem"] for commit in report["commits"] if commit["problem"]]
    assert re.sub(r":\d+ in", ":N in", problems[0]) == (
        "run.py raised ZeroDivisionError: division by zero at run.py:N in run_single_model"
    )
    assert problems[1:] == [
        "run.py could not be loaded: it exited with status 1",
        "run.py took longer than 2 s a case in this case",
    ]


def test_each_column_has_its_commit_and_the_one_that_undid_it(
    setting: Setting, report: dict[str, Any]
) -> None:
    subjects = {truth.hash: truth.subject for truth in setting.repository.truths}
    for number, (_, key, _, column) in enumerate(PLANTED, start=1):
        first = report["columns"][column][0]
        assert subjects[first["commit"]] == f"Change {number}: {key}"
        undone = first["undone_by"] and subjects[first["undone_by"]]
        planted_in_records = column.startswith("records") and key != "records"
        assert undone == (f"Undo {key}" if key in UNDONE and not planted_in_records else None)


def test_a_second_call_captures_nothing(
    setting: Setting, report: dict[str, Any], capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(cache: CaptureCache, commit: Commit) -> None:
        raise AssertionError(commit.subject)

    monkeypatch.setattr(CaptureCache, "make", forbid)
    assert main(["history", *setting.options, setting.span, *ledger(setting)]) == 1
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == (
        "41 commits change run.py's folder: 8 identical, 26 changed, 4 extended, 3 fails, "
        "33 not accepted; 0 captured now"
    )
    assert (
        "pure-next-token: entropy           ······X~~~~~~~~~~~~~!~!~!~~~~~~~~~~~X·····\n" in output
    )
    assert all(line.isprintable() for line in output.splitlines())


def test_processes_are_shared_among_commits(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five at a time: two commits have two workers each, and a commit alone has all."""
    jobs: list[int] = []
    make = CaptureCache.make

    def note(cache: CaptureCache, commit: Commit) -> Any:
        jobs.append(cache.jobs)
        return make(cache, commit)

    monkeypatch.setattr(CaptureCache, "make", note)
    hashes = [truth.hash for truth in setting.repository.truths]
    options = [*setting.options, "--cache", str(tmp_path), "-j", "5", *ledger(setting)]
    for last in (1, 2):
        main(["history", *options, f"{hashes[0]}..{hashes[last]}"])
    assert jobs == [2, 2, 5]


def test_a_range_that_was_stopped_goes_on(
    setting: Setting, report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = CaptureCache.make

    def stop_after_three(cache: CaptureCache, commit: Commit) -> Any:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(commit.hash)
        return make(cache, commit)

    hashes = [truth.hash for truth in setting.repository.truths]
    span = f"{hashes[4]}..{hashes[9]}"
    options = [*setting.options, "--cache", str(tmp_path), "-j", "1", *ledger(setting)]
    monkeypatch.setattr(CaptureCache, "make", stop_after_three)
    assert main(["history", *options, span]) == 130

    def note(cache: CaptureCache, commit: Commit) -> Any:
        made.append(commit.hash)
        return make(cache, commit)

    monkeypatch.setattr(CaptureCache, "make", note)
    assert main(["history", *options, span]) == 1
    assert made == [
        hashes[4],
        *hashes[6:10],
    ]  # the one between changes a module that is not imported


def test_the_page_and_the_xml_have_every_commit(setting: Setting, report: dict[str, Any]) -> None:
    page = (setting.folder / "page.html").read_text(encoding="utf-8")
    suite = ElementTree.parse(setting.folder / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("42", "33")
    for truth in setting.repository.truths:
        assert f"<td>{truth.hash[:10]}</td>" in page
    assert "What changed:" in page
    assert "<script" not in page
    assert "http" not in page


@pytest.mark.parametrize("planted", PLANTED, ids=[column for *_, column in PLANTED])
def test_bisect_finds_each_planted_change(
    planted: tuple[str, str, str, str], setting: Setting, report: dict[str, Any], capsys: Output
) -> None:
    number = PLANTED.index(planted) + 1
    truths = setting.repository.truths
    last = next(i for i, truth in enumerate(truths) if truth.subject.startswith("Undo")) - 1
    span = f"{truths[0].hash}..{truths[last].hash}"
    assert main(["bisect", *setting.options, "--column", planted[3], span]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f" Change {number}: {planted[1]}")
    assert lines[1].startswith(("fact: ", "rms-rope: "))
    captures = int(lines[-1].split()[-2])
    assert captures <= ceil(log2(last)) + 2 + 3  # three commits fail


def test_bisect_refuses_a_column_that_did_not_change(
    setting: Setting, report: dict[str, Any], capsys: Output
) -> None:
    column = "pure-next-token: entropy"
    assert main(["bisect", *setting.options, "--column", column, setting.span]) == 2
    assert f"{column} is the same in" in capsys.readouterr().err


def commit_of(setting: Setting, subject: str) -> str:
    return next(t.hash for t in setting.repository.truths if t.subject == subject)


def test_what_is_accepted_is_named_and_nothing_else(
    setting: Setting, report: dict[str, Any], tmp_path: Path, capsys: Output
) -> None:
    path = tmp_path / "accepted.jsonl"
    accepted = [*setting.options, "--ledger", str(path), "--reason", "The unit is bits."]
    entropy = commit_of(setting, "Undo entropy")
    assert main(["accept", entropy, "--only", "pure-next-token: entropy", *accepted]) == 2
    assert "changes more than that: pure-next-token: entropy_bits" in capsys.readouterr().err
    assert (
        main(["accept", entropy, "--only", "*entropy*", "--only", "records: row", *accepted]) == 2
    )
    assert (
        "does not change records: row; it changes pure-next-token: entropy,"
        in capsys.readouterr().err
    )
    assert not path.exists()
    assert main(["accept", entropy, "--only", "pure-next-token: entropy*", *accepted]) == 0
    assert main(["accept", entropy, "--only", "pure-next-token: entropy*", *accepted]) == 2
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["only"] == ["pure-next-token: entropy*"]
    capsys.readouterr()
    span = f"{entropy}^..{entropy}"
    assert main(["history", *setting.options, "--ledger", str(path), span]) == 0
    assert "changed, accepted" in capsys.readouterr().out
    assert main(["history", *setting.options, *ledger(setting), span]) == 1


def test_an_acceptance_that_matches_nothing_any_more_is_reported(
    setting: Setting, report: dict[str, Any], tmp_path: Path, capsys: Output
) -> None:
    commit = commit_of(setting, "Rename a variable")
    entry = {
        "commit": commit,
        "only": ["records: row"],
        "reason": "They were moved.",
        "date": "2026-01-01",
    }
    path = tmp_path / "accepted.jsonl"
    path.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    assert main(["history", *setting.options, "--ledger", str(path), f"{commit}^..{commit}"]) == 1
    assert f"stale: {commit[:10]} does not change records: row any more" in capsys.readouterr().out


def test_commits_that_only_add_have_their_own_status(
    setting: Setting, report: dict[str, Any], capsys: Output
) -> None:
    first, last = (commit_of(setting, s) for s in ("Name the unit", "Write the milestones"))
    command = ["history", *setting.options, *ledger(setting), f"{first}^..{last}"]
    assert main(command) == 3
    assert "added pure-next-token: entropy_bits" in capsys.readouterr().out
    assert main([*command, "--allow", "extended"]) == 0


Changed = Callable[[list[str]], list[str]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["main"], "a range is A..B, such as main~40..main, got 'main'"),
        (["main..nowhere"], "git cannot read"),
        (["main..main~3"], "main is no ancestor of main~3"),
        (["main~3..main", "--run-py", "layers/walk.py"], "has no layers/walk.py"),
        (["main~3..main", "--jobs", "0"], "--jobs takes a number from 1 on, got 0"),
        (["main~3..main", "--cache", "/dev/null/x"], "cannot keep captures in /dev/null/x"),
        (["main~3..main", "--python", "nowhere"], "cannot start nowhere"),
        (["main~3..main", "--repo", "/"], "git cannot read /"),
    ],
)
def test_wrong_arguments_are_one_error(
    arguments: list[str], message: str, setting: Setting, capsys: Output
) -> None:
    assert main(["history", *setting.options, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_ledger_that_is_none_is_refused(setting: Setting, tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "accepted.jsonl"
    path.write_text('{"commit": "1"}\n', encoding="utf-8")
    assert main(["history", *setting.options, "--ledger", str(path), setting.span]) == 2
    assert f"{path}, line 1 is no acceptance" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_one_error(
    setting: Setting, report: dict[str, Any], capsys: Output
) -> None:
    page = "/dev/null/page.html"
    assert main(["history", *setting.options, setting.span, "--html", page, *ledger(setting)]) == 2
    assert f"cannot write {page}: Not a directory; give another file" in capsys.readouterr().err


OPTIONAL = """
try:
    import further
    written = further.written
except ImportError:
    pass
"""


def test_a_module_imported_by_its_place_is_no_known_content(
    setting: Setting, tmp_path: Path, capsys: Output
) -> None:
    repository = start(tmp_path / "repository")
    path = repository.path / "layers" / "tables.py"
    path.write_text(path.read_text() + OPTIONAL)
    repository.commit("Import it where it is there", "identical")
    (path.parent / "further.py").write_text("def written(value):\n    return 'x'\n")
    (path.parent / "expressions.py").touch()
    repository.set("records", "token", "lambda x, row: x")
    repository.commit("Name a column", "identical")
    first = Setting(repository, setting.folder)
    assert main(["history", *first.options, "main~1..main", *ledger(setting)]) == 1
    (path.parent / "further.py").unlink()
    repository.commit("Remove it", "changed")
    (path.parent / "further.py").write_text("def written(value):\n    return 'y'\n")
    repository.commit("Add it again, otherwise", "changed")
    capsys.readouterr()
    assert main(["history", *first.options, "main~1..main", *ledger(setting)]) == 1
    assert "records: token" in capsys.readouterr().out


def test_a_range_cannot_begin_with_a_commit_that_fails(
    setting: Setting, report: dict[str, Any], capsys: Output
) -> None:
    broken = commit_of(setting, "Divide by nothing")
    assert main(["history", *setting.options, *ledger(setting), f"{broken}..main"]) == 2
    assert f"{broken[:10]} fails, and nothing can be compared with it" in capsys.readouterr().err
