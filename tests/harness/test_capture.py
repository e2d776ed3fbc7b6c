"""Captures report every failure of an external run.py. Stubs replace its libraries, so these tests are quick."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from spec.__main__ import main
from spec.errors import SpecError
from spec.golden import GOLDEN, load_cases, verify
from spec.lifecycle.capture import read_capture
from spec.runners.shares import LOADING, WORTH, cost, divide
from spec.runners.worker import read_original

HELPER = """
import shutil
from pathlib import Path

def write(args, model_id):
    names = {next(case.glob("output-*.json")).stem[7:]: case.name for case in Path(%r).iterdir()}
    name = names[model_id.split("/")[-1]]
    shutil.copytree(Path(%r) / name, args.out_dir, dirs_exist_ok=True)
    return name
"""
RUN_PY = """
import os, signal, sys, time
from types import SimpleNamespace
from transformer_lens import HookedTransformer
import helper

CLI_ARGS = SimpleNamespace(out_dir=None, prism_dir="prisms", quiet=False)

def run_single_model(model_id):
    name = helper.write(CLI_ARGS, model_id)
    out = CLI_ARGS.out_dir
    assert os.environ.get("LOGOS_RAW_LENS", "unset") == ("off" if name == "raw-off" else "unset")
    {accident}
    return True
