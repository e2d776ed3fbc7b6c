"""What the arguments of a command become: defaults, levels of messages, and what is handed on."""

import argparse
import importlib
import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from test_cli import described, parser_of

from lenses_min import RunOptions
from lenses_min.cli import command_line
from lenses_min.model import load as loading
from lenses_min.report import page as report_page

FACT = str(Path(__file__).parents[2] / "golden" / "outputs" / "fact")


def parsed(*words: str) -> dict[str, Any]:
    return vars(command_line.parser().parse_args(words))


def test_a_run_without_options_has_their_defaults() -> None:
    arguments, names = parsed("run", "m"), [f.name for f in fields(RunOptions)]
    defaults = {f.name: f.default for f in fields(RunOptions)}
    assert {name: arguments[name] for name in names} == defaults | {"model": "m"}
    assert parsed("fit", "tuned", "m", "--out", "o")["model_id"] == ""


def test_the_number_of_jobs_is_a_whole_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed("sweep", "--jobs", "3")["jobs"] == 3
    with pytest.raises(SystemExit):
        parsed("sweep", "--jobs", "many")
    assert "argument --jobs: invalid int value: 'many'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ({}, logging.INFO),
        ({"quiet": False, "verbose": False}, logging.WARNING),
        ({"quiet": False, "verbose": True}, logging.INFO),
        ({"quiet": True, "verbose": False}, logging.ERROR),
    ],
)
def test_messages_are_printed_from_a_level_on(flags: dict[str, bool], level: int) -> None:
    assert command_line.level_of(argparse.Namespace(**flags)) == level


def test_a_run_shows_its_layers_unless_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    performed: list[tuple[RunOptions, bool]] = []

    def perform(options: RunOptions, shows: bool) -> int:
        performed.append((options, shows))
        return 0

    monkeypatch.setattr(command_line, "perform", perform)
    assert command_line.main(["run", "m", "--lens", "final"]) == 0
    assert command_line.main(["run", "m", "--lens", "final", "--quiet"]) == 0
    options = RunOptions("m", lenses=("final",))
    assert performed == [(options, True), (options, False)]


def test_completion_is_for_the_shell_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef lenses-min\n")


def test_both_fits_are_listed_with_what_they_fit() -> None:
    assert described(parser_of("fit")) == [
        "tuned: translators of a tuned lens; started again, it goes on where it stopped",
        "prism: whitening and rotation of a Prism lens",
    ]


@pytest.mark.parametrize("lens", ["tuned", "prism"])
def test_a_fit_writes_into_the_folder_of_its_model_and_prints_it(
    lens: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module(f"lenses_min.fit.{lens}")
    fitted: list[Any] = []
    monkeypatch.setattr(loading, "load", lambda options: options.model)
    monkeypatch.setattr(module, "fit", lambda model, settings: fitted.extend((model, settings)))
    monkeypatch.setattr(module, "sentence", lambda provenance: "fitted well")
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.touch()
    command = ["fit", lens, "m", "--model-id", "org/X", "--text", str(text), "--out", str(out)]
    assert command_line.main(command) == 0
    model, settings = fitted
    assert (model, settings.text, settings.out) == ("m", (str(text),), str(out / "X"))
    assert capsys.readouterr().out == f"org/X: fitted well\n{out / 'X'}\n"


def test_json_of_a_run_is_indented_by_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["show", "--json", FACT]) == 0
    printed = capsys.readouterr().out
    assert printed == json.dumps(json.loads(printed), indent=2) + "\n"


def test_a_report_tracks_the_tokens_that_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compose(runs: list[Any], track: list[str]) -> str:
        return ", ".join([*(run.name for run in runs), *track])

    monkeypatch.setattr(report_page, "page", compose)
    out = tmp_path / "report.html"
    assert command_line.main(["report", FACT, "-o", str(out), "--track", "Berlin", "Bonn"]) == 0
    assert out.read_text(encoding="utf-8") == "Fact, Berlin, Bonn"
    assert capsys.readouterr().out == f"{out} (0.0 MB)\n"
