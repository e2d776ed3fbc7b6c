"""Files appear together, whole, or not at all (R9, R10)."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.output import store
from lenses_min.output.run import Run


def test_a_failure_while_writing_leaves_nothing(
    fact_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def full_disk(path: Path, text: str) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path.name)
        path.write_text(text, encoding="utf-8")

    monkeypatch.setattr("lenses_min.output.run.write_text", full_disk)
    with pytest.raises(
        LensError, match=r"could not write the outputs to .*: No space left on device"
    ):
        fact_run.save(tmp_path)
    assert written
    assert list(tmp_path.iterdir()) == []


def test_a_new_run_replaces_the_old_one_and_touches_nothing_else(
    fact_run: Run, tmp_path: Path
) -> None:
    """Nor does a table of a published run.py stay, which would be read as the new run's."""
    stale = ["output-Fact-records-prism.csv", "output-Fact.error.json", "Fact_03_resid.pt"]
    stale += [
        "output-Fact-milestones.csv",
        "output-Fact-positions-tuned-audit.csv",
        "output-Fact-pure-next-token-rawlens-window.csv",
    ]
    others = [
        "output-Factual.json",
        "output-Fact-notes.txt",
        "Fact_summary.pt",
        "output-Fact-2-records.csv",
    ]
    for name in stale + others:
        (tmp_path / name).write_text("old")
    names = {path.name for path in fact_run.save(tmp_path)}
    assert {path.name for path in tmp_path.iterdir()} == names | set(others)


def test_an_unwritable_target_is_one_clear_error(fact_run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LensError, match=r"cannot write to .*file.*; give another --out-dir"):
        fact_run.save(tmp_path / "file")


def test_json_refuses_what_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        store.json_text({"kl": float("nan")})


def test_error_report_is_whole_or_absent(tmp_path: Path) -> None:
    path = store.write_error(tmp_path / "new", "M", {"message": "x"})
    assert path is not None
    assert json.loads(path.read_text()) == {"message": "x"}
    assert os.listdir(path.parent) == ["output-M.error.json"]
    (tmp_path / "file").write_text("")
    assert store.write_error(tmp_path / "file", "M", {}) is None


def test_kept_residuals_are_the_normalised_ones(models: Path, tmp_path: Path) -> None:
    run = pipeline.run(
        RunOptions(str(models / "fact"), device="cpu", keep_residuals=True, model_id="t/Big-34B")
    )
    run.save(tmp_path)
    residuals = {
        path.name: torch.load(path, weights_only=True) for path in sorted(tmp_path.glob("*.pt"))
    }
    assert list(residuals) == [f"Big-34B_{layer:02d}_resid.pt" for layer in range(7)]
    assert all(tensor.shape == (1, 17, 128) for tensor in residuals.values())
    assert {tensor.dtype for tensor in residuals.values()} == {torch.bfloat16}
    root = residuals["Big-34B_06_resid.pt"].float().square().mean(-1).sqrt()
    assert ((root > 0.5) & (root < 2)).all()


def test_an_error_report_makes_its_folder(tmp_path: Path) -> None:
    assert store.write_error(tmp_path / "new" / "deep", "M", {}) is not None


def test_the_manifest_is_named_last(fact_run: Run, tmp_path: Path) -> None:
    late = replace(fact_run, name="zeta", residuals={0: torch.zeros(1, 1, 2)})
    assert [path.name for path in late.save(tmp_path)] == [
        "output-zeta-pure-next-token.csv",
        "output-zeta-records.csv",
        "output-zeta.json",
        "zeta_00_resid.pt",
        "run-zeta.manifest.json",
    ]
