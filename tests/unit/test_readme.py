"""The Python code of the README runs unchanged."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
)


def test_the_python_of_the_readme(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert any("lm.run(" in block for block in BLOCKS)
    for block in BLOCKS:
        exec(block.replace("path-or-id", str(models / "fact")), {})
    assert (tmp_path / "out" / "output-fact.json").is_file()
