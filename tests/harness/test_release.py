"""Version, citation, changelog and authors are in step, and a release is refused where they are not."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from lenses_min.version import __version__

ROOT = Path(__file__).parents[2]
CHANGELOG = f"# Changelog\n\n## {__version__} (2026-11-30)\n"
FILES = {
    "scripts/release.sh": (ROOT / "scripts" / "release.sh").read_text(encoding="utf-8"),
    "lenses_min/version.py": f'__version__ = "{__version__}"\n',
    "CITATION.cff": f"version: {__version__}\n",
    "CHANGELOG.md": CHANGELOG,
}


def test_version_authors_and_changelog_are_in_step() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == __version__
    assert citation["authors"] == project["authors"]
    assert project["authors"][0]["name"].lower() in (ROOT / "LICENSE").read_text().lower()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *_ = re.findall(r"^## (.*)$", changelog, re.MULTILINE)
    assert first == "Unreleased" or re.fullmatch(rf"{re.escape(__version__)} \(\S+\)", first)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("CITATION.cff", "version: 0.0.1\n", "CITATION.cff is not of version"),
        ("CHANGELOG.md", "## Unreleased\n", "CHANGELOG.md has no heading"),
        ("CHANGELOG.md", CHANGELOG.replace("2026-11-30", "unreleased"), "has no heading"),
        ("uncommitted", "", "the working tree has changes"),
    ],
)
def test_a_release_out_of_step_is_refused(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    for path, content in {**FILES, name: text}.items():
        if path != "uncommitted":
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(content, encoding="utf-8")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    if name == "uncommitted":
        (tmp_path / name).touch()
    ended = subprocess.run(
        ["bash", str(tmp_path / "scripts" / "release.sh")],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert message in ended.stderr
    assert not (tmp_path / "dist").exists()
