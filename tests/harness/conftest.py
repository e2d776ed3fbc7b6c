"""Captured runs to read, corrupt and compare."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from spec.golden import GOLDEN


@pytest.fixture
def capture(tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies a case's captured folder, to be changed at will."""

    def copy(case: str, name: str = "run") -> Path:
        return Path(copytree(GOLDEN / "outputs" / case, tmp_path / name))

    return copy
