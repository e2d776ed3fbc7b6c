"""Every command leaves the process as it found it, however it ends."""

import argparse
import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tqdm
from transformers.utils import logging as transformers_logging

from lenses_min import LensError, RunOptions
from lenses_min.cli import command_line
from lenses_min.process import (
    configure_logging,
    replace_unprintable,
    restore_environment,
    silence_transformers,
)
from lenses_min.sweep import __main__ as worker
from lenses_min.sweep.engines import Job, Local, Outcome
from spec import __main__ as spec_command_line
from spec.commands import COMMANDS as SPEC_COMMANDS
from tests.process_state import differences, process_state, random_states

with contextlib.suppress(ImportError):
    import ray  # noqa: F401  its import sets variables and sys.path, which is no test's doing

GOLDEN = Path(__file__).parents[2] / "golden"
FACT = str(GOLDEN / "models" / "fact")
FACT_OUTPUTS = str(GOLDEN / "outputs" / "fact")
SENTENCE = "The capital of Germany is called simply Berlin . "
ENDINGS = ("done", "refused", "wrong option", "help", "interrupted")


@dataclass(frozen=True)
class Command:
    """How a command is called; `refused` are further arguments, or others, under which it fails, if there are any.

    `inner` is a function that it calls in the midst of its work, as a dotted path.
    """

    words: tuple[str, ...]
    refused: tuple[str, ...]
    inner: str


RUN = ("--device", "cpu", "--out-dir", "out")
FIT = (FACT, "--text", "text.txt", "--out", "fitted", "--device", "cpu", "--length", "16")
COMMANDS = {
    "run": Command(("run", FACT, *RUN), ("run", "./none", *RUN), "lenses_min.pipeline.run"),
    "batch": Command(("batch", "jobs.jsonl"), ("batch", "none"), "lenses_min.pipeline.run"),
    "show": Command(("show", FACT_OUTPUTS), ("show", "none"), "lenses_min.report.terminal.show"),
    "report": Command(
        ("report", FACT_OUTPUTS, "-o", "r.html"), ("report", "none"), "lenses_min.report.page.page"
    ),
    "figure": Command(
        ("figure", FACT_OUTPUTS, "-o", "f.svg"),
        ("figure", "none"),
        "lenses_min.report.paper.figure",
    ),
    "cache": Command(("cache",), (), "lenses_min.cli.cache.size_of"),
    "completion": Command(("completion", "bash"), (), "shtab.complete"),
    "doctor": Command(("doctor", FACT), ("doctor", "./none"), "lenses_min.cli.doctor.verdict"),
    "fit tuned": Command(
        ("fit", "tuned", *FIT, "--tokens", "400", "--steps", "1"),
        ("fit", "tuned", *FIT, "--tokens", "16"),
        "lenses_min.model.load.load",
    ),
    "fit prism": Command(
        ("fit", "prism", *FIT, "--k", "4"),
        ("fit", "prism", *FIT, "--samples", "8"),
        "lenses_min.model.load.load",
    ),
    "sweep": Command(
        ("sweep", FACT, *RUN, "--self-test"),
        ("sweep", "./none", *RUN, "--self-test"),
        "lenses_min.sweep.sweep.outcome_of",
    ),
}
REPOSITORY = ("--run-py", "none.py", "--python", sys.executable)
SPEC = {
    "check": ("check", "fact", "--runner", "false"),
    "capture": ("capture", "--run-py", "none.py", "--python", sys.executable, "--out", "c"),
    "promote": ("promote", "none", "--reason", "none"),
    "new-case": ("new-case", "none", "--recipe", "llama", "--seed", "5", "--out", "cases"),
    "audit": ("audit",),
    "history": ("history", *REPOSITORY, "a..b"),
    "bisect": ("bisect", *REPOSITORY, "--column", "records: row", "a..b"),
    "accept": ("accept", *REPOSITORY, "--only", "records: row", "--reason", "none", "a"),
    "diff": ("diff", FACT_OUTPUTS, str(GOLDEN / "corrected" / "fact")),
    "validate": ("validate", FACT_OUTPUTS),
    "forensics": ("forensics", FACT_OUTPUTS),
    "conform": ("conform", "--tool", "false"),
}


