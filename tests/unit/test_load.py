"""Run directories read back: the same rows, the same bytes when saved again, and one clear error for a bad one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import lenses_min as lm
from lenses_min import LensError
from lenses_min.core.rows import RecordRow
from lenses_min.output import csv_text, store, tables
from lenses_min.output.run import Run

GOLDEN = Path(__file__).parents[2] / "golden"
CAPTURES = sorted((GOLDEN / "outputs").iterdir())
CORRECTED = sorted(path for path in (GOLDEN / "corrected").iterdir() if path.is_dir())


def texts(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".pt"
    }


@pytest.mark.parametrize(
    "folder", [*CAPTURES, *CORRECTED], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_run_saved_again_is_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run = lm.load(folder)
    assert len(run.pure()) > 10
    assert run.manifest == {}
    run.save(tmp_path)
    assert texts(tmp_path) == texts(folder)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in folder.iterdir()}


def test_a_run_read_back_is_the_run_that_was_saved(fact_run: Run, tmp_path: Path) -> None:
    fact_run.save(tmp_path)
    read = lm.load(tmp_path)
    assert (read.tables, read.document, read.name) == (
        fact_run.tables,
        fact_run.document,
        fact_run.name,
    )
    assert read.manifest == json.loads(json.dumps(fact_run.manifest))
    assert read.milestones == fact_run.milestones
    assert list(read.passes()) == ["pos/orig", "pos/no_filler", "ctl/orig"]
    assert read.frame("records").equals(fact_run.frame("records"))
    read.save(tmp_path / "again")
    assert texts(tmp_path / "again") == texts(tmp_path)


def test_sidecars_whole_answers_and_residuals_come_back(own_run: Run, tmp_path: Path) -> None:
    own_run.save(tmp_path)
    read = lm.load(tmp_path)
    assert read.lenses == ["norm", "final", "raw"]
    assert read.tables == own_run.tables
    assert read.prompts["long/tail"] == own_run.prompts["long/tail"]
    residuals = lm.load(GOLDEN / "outputs" / "keep-residuals").residuals
    assert [tuple(x.shape) for x in residuals.values()] == [(1, 17, 32)] * 5


HARD = ["\r", "a\rb", "\r\n", "\\", '"', "\\\\n", "\0", '",\n', " ", "", "\u2028", "nan", "\\\r"]


@pytest.mark.parametrize("corrected", [False, True])
def test_every_text_comes_back(corrected: bool, fact_run: Run) -> None:
    """A bare carriage return of the reference (R5) among them; csv itself reads it as a line end."""
    row = vars(fact_run.records()[0]) | {"top": tuple((text, 0.5) for text in HARD)}
    rows = [type(fact_run.records()[0])(**(row | {"token": text})) for text in HARD]
    text = csv_text.csv_text(rows, store.RECORD_COLUMNS, corrected)
    columns, read_back = tables.read_rows(tables.split(text, corrected), RecordRow)
    assert columns == store.RECORD_COLUMNS
    assert read_back == rows


def cut(name: str, change: Callable[[str], str]) -> Callable[[Path], object]:
    return lambda folder: (path := folder / name).write_text(change(path.read_text()))


def remove_files(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


PURE = "output-Fact-pure-next-token.csv"
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (
        shutil.rmtree,
        "cannot read .*: No such file or directory; give the directory of a run",
    ),
    "empty": (
        remove_files,
        "no run: no output-NAME.json; give the --out-dir",
    ),
    "failed": (
        lambda f: (f / "output-Fact.json").rename(f / "output-Fact.error.json"),
        r"holds no run: no output-NAME.json; output-Fact\.error\.json tells why Fact failed",
    ),
    "two": (
        lambda f: shutil.copy(f / "output-Fact.json", f / "output-B.json"),
        "holds 2 runs: B, Fact; name one",
    ),
    "no table": (lambda f: (f / PURE).unlink(), f"holds no {PURE}; the run is not whole"),
    "no rows": (
        cut(PURE, lambda t: t.split("\n")[0] + "\n"),
        f"{PURE} has no rows; the run is not whole",
    ),
    "cut JSON": (cut("output-Fact.json", lambda t: t[:99]), "cannot read .*output-Fact.json: "),
    "a list": (cut("output-Fact.json", lambda t: "[]"), "it holds no JSON object"),
    "a word for a number": (
        cut(PURE, lambda t: t.replace("pos,orig,3,", "pos,orig,x,")),
        f"{PURE}: row 5, column layer: 'x' is no whole number",
    ),
    "no column": (
        cut(PURE, lambda t: t.replace("layer", "layre", 1)),
        f"{PURE}: it has no column 'layer'",
    ),
    "an open quote": (cut(PURE, lambda t: t + '"'), f"{PURE}: near row 23: unexpected end"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_directory_is_one_clear_error(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(GOLDEN / "outputs" / "fact", folder)
    harm, message = BAD[name]
    harm(folder)
    with pytest.raises(LensError, match=message):
        lm.load(folder)


def test_one_of_several_runs_is_named(tmp_path: Path) -> None:
    for case in ("fact", "byte-bpe"):
        shutil.copytree(GOLDEN / "outputs" / case, tmp_path, dirs_exist_ok=True)
    assert lm.load(tmp_path, "byte-bpe").model_id == "tiny/byte-bpe"
    with pytest.raises(LensError, match="holds no run named fact; it holds Fact, byte-bpe"):
        lm.load(tmp_path, "fact")


def test_paths_are_options_too(tmp_path: Path) -> None:
    options = lm.RunOptions(tmp_path, out_dir=tmp_path, prompts=tmp_path / "p.yaml")  # type: ignore[arg-type]
    assert (options.model, options.out_dir, options.prompts) == (str(tmp_path),) * 2 + (
        str(tmp_path / "p.yaml"),
    )
