"""Runs of many passes: in segments, on from where a run ended, in the memory of one segment."""

import io
import json
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.parquet import ParquetFile

import lenses_min
from lenses_min import LensError, RunOptions, pipeline
from lenses_min.cli import command_line
from lenses_min.model.determinism import deterministic
from lenses_min.model.load import LoadedModel
from lenses_min.output.entries import Entries, json_parts
from lenses_min.output.segments import Segments, read_files, write_files
from lenses_min.output.store import json_text
from lenses_min.pipeline import progress, segmented
from lenses_min.pipeline.analysis import prepare
from lenses_min.pipeline.passes import PassRunner
from lenses_min.process import silence_transformers
from lenses_min.prompts.suite import read_suite
from lenses_min.sweep import folder as sweep_folder
from spec.runs.run import read_run
from spec.schema.validate import validate
from tests.terminal import Terminal

pytestmark = pytest.mark.long

SENTENCE = "Give the city name only, plain text. The capital of Germany is called simply"
WORDS = SENTENCE.split()
ANSWERS = ("Berlin", "Paris", "Rome is", "\u5317")
N, SIZE = 11, 4  # passes, and passes of a segment: the last segment is not full
# What differs between two runs of one model, and between a run in memory and one in segments.
TIMES = {"finished_at", "elapsed_s", "peak_memory", "options"}
PARTED = {"milestone_margins", "segments"}


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmented, "PASSES", SIZE)
    monkeypatch.setattr(segmented, "BATCHES", 1)


@pytest.fixture
def many(tmp_path: Path) -> str:
    """Passes of several lengths, with a control in an earlier segment and the first records in a later one."""
    passes: list[dict[str, Any]] = [
        {"id": f"p{i}", "context": " ".join(WORDS[i % 5 : 8 + i % 7]), "answer": ANSWERS[i % 4]}
        for i in range(N)
    ]
    passes[9]["control"] = "p0/orig"
    passes[2]["tags"] = passes[8]["tags"] = {"language": "en"}
    passes[6]["records"] = passes[10]["records"] = True
    path = tmp_path / "many.yaml"
    path.write_text(
        json.dumps({"passes": passes, "test_prompts": ["Berlin is"], "keywords": ["is"]})
    )
    return str(path)


@pytest.fixture
def options(fact_options: RunOptions, many: str) -> RunOptions:
    """One prompt a forward, so that segments do not change which prompts share one."""
    return replace(fact_options, prompts=many, lenses=("norm",), batch_size=1)


