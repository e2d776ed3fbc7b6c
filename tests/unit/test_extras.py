"""Packages of an extra that are not installed: one error that names what to install; nothing else needs them."""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lenses_min import LensError, RunOptions, errors, load, pipeline
from lenses_min.cli import command_line

ROOT = Path(__file__).parents[2]
EXTRAS = {
    "report": ("plotly", "jinja2"),
    "figure": ("matplotlib",),
    "gguf": ("gguf",),
    "completion": ("shtab",),
}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that hides packages from `require`."""

    def hide(*names: str) -> None:
        monkeypatch.setattr(
            errors, "find_spec", lambda name: None if name in names else find_spec(name)
        )

    return hide


@pytest.mark.parametrize(
    ("missing", "words"), [(("jinja2",), "jinja2"), (("plotly", "jinja2"), "plotly and jinja2")]
)
def test_a_report_needs_an_extra(
    missing: tuple[str, ...],
    words: str,
    without: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    without(*missing)
    out = tmp_path / "report.html"
    assert command_line.main(["report", str(ROOT / "golden/outputs/fact"), "-o", str(out)]) == 1
    assert capsys.readouterr().err == (
        f"lenses-min: error: a report needs {words}; install it: pip install 'lenses-min[report]'\n"
    )
    assert not out.exists()


def test_completion_needs_an_extra(without: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["completion", "bash"]) == 0
    assert "--tuned-dir" in capsys.readouterr().out
    without("shtab")
    assert command_line.main(["completion", "bash"]) == 1
    assert capsys.readouterr().err == (
        "lenses-min: error: completion needs shtab; install it: "
        "pip install 'lenses-min[completion]'\n"
    )


def test_a_gguf_file_needs_an_extra(
    without: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without("gguf")
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    assert command_line.main(["run", str(file), "--out-dir", str(tmp_path / "out")]) == 1
    expected = f"reading {file} needs gguf; install it: pip install 'lenses-min[gguf]'"
    assert expected in capsys.readouterr().err


def test_a_figure_needs_an_extra(
    without: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without("matplotlib")
    out = tmp_path / "figure.svg"
    assert command_line.main(["figure", str(ROOT / "golden/outputs/fact"), "-o", str(out)]) == 1
    assert capsys.readouterr().err == (
        "lenses-min: error: a figure needs matplotlib; install it: pip install 'lenses-min[figure]'\n"
    )
    assert not out.exists()


def test_parquet_needs_an_extra(
    without: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = str(ROOT / "golden/models/fact"), tmp_path / "out"
    run = replace(load(ROOT / "golden/outputs/fact"), table_format="parquet")
    run.save(tmp_path)
    without("pyarrow")
    install = "needs pyarrow; install it: pip install 'lenses-min[parquet]'\n"
    words = ["run", model, "--table-format", "parquet", "--out-dir", str(out)]
    assert command_line.main(words) == 1
    assert capsys.readouterr().err.endswith(f"the table format parquet {install}")
    assert [path.name for path in out.iterdir()] == ["output-fact.error.json"]
    assert command_line.main(["show", str(tmp_path)]) == 1
    file = tmp_path / "output-Fact-pure-next-token.parquet"
    assert f"reading {file} {install}" in capsys.readouterr().err
    with pytest.raises(LensError, match="table format parquet needs pyarrow"):
        run.save(tmp_path / "more")
    assert not list((tmp_path / "more").iterdir())


def test_parquet_is_refused_before_a_model_is_read(without: Any) -> None:
    without("pyarrow")
    with pytest.raises(LensError, match=r"^the table format parquet needs pyarrow"):
        pipeline.run(RunOptions("no/model", table_format="parquet"))


def test_a_run_of_a_folder_needs_no_extra(tmp_path: Path) -> None:
    hidden = [name for names in EXTRAS.values() for name in names]
    script = (
        f"import sys; sys.modules |= dict.fromkeys({hidden}); import lenses_min as lm; "
        f"run = lm.run({str(ROOT / 'golden/models/rms-rope')!r}, device='cpu'); run.save({str(tmp_path)!r})"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
    assert (tmp_path / "output-rms-rope.json").is_file()
