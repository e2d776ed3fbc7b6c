"""The script of a SLURM array: which model a task takes, and that a task which is complete is not run again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# In place of lenses-min: it notes how it was called, and finishes the sweep of a model that is not named "stopped".
SWEEP = f"""#!{sys.executable}
import json, pathlib, sys
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--out-dir") + 1])
model = pathlib.Path(words[words.index("--models") + 1]).read_text()
with open("calls", "a") as calls:
    calls.write(json.dumps([model, *words]) + "\\n")
(out / "run-latest").mkdir(exist_ok=True)
end = None if "stopped" in model else "2026-11-29"
manifest = json.dumps({{"finished_at": end}}, indent=2)
(out / "run-latest" / "sweep.manifest.json").write_text(manifest)
"""
LIST = '# models\n\nowner/first\n{"model": "owner/stopped", "dtype": "float32"}  \n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models.txt").write_text(LIST)
    (tmp_path / "lenses-min").write_text(SWEEP)
    (tmp_path / "lenses-min").chmod(0o755)
    return tmp_path


def start(folder: Path, task: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Task N of the array, as SLURM starts it: in the folder of sbatch, from a copy of the script."""
    (folder / "slurm_script").write_bytes((ROOT / "scripts" / "slurm_sweep.sh").read_bytes())
    variables = {"SLURM_ARRAY_TASK_ID": task, "MODELS": "models.txt", "LENSES_MIN": "./lenses-min"}
    return subprocess.run(
        ["bash", "slurm_script", *options],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def test_a_task_takes_a_line_of_the_list_into_a_folder_of_its_own(folder: Path) -> None:
    for task in ("1", "2"):
        assert start(folder, task, "out", "--lens", "norm,final").returncode == 0
    options = ["--lens", "norm,final"]
    assert calls(folder) == [
        [f"{line}\n", "sweep", "--models", f"out/{i}/model.txt", "--out-dir", f"out/{i}", *options]
        for i, line in ((1, "owner/first"), (2, LIST.splitlines()[3]))
    ]


def test_a_task_that_is_complete_is_not_run_again_unless_it_is_another(folder: Path) -> None:
    for _ in range(2):
        for task in ("1", "2"):
            assert start(folder, task, "out").returncode == 0
    assert [call[3] for call in calls(folder)] == [f"out/{i}/model.txt" for i in (1, 2, 2)]
    assert start(folder, "1", "out").stdout == "complete already: owner/first\n"
    start(folder, "1", "out", "--dtype", "float32")
    assert len(calls(folder)) == 4


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("3", ["out"], "error: models.txt has no model 3; set --array to the number of its models"),
        ("", ["out"], "SLURM_ARRAY_TASK_ID: it is set by SLURM in a task of an array"),
        ("1", [], "name the folder of the outputs: sbatch scripts/slurm_sweep.sh OUT"),
    ],
)
def test_a_task_without_model_or_folder_is_refused(
    task: str, options: list[str], message: str, folder: Path
) -> None:
    ended = start(folder, task, *options)
    assert ended.returncode != 0
    assert message in ended.stderr
    assert not (folder / "out").exists()


def test_the_array_has_a_task_for_each_model_of_the_default_list() -> None:
    text = (ROOT / "lenses_min" / "sweep" / "models.txt").read_text()
    models = [line for line in text.splitlines() if line and not line.startswith("#")]
    script = (ROOT / "scripts" / "slurm_sweep.sh").read_text()
    assert f"#SBATCH --array=1-{len(models)}\n" in script