@pytest.fixture
def write(fact_model: LoadedModel, options: RunOptions) -> Callable[..., Path]:
    """Write a run of a loaded model into a folder; options may be changed."""

    def write_run(folder: Path, **changes: Any) -> Path:
        changed = replace(options, **changes)
        suite = read_suite(Path(changed.prompts))
        analysis = prepare(fact_model, suite, changed, time.perf_counter())
        with deterministic(changed.threads):
            segmented.write(analysis, folder)
        return folder

    return write_run


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passes that have run, by their ids."""
    ids: list[str] = []
    real = PassRunner.result

    def result(self: PassRunner, one_pass: Any, metrics: Any) -> Any:
        ids.append(one_pass.encoded.prompt.id)
        return real(self, one_pass, metrics)

    monkeypatch.setattr(PassRunner, "result", result)
    return ids


def contents(folder: Path, *left_out: set[str]) -> dict[str, Any]:
    """The files of a folder, hidden ones too; of a manifest without some keys."""
    files: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    for name in [name for name in files if name.endswith(".manifest.json")]:
        manifest = json.loads(files[name])
        assert files[name].decode() == json_text(manifest) + "\n"
        files[name] = {
            key: manifest[key] for key in manifest if not any(key in keys for keys in left_out)
        }
    return files


@pytest.mark.parametrize("contract", ["reference", "corrected"])
def test_segments_write_what_a_run_in_memory_writes(
    contract: str, options: RunOptions, tmp_path: Path
) -> None:
    options = replace(options, contract=contract, lenses=("norm", "final"), keep_residuals=True)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    pipeline.run(options).save(whole)
    shown, written = pipeline.write(options, parted)
    assert contents(parted, TIMES, PARTED) == contents(whole, TIMES, PARTED)
    assert (parted / "output-Fact-battery.csv").exists()
    assert {path.name for path in written} == {path.name for path in parted.iterdir()}
    assert written[-1].name == "run-Fact.manifest.json"
    manifest = json.loads(written[-1].read_text())
    assert manifest["milestone_margins"] is None
    assert manifest["segments"] == {"passes": N, "most": SIZE}
    assert validate(read_run(parted)) == []
    assert list(shown.passes()) == [f"p{i}/orig" for i in range(SIZE)]
    assert shown.rows("battery")[0].n == N


def test_a_suite_of_one_segment_is_a_run_in_memory(
    options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmented, "PASSES", N)
    run, _ = pipeline.write(options, tmp_path / "a")
    assert len(run.passes()) == N
    assert run.manifest["milestone_margins"]
    assert "segments" not in run.manifest


def test_a_segment_has_some_batches_at_least(fact_options: RunOptions) -> None:
    assert segmented.size_of(replace(fact_options, batch_size=SIZE + 1)) == SIZE + 1


def test_no_more_than_one_segment_is_in_memory(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted whenever a pass ends: results and rows of earlier segments are gone by then."""
    refs: list[weakref.ref[Any]] = []
    alive: list[int] = []
    real = PassRunner.result

    def result(self: PassRunner, one_pass: Any, metrics: Any) -> Any:
        made = real(self, one_pass, metrics)
        refs.extend(map(weakref.ref, (made, *made.pure["norm"])))
        alive.append(sum(ref() is not None for ref in refs))
        return made

    monkeypatch.setattr(PassRunner, "result", result)
    write(tmp_path / "out")
    size = len(refs) // N
    assert [count // size for count in alive] == [i % SIZE + 1 for i in range(N)]


def killed(child: Callable[[], object]) -> bool:
    """Whether a child of this process that performs something was killed."""
    if not (pid := os.fork()):
        try:
            child()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


CHANGES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}


def test_a_run_that_was_killed_goes_on_where_it_was(
    write: Callable[..., Path], ran: list[str], tmp_path: Path
) -> None:
    """Killed at changes of a file from the first segment to the end."""
    undisturbed = contents(write(tmp_path / "undisturbed"), TIMES)
    kept = set()
    for event in (8, 21, 31, 50):
        out = tmp_path / f"out-{event}"

        def child(out: Path = out, event: int = event) -> None:
            left = event

            def watch(name: str, args: tuple[object, ...]) -> None:
                nonlocal left
                if name in CHANGES and str(args[0]).startswith(str(out)):
                    left -= 1
                    if not left:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(watch)
            write(out)

        assert killed(child)
        if not (out / "run-Fact.manifest.json").exists():
            assert not list(out.glob("run-*"))
        done = len(list(out.glob(".Fact.segments/0*")))
        ran.clear()
        write(out)
        assert len(ran) == N - min(done * SIZE, N)
        assert contents(out, TIMES) == undisturbed
        kept.add(done)
    assert {0, 1, 2} <= kept


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_is_finished_stays_however_the_run_ends(
    ends: BaseException,
    write: Callable[..., Path],
    ran: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Segments.add

    def add(self: Segments, number: int, *more: Any) -> None:
        if number == 2:
            raise ends
        real(self, number, *more)

    monkeypatch.setattr(Segments, "add", add)
    with pytest.raises(type(ends)):
        write(tmp_path / "out")
    monkeypatch.setattr(Segments, "add", real)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".Fact.segments"]
    ran.clear()
    write(tmp_path / "out")
    assert ran == ["p8", "p9", "p10"]


