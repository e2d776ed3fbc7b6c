"""The arrows of the house: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAIN = {"errors", "options", "types"}
COMPOSITION = {"__init__", "__main__", "cli", "pipeline"}


def imported(path: Path) -> set[str]:
    """Every module a file imports, relative ones as `.name`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            names |= {prefix} if node.module else {f"{prefix}{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("lenses_min", {"spec", "tests", "scripts"}), ("spec", {"lenses_min", "tests", "scripts"})],
)
def test_packages_keep_apart(package: str, forbidden: set[str]) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        tops = {
            name.lstrip(".").split(".")[0] for name in imported(path) if not name.startswith(".")
        }
        assert not tops & forbidden, path


def test_stages_never_import_the_composition() -> None:
    for path in (ROOT / "lenses_min").rglob("*.py"):
        if path.stem not in COMPOSITION:
            relative = {
                name.lstrip(".").split(".")[0] for name in imported(path) if name.startswith(".")
            }
            assert not relative & COMPOSITION, path


def test_lenses_never_see_a_model() -> None:
    for path in (ROOT / "lenses_min" / "lenses").glob("*.py"):
        relative = {
            name.lstrip(".").split(".")[0] for name in imported(path) if name.startswith("..")
        }
        assert relative <= PLAIN, path


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "pandas", "plotly", "rich", "jinja2", "ray"}
    code = f"import sys, lenses_min.cli as c; c.parser().format_help(); print({heavy} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout.strip() == "set()"


def test_a_file_is_read_in_one_sitting() -> None:
    for path in [*(ROOT / "lenses_min").rglob("*.py"), *(ROOT / "spec").rglob("*.py")]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 260, path
