"""Runs killed anywhere, two at once, without room, and without the right to write."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lenses_min
from lenses_min import LensError, RunOptions, pipeline
from lenses_min.output import store
from lenses_min.output.run import Run
from lenses_min.sweep import job
from spec.golden import GOLDEN
from spec.runs.run import read_run
from spec.schema.validate import validate

pytestmark = pytest.mark.long


def forked(child: Callable[[], object], kill_after: float | None = None) -> int:
    """Perform something in a child of this process: its wait status. SIGKILL after some seconds, where given."""
    if not (pid := os.fork()):
        code = 1
        try:
            code = int(bool(child()))
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def killed_at(event: int, folder: Path, act: Callable[[], object]) -> bool:
    """Whether a child was killed right before the event-th change that it makes to files in a folder."""

    def child() -> None:
        seen = 0

        def watch(name: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            if name in CHANGES and str(args[0]).startswith(str(folder)):
                seen += 1
                if seen == event:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        act()

    status = forked(child)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


CHANGES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if store.is_output(path.name, "Fact")
    }


@pytest.mark.parametrize("first", [True, False])
def test_a_run_killed_before_any_change_of_a_file_leaves_whole_files_of_one_run(
    first: bool, fact_run: Run, own_run: Run, tmp_path: Path
) -> None:
    """Over nothing, and over an earlier run with other files; the next run finds nothing of it in its way."""
    old, new, folder = tmp_path / "old", tmp_path / "new", tmp_path / "out"
    own_run.save(old), fact_run.save(new)
    earlier = {} if first else contents(old)
    runs, seen = [contents(new), earlier], set()
    event = 1
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(old, folder) if not first else folder.mkdir()
        if not killed_at(event, folder, lambda: fact_run.save(folder)):
            break
        left = contents(folder)
        assert all(left[name] in [run.get(name) for run in runs] for name in left)
        if "output-Fact.json" in left:
            (which,) = [i for i, run in enumerate(runs) if left.items() <= run.items()]
            assert set(runs[which]) - set(left) <= {"run-Fact.manifest.json"}
            assert validate(read_run(folder, "Fact")) == []
            assert lenses_min.load(folder).document == (fact_run, own_run)[which].document
            seen.add((which, len(left)))
        else:
            assert "run-Fact.manifest.json" not in left
            with pytest.raises(LensError, match="holds no run"):
                lenses_min.load(folder)
        fact_run.save(folder)
        assert contents(folder) == runs[0]
        assert sorted(path.name for path in folder.iterdir()) == sorted(runs[0])
        event += 1
    assert event > 15
    whole = {(0, len(runs[0])), (0, len(runs[0]) - 1)}
    assert seen >= (whole if first else whole | {(1, len(earlier)), (1, len(earlier) - 1)})


HELPER = """
import os, signal, sys, time
from lenses_min import cli, pipeline
import torch

def run(out):
    return cli.main(["run", {model!r}, "--device", "cpu", "--out-dir", out, "--quiet"])

started = time.perf_counter()
assert run({out!r} + "/first") == 0
print(time.perf_counter() - started, flush=True)
for line in sys.stdin:
    out, after = line.split()
    if not (pid := os.fork()):
        os._exit(run(out))
    if float(after):
        time.sleep(float(after))
        os.kill(pid, signal.SIGKILL)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


def test_a_run_killed_at_random_is_done_when_it_is_started_again(
    models: Path, tmp_path: Path
) -> None:
    """From reading the model to the last file, in a process that imports once and is forked for each run."""
    code = HELPER.format(model=str(models / "fact"), out=str(tmp_path))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=GOLDEN.parent,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as helper:
        stdin, stdout = helper.stdin, helper.stdout
        assert stdin
        assert stdout

        def ask(out: Path, after: float) -> int:
            stdin.write(f"{out} {after}\n")
            stdin.flush()
            return int(stdout.readline())

        whole = float(stdout.readline())
        out, draw, killed = tmp_path / "out", random.Random(7), 0
        for trial in range(8):
            if trial % 2:
                shutil.rmtree(out, ignore_errors=True)
            status = ask(out, draw.uniform(0.01, 1.1) * whole)
            killed += os.WIFSIGNALED(status)
            for path in [*out.glob("*.json"), *out.glob("*.csv")]:
                assert (
                    json.loads(path.read_text())
                    if path.suffix == ".json"
                    else path.read_text().endswith("\n")
                )
            assert not (out / "output-fact.json").exists() or validate(read_run(out, "fact")) == []
        assert killed
        assert ask(out, 0) == 0
        stdin.close()
    assert validate(read_run(out)) == []
    assert {p.name for p in out.iterdir()} == {p.name for p in (tmp_path / "first").iterdir()}
    same = [p for p in out.iterdir() if not p.name.startswith("run-")]
    assert all(p.read_bytes() == (tmp_path / "first" / p.name).read_bytes() for p in same)