def left_behind(write: Callable[..., Path], folder: Path, ran: list[str]) -> None:
    """A folder in which a run was killed after two segments."""

    def add(self: Segments, number: int, *more: Any) -> None:
        if number == 2:
            raise KeyboardInterrupt
        real(self, number, *more)

    real = Segments.add
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Segments, "add", add)
        with pytest.raises(KeyboardInterrupt):
            write(folder)
    ran.clear()


@pytest.mark.parametrize("changed", ["option", "prompts", "versions", "weights", "size"])
def test_a_run_of_anything_else_starts_anew(
    changed: str,
    write: Callable[..., Path],
    ran: list[str],
    many: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_behind(write, tmp_path / "out", ran)
    changes: dict[str, Any] = {}
    if changed == "option":
        changes["copy_threshold"] = 0.5
    elif changed == "prompts":  # with the size and the time of the earlier ones
        status = Path(many).stat()
        Path(many).write_text(Path(many).read_text().replace("Paris", "Spain"))
        os.utime(many, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif changed == "versions":
        monkeypatch.setattr(segmented, "versions", lambda: {"torch": "0"})
    elif changed == "weights":
        monkeypatch.setattr(segmented, "asdict", lambda value: {"fingerprint": "0"}, raising=True)
    else:
        monkeypatch.setattr(segmented, "PASSES", SIZE + 1)
    write(tmp_path / "out", **changes)
    assert len(ran) == N
    assert not list((tmp_path / "out").glob(".*"))


def test_segments_of_parquet_are_joined_in_row_groups(
    write: Callable[..., Path], ran: list[str], options: RunOptions, tmp_path: Path
) -> None:
    """Also those of a run that was killed; the values are those of a run in memory."""
    whole = pipeline.run(options)
    left_behind(partial(write, table_format="parquet"), tmp_path / "out", ran)
    write(tmp_path / "out", table_format="parquet")
    assert ran == ["p8", "p9", "p10"]
    assert not list((tmp_path / "out").glob("*.csv"))
    read = lenses_min.load(tmp_path / "out")
    assert read.tables == whole.tables
    assert {*read.tables} >= {(name, "norm") for name in ("pure", "records", "answers", "battery")}
    groups = {
        path.stem.removeprefix("output-Fact-"): ParquetFile(path).num_row_groups
        for path in (tmp_path / "out").glob("*.parquet")
    }
    assert groups["pure-next-token"] == 3
    assert groups["battery"] == 1


def test_a_run_in_memory_takes_what_another_has_left_away(
    write: Callable[..., Path], ran: list[str], fact_run: Any, tmp_path: Path
) -> None:
    left_behind(write, tmp_path, ran)
    with FileLock(tmp_path / ".Fact.segments" / "lock"):
        fact_run.save(tmp_path)
        assert (tmp_path / ".Fact.segments").is_dir(), "a run is at work on it"
    fact_run.save(tmp_path)
    assert not (tmp_path / ".Fact.segments").exists()


def test_two_runs_in_one_folder(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / ".Fact.segments").mkdir()
    with (
        FileLock(tmp_path / ".Fact.segments" / "lock"),
        pytest.raises(
            LensError, match=r"another run of Fact is at work in .*; wait for it, or give"
        ),
    ):
        write(tmp_path)


def test_a_target_that_is_a_file(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LensError, match=r"could not write the outputs to .*: "):
        write(tmp_path / "file")


def test_every_prompt_that_is_too_long_is_named_before_any_runs(
    write: Callable[..., Path], ran: list[str], many: str, tmp_path: Path
) -> None:
    document = json.loads(Path(many).read_text())
    for i in (1, 2, 10):
        document["passes"][i]["context"] = "Berlin " * 5000
    Path(many).write_text(json.dumps(document))
    with pytest.raises(LensError) as caught:
        write(tmp_path / "out")
    assert [f"prompt p{i}/orig has" in str(caught.value) for i in (1, 2, 3, 10)] == [
        *(True, True),
        *(False, True),
    ]
    assert ran == []
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_first_pass_and_how_many_there_are(
    options: RunOptions, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(models / "fact"), "--device", "cpu", "--prompts", options.prompts]
    assert command_line.main([*words, "--out-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert f"… and {N - 1} more passes" in printed.out
    assert str(tmp_path / "run-fact.manifest.json") in printed.out
    assert "pass/s" not in printed.err


@pytest.mark.parametrize("strange", [False, True])
def test_shares_of_a_run_put_together_are_the_run(
    strange: bool,
    write: Callable[..., Path],
    fact_model: LoadedModel,
    options: RunOptions,
    ran: list[str],
    tmp_path: Path,
) -> None:
    """Segments that another machine made under other versions are made anew."""
    expected = contents(write(tmp_path / "whole"), TIMES)
    analysis = prepare(fact_model, read_suite(Path(options.prompts)), options, 0.0)
    shares = []
    for number in (0, 1):
        folder = tmp_path / f"share-{number}"
        with pytest.MonkeyPatch.context() as patched, deterministic(options.threads):
            if strange and number:
                patched.setattr(segmented, "versions", lambda: {"torch": "0"})
            segmented.write_share(analysis, folder, segmented.Share(number, 2))
        assert not list(folder.glob("[!.]*"))
        shares.append(read_files(folder, options.file_stem))
    write_files(tmp_path / "joined", options.file_stem, shares)
    ran.clear()
    assert contents(write(tmp_path / "joined"), TIMES) == expected
    assert sorted(ran) == (["p4", "p5", "p6", "p7"] if strange else [])


def test_a_bar_counts_passes_on_a_terminal(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among the settings of a command, which hide the bars of libraries."""
    left_behind(write, tmp_path, [])
    drawn = Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    with silence_transformers():
        write(tmp_path)
    assert f"| 0/{N} [" in drawn.getvalue()
    with silence_transformers(), progress.bar(3) as bar:
        assert not bar.disable
        assert not bar.leave
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.bar(3) as bar:
        assert bar.disable


def test_a_terminal_shows_what_a_run_is_doing(
    options: RunOptions, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", str(models / "fact"), "--device", "cpu", "--out-dir", str(tmp_path)]
    drawn = Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    assert command_line.main(words) == 0
    assert f"loading {models / 'fact'}" in drawn.getvalue()
    assert "| 0/3 [" in drawn.getvalue()
    quiet = Terminal()
    monkeypatch.setattr(sys, "stderr", quiet)
    assert command_line.main([*words, "--quiet"]) == 0
    assert quiet.getvalue() == ""


def test_a_sweep_keeps_the_segments_of_its_runs_and_an_old_sweep_has_none(
    write: Callable[..., Path], options: RunOptions, tmp_path: Path
) -> None:
    folder = tmp_path / "run-latest"
    left_behind(write, folder, [])
    (folder / ".Fact.part").mkdir()
    sweep_folder.clean_up(folder, [options])
    assert [path.name for path in folder.iterdir()] == [".Fact.segments"]
    assert list(sweep_folder.rotate(folder).iterdir()) == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3)
    ),
    max_leaves=8,
)


def lazily(value: Any) -> Any:
    if isinstance(value, dict) and value:
        return Entries(lambda: ((key, lazily(child)) for key, child in value.items()), named=True)
    if isinstance(value, list) and value:
        return Entries(lambda: map(lazily, value))
    return value


@given(JSON)
def test_json_that_is_made_while_it_is_written_is_the_same(value: Any) -> None:
    assert "".join(json_parts(lazily(value))) == json_text(value)
    assert "".join(json_parts(value)) == json_text(value)


def test_a_run_that_goes_on_says_how_many_segments_are_done(
    write: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(write, tmp_path, [])
    with caplog.at_level("INFO"):
        write(tmp_path)
    assert "2 of 3 segments are done already" in caplog.messages