def sub_commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The commands of a parser, and those of a command that has some, separated by spaces."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from [f"{name} {more}" for more in sub_commands(below)] or [name]


def test_every_command_is_tried_here() -> None:
    assert {*sub_commands(command_line.parser())} == {*COMMANDS}
    assert {*sub_commands(spec_command_line.parser())} == {*SPEC}
    assert len(SPEC_COMMANDS) == len(SPEC)


@pytest.fixture
def folder(tmp_path: Path, cpu_of_16_gib: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the commands, with the files that they read."""
    (tmp_path / "text.txt").write_text(SENTENCE * 60)
    (tmp_path / "jobs.jsonl").write_text(
        f'{{"model": "{FACT}", "device": "cpu", "out_dir": "batch"}}\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def odd_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a caller may have set, and no command would set: none is the default of its library."""
    package, handler = logging.getLogger("lenses_min"), logging.NullHandler()
    levels = {logging.root: logging.root.level, package: package.level}
    verbosity = transformers_logging.get_verbosity()
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 7)
    monkeypatch.setattr(package, "propagate", True)
    for logger in levels:
        logger.setLevel(logging.DEBUG + 1)
    package.addHandler(handler)
    transformers_logging.set_verbosity_debug()
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    for number in signals:
        signal.signal(number, lambda *_: pytest.fail("a signal came"))
    with np.errstate(all="raise"):
        yield
    for number, before in signals.items():
        signal.signal(number, before)
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(False)
    transformers_logging.set_verbosity(verbosity)
    package.removeHandler(handler)
    for logger, level in levels.items():
        logger.setLevel(level)