def test_what_a_dead_run_left_goes_and_a_live_one_is_waited_for(
    fact_run: Run, tmp_path: Path
) -> None:
    """Another model's parts are not touched, one whose name begins alike included."""
    dead, other = tmp_path / ".Fact.part", tmp_path / ".Fact-2.part"
    for folder in (dead, other):
        folder.mkdir()
        (folder / "output-Fact.json").write_text("{")
    (tmp_path / ".Fact.lock").write_text("")
    ready, go = os.pipe(), os.pipe()

    def child() -> None:
        with store.staged(tmp_path, "Fact") as stage:
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            (stage / "output-Fact.json").write_text(str(len(list(stage.iterdir()))))

    if not (pid := os.fork()):
        child()
        os._exit(0)
    os.read(ready[0], 1)
    os.write(go[1], b"x")
    fact_run.save(tmp_path)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(fact_run.tables) + 2 == len(contents(tmp_path)) == len(list(tmp_path.iterdir())) - 1
    assert json.loads((tmp_path / "output-Fact.json").read_text()) == fact_run.document
    assert other.is_dir()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(
            "a small disk needs the right to mount; test_files_that_may_not_grow holds the same errors"
        )
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(
    disk: Path,
    fact_run: Run,
    fact_options: RunOptions,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "run", lambda options: fact_run)
    assert perform(fact_options, disk) == 0
    before = contents(disk)
    (disk / "others").write_bytes(bytes(8192))
    with pytest.raises(OSError, match="No space"):
        (disk / "more").write_bytes(bytes(65536))
    assert perform(fact_options, disk) == 1
    err = capsys.readouterr().err
    assert (
        err
        == f"lenses-min: error: tiny/Fact: could not write the outputs to {disk}: No space left on device\n"
    )
    assert contents(disk) == before
    assert {path.name for path in disk.iterdir()} == {*before, "others", "more"}


def perform(options: RunOptions, folder: Path) -> int:
    return job.perform(options, False, folder)


def test_files_that_may_not_grow(fact_run: Run, tmp_path: Path) -> None:
    """The kernel refuses to write on in the midst of a table, and in the midst of a tensor."""
    import resource

    big = replace(fact_run, tables={}, residuals={0: torch.zeros(1, 99, 999)})
    for run, limit in ((fact_run, 4096), (big, 65536)):

        def child(run: Run = run, limit: int = limit) -> bool:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            with pytest.raises(
                LensError, match=r"could not write the outputs to .*: File too large"
            ):
                run.save(tmp_path)
            return bool(list(tmp_path.iterdir()))

        assert forked(child) == 0


def test_a_target_that_cannot_be_written_is_refused_before_the_model_is_read(
    disk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "run", lambda options: pytest.fail("the model was read"))
    (disk / "file").write_text("")
    options = RunOptions("org/m")
    assert perform(options, disk / "file") == 1
    assert "cannot write to" in capsys.readouterr().err
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert perform(options, disk / "new") == 1
    message = f"cannot write to {disk / 'new'}: Read-only file system; give another --out-dir"
    assert capsys.readouterr().err == f"lenses-min: error: org/m: {message}\n"


def test_a_target_whose_name_is_no_text(fact_run: Run, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    manifest = {"folder": str(folder)}
    replace(fact_run, manifest=manifest).save(folder)
    assert lenses_min.load(folder).manifest == manifest
    assert store.write_error(folder, "Fact", manifest) is not None
