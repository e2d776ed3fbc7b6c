"""Output on a terminal or pipe: a character that its encoding lacks is printed as `?`; Ctrl-C ends in one line."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import spec.__main__

ROOT = Path(__file__).parents[2]
FACT = str(ROOT / "golden" / "outputs" / "fact")
LOOSE = str(ROOT / "golden" / "outputs" / "loose-copy")
COMMANDS = {
    "show": (["lenses_min", "show", FACT], 0),
    "help": (["lenses_min", "run", "--help"], 0),
    "error": (["lenses_min", "show", "…"], 1),
    "diff": (["spec", "diff", FACT, LOOSE], 1),
    "validate": (["spec", "validate", FACT], 0),
}


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_character_that_cannot_be_shown_is_replaced(name: str, encoding: str) -> None:
    command, status = COMMANDS[name]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
    ended = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, cwd=ROOT, env=environment
    )
    assert ended.returncode == status, ended.stderr.decode(encoding)
    assert "Traceback" not in ended.stderr.decode(encoding)
    assert ended.stdout or ended.stderr


def test_a_command_of_spec_that_is_stopped_prints_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*given: object) -> int:
        raise KeyboardInterrupt

    def add(commands: Any) -> None:
        commands.add_parser("wait").set_defaults(run=stop)

    monkeypatch.setattr(spec.__main__, "COMMANDS", [SimpleNamespace(add=add)])
    assert spec.__main__.main(["wait"]) == 130
    assert capsys.readouterr().err == "stopped\n"