"""
TORCH = """
from types import SimpleNamespace
get_num_threads = get_num_interop_threads = lambda: 1
are_deterministic_algorithms_enabled = lambda: True
backends = SimpleNamespace(cpu=SimpleNamespace(get_cpu_capability=lambda: "AVX2"))
"""
CASES = ["fact", "rms-rope", "raw-off"]
External = Callable[..., list[str]]
Output = pytest.CaptureFixture[str]


@pytest.fixture
def external(tmp_path: Path) -> External:
    """A function that writes a run.py which copies golden outputs, with a fault; returns the options that name it."""

    def write(accident: str = "pass", run_py: str = RUN_PY) -> list[str]:
        folder = tmp_path / "external"
        folder.mkdir(exist_ok=True)
        (folder / "transformer_lens.py").write_text("class HookedTransformer: pass\n")
        (folder / "torch.py").write_text(TORCH)
        (folder / "helper.py").write_text(HELPER.replace("%r", repr(str(GOLDEN / "outputs"))))
        (folder / "run.py").write_text(run_py.replace("{accident}", accident))
        return ["--run-py", str(folder / "run.py"), "--python", sys.executable]

    return write


def test_a_capture_records_what_ran_and_leaves_golden_unchanged(
    external: External, tmp_path: Path, capsys: Output
) -> None:
    out = tmp_path / "out"
    assert main(["capture", *external(), "--out", str(out), *CASES]) == 0
    assert "3 of 3 cases captured" in capsys.readouterr().out
    capture = read_capture(out)
    assert list(capture.cases) == CASES
    assert set(capture.provenance["modules"]) == {
        "run.py",
        "helper.py",
        "transformer_lens.py",
        "torch.py",
    }
    assert all(len(digest) == 64 for digest in capture.provenance["modules"].values())
    assert set(capture.provenance) >= {"python", "libraries", "threads"}
    for file in (GOLDEN / "outputs" / "raw-off").iterdir():
        assert (out / "outputs" / "raw-off" / file.name).read_bytes() == file.read_bytes()
    assert verify() == []


def test_the_same_bytes_are_called_identical(external: External, capsys: Output) -> None:
    assert main(["check", *external(), *CASES]) == 0
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith("3 of 3 cases match, 0 mismatches, files: 9 identical, ")
    )


ACCIDENTS = {
    "raise": (
        'name == "fact" and helper.write(CLI_ARGS, "nobody")',
        "run.py raised KeyError: 'nobody' at helper.py:7 in write",
    ),
    "exit": (
        'name == "fact" and sys.exit(3)',
        "run.py raised SystemExit: 3 at run.py:13 in run_single_model",
    ),
    "killed": (
        'name == "fact" and os.kill(os.getpid(), 9)',
        "run.py was killed by signal 9 in this case",
    ),
    "hard exit": ('name == "fact" and os._exit(7)', "run.py exited with status 7 in this case"),
    "false": ('if name == "fact": return False', "run_single_model returned False"),
}


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("kind", ACCIDENTS)
def test_a_crash_takes_one_case_only(
    external: External, kind: str, jobs: str, capsys: Output
) -> None:
    accident, message = ACCIDENTS[kind]
    assert main(["check", *external(accident), "-j", jobs, *CASES]) == 1
    shown = capsys.readouterr().out
    assert "Look first at stage “run”" in shown.split("case    ")[0]
    assert message in shown
    assert shown.splitlines()[-1].startswith("2 of 3 cases match, ")


def test_missing_and_extra_files_are_findings(external: External, capsys: Output) -> None:
    accident = (
        'name == "fact" and (os.remove(out + "/output-Fact.json"), open(out + "/more.csv", "w"))'
    )
    assert main(["check", *external(accident), "--json", "fact"]) == 1
    report = json.loads(capsys.readouterr().out)
    kinds = {(m["file"], m["kind"]) for m in report["cases"][0]["mismatches"]}
    assert kinds == {("output-Fact.json", "missing file"), ("more.csv", "extra file")}
    assert report["cases"][0]["verdicts"]["output-Fact.json"] == "missing"


def test_a_run_py_that_exceeds_its_timeout_is_stopped(external: External, capsys: Output) -> None:
    assert main(["check", *external("time.sleep(60)"), "--timeout", "2", "fact"]) == 1
    assert "run.py took longer than 2 s a case in this case" in capsys.readouterr().out


def test_the_timeout_is_of_each_case(external: External, capsys: Output) -> None:
    """A case that hangs does not last as long as all cases of its process may."""
    started = time.monotonic()
    cases = ["rms-rope", "fact", *(name for name, case in load_cases().items() if not case.env)][
        :12
    ]
    options = [*external('time.sleep(60 if name == "fact" else 0)'), "--timeout", "1", "-j", "1"]
    assert main(["check", *options, *dict.fromkeys(cases)]) == 1
    assert time.monotonic() - started < 8
    shown = capsys.readouterr().out
    assert "run.py took longer than 1 s a case in this case" in shown
    assert shown.splitlines()[-1].startswith("10 of 11 cases match, ")


@pytest.mark.parametrize("threads", ["", "3"])
def test_two_workers_write_what_one_writes(
    external: External, threads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one torch thread each, or as many as the environment says."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    records = []
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        assert main(["capture", *external(), "-j", jobs, "--out", str(out), *CASES]) == 0
        records.append(json.loads((out / "capture.json").read_text()))
    for record in records:
        assert list(record["cases"]) == CASES
        assert all(case.pop("seconds") >= 0 for case in record["cases"].values())
        assert record["provenance"]["threads"]["OMP_NUM_THREADS"] == (threads or "1")
    assert records[0] == records[1]


def test_workers_run_at_the_same_time(external: External, tmp_path: Path, capsys: Output) -> None:
    """Each case waits for the other one."""
    meet = (
        f"place = Path({str(tmp_path)!r}); (place / (name + '.began')).touch()\n"
        "    while len(list(place.glob('*.began'))) < 2: time.sleep(0.01)"
    )
    run_py = RUN_PY.replace("import helper", "import helper\nfrom pathlib import Path")
    options = [*external(meet, run_py=run_py), "--timeout", "20", "fact", "raw-off"]
    assert main(["check", *options, "-j", "2"]) == 0


def heed_interrupts() -> None:
    """In a child: a shell that runs the tests in the background has it ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_ends_all_workers(external: External, tmp_path: Path) -> None:
    began = f"open({str(tmp_path)!r} + f'/{{os.getpid()}}.began', 'w'); time.sleep(60)"
    command = [sys.executable, "-m", "spec", "capture", *external(began), "-j", "2"]
    line = [*command, "--out", str(tmp_path / "out"), *CASES]
    with subprocess.Popen(line, preexec_fn=heed_interrupts) as process:
        while len(workers := list(tmp_path.glob("*.began"))) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) != 0
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(int(worker.stem), 0)
    assert not (tmp_path / "out" / "capture.json").exists()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 5))
def test_cases_are_divided_evenly(sizes: list[int], workers: int) -> None:
    """Each case once and in order, one environment a process, and no worker much longer than an even division."""
    groups: Any = [[(number, i) for i in range(size)] for number, size in enumerate(sizes)]
    shares: Any = divide(groups, workers)
    assert 1 <= len(shares) <= workers
    pieces = [piece for share in shares for piece in share]
    assert [case for piece in pieces for case in piece] == [case for g in groups for case in g]
    assert all(piece and len({case[0] for case in piece}) == 1 for piece in pieces)
    total = sum(sizes) + LOADING * (len(sizes) + workers - 1)
    assert max(map(cost, shares)) <= WORTH * (total / workers + LOADING + 1)


