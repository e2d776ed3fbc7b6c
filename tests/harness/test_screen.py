"""Whatever a file holds, the screen shows it on one line and as text: no terminal obeys it."""

import shutil
from pathlib import Path

import pytest

from spec.__main__ import main
from spec.compare.kinds import Kind
from spec.compare.recorder import Mismatch
from spec.golden import GOLDEN
from spec.report.text import mismatch_line, printable
from spec.runs import csv_dialect
from spec.runs.places import Place, TableRow

RAW = ["\r", "\n", "\x00", "\x1b[2J", "\x7f", "\x9b", "\u2028", "\u202e", "\u200b", "\ue000", "\ud800"]  # fmt: skip


@pytest.mark.parametrize("raw", RAW)
def test_every_part_of_a_line_is_printable(raw: str) -> None:
    place = Place(f"f{raw}", TableRow(raw, raw, raw), f"c{raw}")
    line = mismatch_line(Mismatch(place, raw, f"{raw}x", Kind.VALUE))
    assert line.isprintable()
    assert printable(line) == line
    assert printable("␣ é́ 🇩🇪 Berlin") == "␣ é́ 🇩🇪 Berlin"


def spoil(folder: Path) -> None:
    """Characters that a terminal obeys in a header, a token, a key and a text of a run."""
    table = folder / "output-Fact-records.csv"
    lines = table.read_text(encoding="utf-8").split("\n")
    cells = lines[1].split(",")
    cells[4] = csv_dialect.encode("\x1b[2J\x9b\u202e")
    lines[0], lines[1] = lines[0].replace("rest_mass", "rest\x1bmass"), ",".join(cells)
    table.write_text("\n".join(lines), encoding="utf-8")
    document = folder / "output-Fact.json"
    text = document.read_text(encoding="utf-8").replace('"Berlin"', '"Ber\u202elin\u2028"')
    document.write_text(text.replace('"L_copy"', '"L_\u202ecopy"'), encoding="utf-8")


def test_no_command_prints_what_a_terminal_obeys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoiled = Path(shutil.copytree(GOLDEN / "outputs" / "fact", tmp_path / "spoiled"))
    spoil(spoiled)
    runner = tmp_path / "runner.sh"
    runner.write_text(f'#!/bin/sh\nmkdir -p "$1" && cp {spoiled}/* "$1"\n')
    runner.chmod(0o755)
    copy = f"{runner} {tmp_path}/kept/fact"
    for command in (
        ["check", "fact", "--runner", copy, "--keep", str(tmp_path / "kept")],
        ["diff", str(GOLDEN / "outputs" / "fact"), str(spoiled)],
        ["validate", str(spoiled)],
    ):
        assert main(command) == 1
        shown = capsys.readouterr().out
        assert "\\x1b" in shown
        assert all(line.isprintable() for line in shown.split("\n")), command
