"""The notebook of scripts/: its cells run in their order, on a tiny model in place of SmolLM2."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / "scripts" / "tutorial.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_every_cell_runs(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first one finds the weights of SmolLM2; what shows the figure is part of Jupyter, which is not installed."""
    shown: list[str] = []
    ipython: Any = ModuleType("IPython")
    display: Any = ModuleType("IPython.display")
    ipython.version_info = (9, 0, 0)  # which matplotlib looks up
    display.SVG = lambda filename: shown.append(Path(filename).read_text(encoding="utf-8"))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    first, *others = CODE
    exec(first, names)
    assert names["MODEL"].is_file()
    names["MODEL"] = models / "fact"
    for source in others:
        exec(source, names)
    assert names["kl"].columns.tolist() == ["norm", "final"]
    assert names["kl"].iloc[-1].max() < 1e-6
    assert len(names["germany"]) == len(names["kl"]) == len(names["run"].passes()["pos/orig"])
    assert len(names["agreement"]) > 0
    assert names["same"].tables == names["run"].tables
    assert "<svg" in shown[0]
    assert "tutorial-run" in capsys.readouterr().out


def test_it_is_a_notebook_without_outputs() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(ids) == len({*ids})
    for cell in NOTEBOOK["cells"]:
        assert cell["cell_type"] == "markdown" or not (cell["outputs"] or cell["execution_count"])