@pytest.mark.parametrize(
    ("sizes", "workers", "expected"),
    [
        ([20], 2, [[10], [10]]),
        ([20], 1, [[20]]),
        ([2], 2, [[2]]),  # two imports at the same time take longer than a tiny case
        ([1, 1], 2, [[1], [1]]),
        ([24, 3, 1], 2, [[24], [3, 1]]),
    ],
)
def test_a_process_more_must_be_worth_its_imports(
    sizes: list[int], workers: int, expected: list[list[int]]
) -> None:
    groups: Any = [list(range(size)) for size in sizes]
    assert [[len(group) for group in share] for share in divide(groups, workers)] == expected


@pytest.mark.parametrize(
    ("run_py", "message"),
    [
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'"),
        ("def run_single_model(m): return True\n", "run.py has no module-level CLI_ARGS"),
    ],
)
def test_a_run_py_that_cannot_be_loaded_fails_every_case(
    external: External, run_py: str, message: str, tmp_path: Path, capsys: Output
) -> None:
    assert main(["check", *external(run_py=run_py), "fact", "raw-off"]) == 1
    shown = capsys.readouterr().out
    assert "run.py could not be loaded: it exited with status 1" in shown
    assert message in shown
    assert shown.splitlines()[-1].startswith("0 of 2 cases match, ")


def test_a_capture_with_failed_cases_says_so(
    external: External, tmp_path: Path, capsys: Output
) -> None:
    assert main(["capture", *external("1 / 0"), "--out", str(tmp_path / "o"), "fact"]) == 1
    assert "fact: run.py raised ZeroDivisionError" in capsys.readouterr().out
    assert "ZeroDivisionError" in read_capture(tmp_path / "o").cases["fact"]["problem"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--run-py", "nowhere.py", "--python", sys.executable], "no Python file at nowhere.py"),
        (
            ["--run-py", __file__, "--python", "/nowhere/python"],
            "no interpreter at /nowhere/python",
        ),
        (
            ["--run-py", __file__, "--python", sys.executable, "--timeout", "0"],
            "seconds must be > 0, got 0",
        ),
        (
            ["--run-py", __file__, "--python", sys.executable, "-j", "0"],
            "--jobs takes a number from 1 on, got 0",
        ),
        (["--run-py", __file__], "--run-py and --python go together"),
        (["--run-py", __file__, "--python", sys.executable, "--runner", "x"], "name two runners"),
        (["--against", "/nowhere"], "/nowhere is no complete capture"),
    ],
)
def test_wrong_flags_are_one_clear_error(args: list[str], message: str, capsys: Output) -> None:
    assert main(["check", *args]) == 2
    assert message in capsys.readouterr().err


def test_a_capture_goes_to_an_empty_folder(
    external: External, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "old.csv").touch()
    assert main(["capture", *external(), "--out", str(tmp_path), "fact"]) == 2
    assert "must be new or empty" in capsys.readouterr().err


def test_a_changed_or_interrupted_capture_is_refused(external: External, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["capture", *external(), "--out", str(out), "fact"]) == 0
    (out / "outputs" / "fact" / "output-Fact.json").write_text("{}")
    with pytest.raises(
        SpecError, match=r"is not what was captured: outputs/fact/output-Fact.json changed"
    ):
        read_capture(out)
    (out / "capture.json").unlink()
    with pytest.raises(SpecError, match="is no complete capture"):
        read_capture(out)


@pytest.mark.parametrize(
    ("lost", "added", "named"),
    [
        (["model.norm.weight"], [], "model.norm.weight"),
        ([], ["model.extra.weight"], "model.extra.weight"),
        (["model.layers.0.mlp.up_proj.weight", "lm_head.weight"], [], "lm_head.weight"),
    ],
)
def test_a_checkpoint_with_missing_or_unread_weights_is_never_captured(
    lost: list[str], added: list[str], named: str, tmp_path: Path
) -> None:
    """Otherwise transformers would initialise missing weights at random, and capture another model."""
    folder = Path(shutil.copytree(GOLDEN / "models" / "rms-rope", tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    changed = {name: tensor for name, tensor in weights.items() if name not in lost}
    changed |= {name: torch.zeros(2) for name in added}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    message = f"does not read {len(lost) + len(added)} weights, such as {named}"
    with pytest.raises(RuntimeError, match=message):
        read_original(str(folder), torch.float32)
    assert (
        read_original(str(GOLDEN / "models" / "rms-rope"), torch.float32).config.vocab_size == 115
    )
