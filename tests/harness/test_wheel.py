"""The wheel: what a user installs has its data files, runs away from the checkout, and says its version."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import lenses_min

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources, unpacked; its dependencies are those of the test's interpreter."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        ROOT / "lenses_min",
        folder / "source" / "lenses_min",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    wheel = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
    ]
    subprocess.run([*wheel, str(folder / "source")], check=True, capture_output=True)
    with ZipFile(next(folder.glob("lenses_min-*.whl"))) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


START = """
import logging, os, sys
environment = dict(os.environ)

def as_found():
    import tqdm
    assert dict(os.environ) == environment, "the environment"
    assert logging.root.level == logging.WARNING, "the level of the root logger"
    assert logging.getLogger("lenses_min").level == logging.NOTSET, "the level of the package"
    assert logging.getLogger("transformers").level in (logging.NOTSET, logging.WARNING), "transformers"
    assert not tqdm.tqdm([], file=open(os.devnull, "w"), disable=False).disable, "progress bars"

sys.path.insert(0, sys.argv.pop(1))
from lenses_min.cli.command_line import main
try:
    status = main()
finally:
    as_found()
sys.exit(status)
"""


def start(site: Path, cwd: Path, *args: str) -> str:
    """Run a command of the unpacked wheel, which imports its libraries within it and leaves them as they come."""
    ended = subprocess.run(
        [sys.executable, "-c", START, str(site), *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_wheel_holds_its_data_and_nothing_else(installed: Path) -> None:
    names = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {
        "lenses_min/py.typed",
        "lenses_min/prompts/prompts.yaml",
        "lenses_min/report/page.html",
    } <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"lenses_min"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "lenses_min").rglob("*.py")}
    assert sources <= names


def test_the_wheel_runs_and_reports(installed: Path, models: Path, tmp_path: Path) -> None:
    assert start(installed, tmp_path, "--version").split() == ["lenses-min", lenses_min.__version__]
    start(
        installed, tmp_path, "run", str(models / "rms-rope"), "--device", "cpu", "--out-dir", "out"
    )
    start(installed, tmp_path, "report", "out", "-o", "report.html")
    assert "rms-rope" in (tmp_path / "report.html").read_text(encoding="utf-8")