def changes(act: Callable[[], Any]) -> list[str]:
    """What an act has changed in this process when it is over, an exception included."""
    before = {**process_state(), **random_states()}
    try:
        act()
    finally:
        after = {**process_state(), **random_states()}
    return differences(before, after)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        (name, ending)
        for name, command in COMMANDS.items()
        for ending in ENDINGS
        if ending != "refused" or command.refused
    ],
)
def test_a_command_leaves_the_process_as_it_was(
    name: str, ending: str, folder: Path, odd_settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = COMMANDS[name]
    words = {"refused": command.refused}.get(ending, command.words)
    more = {"wrong option": ["--no-such-option"], "help": ["--help"]}.get(ending, [])
    ends: list[Any] = []

    def act() -> None:
        try:
            ends.append(command_line.main([*words, *more]))
        except SystemExit as error:
            ends.append(error)

    def outcome(engine: Local, job: Job, target: Path) -> Outcome:
        return Outcome(int(job.options.model == "./none"), "said")

    def interrupt(*args: object, **kwargs: object) -> None:
        logging.getLogger("lenses_min").error("interrupted")
        raise KeyboardInterrupt

    monkeypatch.setattr(Local, "perform", outcome)
    if ending == "interrupted":
        monkeypatch.setattr(command.inner, interrupt)
    assert changes(act) == []
    (end,) = ends
    if ending == "interrupted":
        assert end == 130
    elif ending in ("wrong option", "help"):
        assert isinstance(end, SystemExit)
        assert end.code == {"wrong option": 2, "help": 0}[ending]
    else:
        assert end in {"done": (0,), "refused": (1, 2)}[ending]


@pytest.mark.parametrize("name", SPEC)
def test_a_command_of_the_contract_leaves_the_process_as_it_was(
    name: str, folder: Path, odd_settings: None
) -> None:
    assert changes(lambda: spec_command_line.main(SPEC[name])) == []

    def wrong() -> None:
        with pytest.raises(SystemExit):
            spec_command_line.main([*SPEC[name], "--no-such-option"])

    assert changes(wrong) == []


@pytest.mark.parametrize("model", [FACT, "./none"])
@pytest.mark.parametrize("self_test", [False, True])
def test_the_worker_of_a_sweep_leaves_the_process_as_it_was(
    model: str, self_test: bool, folder: Path, odd_settings: None
) -> None:
    options = asdict(RunOptions(model, device="cpu"))
    job = {"options": options, "self_test": self_test, "verbose": True, "folder": "out"}
    job["share"] = None
    ends: list[int] = []
    assert changes(lambda: ends.append(worker.perform(job))) == []
    assert ends == [int(model != FACT)]


def test_a_task_on_ray_works_where_it_was_started_and_changes_nothing_in_its_worker(
    folder: Path, odd_settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray keeps a worker for further tasks. The run itself is in a process of its own: here a shell."""
    on_ray = pytest.importorskip("lenses_min.sweep.on_ray")
    directory = folder / "there"
    directory.mkdir()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "executable", str(folder / "shell"))
    (folder / "shell").write_text('#!/bin/sh\necho "$(pwd) ${OMP_NUM_THREADS-none}"\n')
    (folder / "shell").chmod(0o755)
    outputs: list[str] = []
    job = Job(RunOptions("any", device="cpu"))

    def perform(threads: str | None) -> None:
        outputs.append(on_ray.perform(job, str(directory), threads).output)

    for threads in (None, "3"):
        assert changes(partial(perform, threads)) == []
    assert outputs == [f"{directory} none", f"{directory} 3"]


def test_variables_that_are_set_changed_and_deleted_within(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHANGED", "before")
    monkeypatch.setenv("DELETED", "before")
    before = dict(os.environ)
    with restore_environment():
        os.environ.update(CHANGED="after", NEW="after")
        del os.environ["DELETED"]
    assert dict(os.environ) == before


def test_messages_go_to_the_standard_error_of_now(capsys: pytest.CaptureFixture[str]) -> None:
    """A handler that keeps the stream of its first call writes to a closed one later."""
    log = logging.getLogger("lenses_min")
    for message in ("first", "second"):
        with configure_logging(logging.INFO):
            log.info(message)
            log.debug("a detail")
        assert capsys.readouterr().err == f"INFO {message}\n"
    log.info("nobody asked")
    assert capsys.readouterr().err == ""


def test_bars_are_hidden_only_within(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a bar that asks to be drawn, and without the thread that watches over bars."""
    with silence_transformers():
        assert [*tqdm.tqdm(range(3), disable=False)] == [0, 1, 2]
        assert transformers_logging.get_verbosity() == logging.ERROR
        assert tqdm.tqdm.monitor_interval == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)
    with tqdm.tqdm(range(3), disable=False) as bar:
        assert not bar.disable
    assert "0/3" in capsys.readouterr().err


def test_an_error_within_is_passed_on(odd_settings: None) -> None:
    def act() -> None:
        with pytest.raises(LensError), configure_logging(logging.INFO), silence_transformers():
            raise LensError("mend it")

    assert changes(act) == []
    assert os.environ["TQDM_DISABLE"] == "0"


def test_a_message_is_printed_once_though_the_caller_logs_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The caller's own handler at the root is not asked as well."""
    own = io.StringIO()
    handler = logging.StreamHandler(own)
    logging.root.addHandler(handler)
    with configure_logging(logging.WARNING):
        logging.getLogger("lenses_min").warning("once")
    logging.root.removeHandler(handler)
    assert (capsys.readouterr().err, own.getvalue()) == ("WARNING once\n", "")


@pytest.mark.parametrize(
    ("errors", "printed"),
    [("strict", b"a ? \xe9"), ("backslashreplace", b"a \\u2423 \xe9"), ("ignore", b"a  \xe9")],
)
def test_what_an_encoding_lacks_is_printed_as_a_question_mark(
    errors: str, printed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the user has chosen something else; the stream is as before afterwards."""
    written = {name: io.BytesIO() for name in ("stdout", "stderr")}
    streams = {name: io.TextIOWrapper(raw, "latin-1", errors) for name, raw in written.items()}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    with replace_unprintable():
        for stream in streams.values():
            stream.write("a \u2423 \xe9")
            stream.flush()
    monkeypatch.undo()
    for name, stream in streams.items():
        assert (written[name].getvalue(), stream.errors) == (printed, errors)


def test_a_stream_that_is_no_file_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a notebook, which has no encoding of its own."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    with replace_unprintable():
        print("\u2423")
    monkeypatch.undo()
    assert stream.getvalue() == "\u2423\n"
