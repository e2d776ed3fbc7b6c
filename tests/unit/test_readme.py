"""What the READMEs tell to type: Python runs unchanged, commands parse, scripts and their options are there."""

import argparse
import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lenses_min.cli import command_line
from spec import __main__ as spec_command_line

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "scripts/GPU.md",
    *(f"{room}/README.md" for room in ("lenses_min", "spec", "scripts")),
)
COMMAND = re.compile(r"(lenses-min|python -m spec|(?:bash|python|sbatch) scripts/\S+)(?: .*)?$")
PARSERS = {"lenses-min": command_line.parser, "python -m spec": spec_command_line.parser}


def commands(page: str) -> Iterator[str]:
    """Every command of a page, without its comment: lines of blocks, and between backticks those with arguments."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += [line.strip() for line in text.splitlines() if line.startswith("    ")]
    inline = [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    lines += [
        code for code in inline if re.search(r"(lenses-min|-m spec|scripts/\S+) \S+ \S", code)
    ]
    for line in dict.fromkeys(lines):
        command = re.sub(r"\s+#.*", "", line.partition("=$(")[2].rstrip(")") or line)
        if COMMAND.fullmatch(command):
            yield command


def refused(parser: argparse.ArgumentParser, message: str) -> None:
    raise AssertionError(f"{parser.prog}: {message}")


ALL = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), ALL)
def test_every_command_of_a_page_is_one(
    page: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    match = COMMAND.fullmatch(command)
    assert match
    words = shlex.split(command[match.end(1) :].replace("…", "").replace("$python", "python"))
    if match[1] not in PARSERS:
        script = ROOT / match[1].split()[1]
        text = script.read_text(encoding="utf-8")
        assert all(word.partition("=")[0] in text for word in words if word.startswith("--"))
        return
    monkeypatch.setattr(argparse.ArgumentParser, "error", refused)
    with contextlib.suppress(SystemExit):  # --help and --version end the program
        PARSERS[match[1]]().parse_args(words)


def test_the_pages_have_commands_of_every_kind() -> None:
    kinds = {COMMAND.fullmatch(command)[1].split(" scripts")[0] for _, command in ALL}  # type: ignore[index]
    assert kinds == {"lenses-min", "python -m spec", "bash", "python", "sbatch"}
    assert len(ALL) >= 30


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_every_link_inside_the_project_leads_somewhere() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (ROOT / page).parent.joinpath(target).exists(), (page, target)


def test_the_python_of_the_readme(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    assert any("lm.run(" in block for block in blocks)
    for block in blocks:
        exec(block.replace("path-or-id", str(models / "fact")), {})
    assert (tmp_path / "out" / "output-fact.json").is_file()
