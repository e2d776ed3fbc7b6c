"""`lenses-min figure`: which lines it draws, that its bytes are always the same, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from lenses_min.cli import command_line
from lenses_min.cli.figure import chosen
from lenses_min.core.milestones import milestones
from lenses_min.errors import LensError
from lenses_min.output.run import Run
from lenses_min.report import paper
from lenses_min.report.facts import HEADS as NAMES

GOLDEN = Path(__file__).parents[2] / "golden"
FACT = str(GOLDEN / "outputs" / "fact")
PRISM = str(GOLDEN / "outputs" / "fact-prism")
HEADS = {b"<?xml": "svg", b"\x89PNG": "png", b"%PDF-": "pdf"}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    saved: list[Figure] = []
    real = Figure.savefig

    def savefig(self: Figure, *args: Any, **options: Any) -> None:
        saved.append(self)
        real(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


@pytest.fixture
def draw(figures: list[Figure], tmp_path: Path) -> Callable[..., Figure]:
    """The figure that a command draws."""

    def draw_with(*words: str) -> Figure:
        assert command_line.main(["figure", *words, "-o", str(tmp_path / "figure.svg")]) == 0
        return figures[-1]

    return draw_with


@pytest.fixture(scope="module")
def own_folder(own_run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("own")
    own_run.save(folder)
    return str(folder)


def curves(axes: Any) -> list[Any]:
    """The lines of a panel that are no marks."""
    return [line for line in axes.get_lines() if line.get_linestyle() != "None"]


def marks(axes: Any) -> list[Any]:
    """The milestones that are marked in a panel."""
    return [line for line in axes.get_lines() if line.get_linestyle() == "None"]


def names(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("kind", HEADS.values())
def test_a_figure_is_the_same_every_time(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{i}.{kind}" for i in range(2)]
    for path in paths:
        assert command_line.main(["figure", FACT, "-o", str(path)]) == 0
        assert capsys.readouterr().out == f"{path} ({path.stat().st_size / 1e3:.0f} kB)\n"
    content = paths[0].read_bytes()
    assert content == paths[1].read_bytes()
    assert HEADS[content[: 4 if kind == "png" else 5]] == kind
    assert b"date>" not in content
    assert b"CreationDate" not in content
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


def test_a_panel_a_quantity_and_a_line_a_lens(
    draw: Callable[..., Figure], own_run: Run, own_folder: str
) -> None:
    figure = draw(own_folder, "--what", "kl,answer_rank")
    kl, rank = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["KL to final (bits)", "rank of answer"]
    assert (kl.get_title(), kl.get_xlabel(), rank.get_xlabel()) == ("Fact", "", "layer")
    assert (kl.get_yscale(), rank.get_yscale()) == ("linear", "log")
    assert figure.get_figwidth() == 3.3
    for line, lens in zip(curves(kl), own_run.lenses, strict=True):
        rows = own_run.passes(lens)["be/orig"]
        assert line.get_xdata().tolist() == [row.layer for row in rows]
        assert line.get_ydata().tolist() == [row.kl_to_final_bits for row in rows]
    colours = [line.get_color() for line in curves(kl)]
    assert colours == [line.get_color() for line in curves(rank)] == list(paper.COLOURS[:3])
    assert names(figure)[:3] == ["norm", "final", "raw"]


def test_each_line_has_its_milestones(
    draw: Callable[..., Figure], own_run: Run, own_folder: str
) -> None:
    figure = draw(
        own_folder, "--what", "entropy", "--lens", "norm", "--pass", "be/orig", "long/tail"
    )
    (axes,) = figure.axes
    expected = set()
    for name, line in zip(("be/orig", "long/tail"), curves(axes), strict=True):
        rows = own_run.passes()[name]
        values = {row.layer: row.entropy for row in rows}
        for key, layer in milestones(rows).items():
            if key in paper.MARKERS and layer is not None:
                expected.add((paper.MARKERS[key]["marker"], line.get_color(), layer, values[layer]))
    drawn = {
        (mark.get_marker(), mark.get_color(), mark.get_xdata()[0], mark.get_ydata()[0])
        for mark in marks(axes)
    }
    assert drawn == expected
    assert drawn
    marked = {
        NAMES[key]
        for key in paper.MARKERS
        if any(paper.MARKERS[key]["marker"] == m[0] for m in drawn)
    }
    assert set(names(figure)) == {"be/orig", "long/tail"} | marked


def test_lenses_have_colours_and_passes_dashes_where_both_are_several(
    draw: Callable[..., Figure], own_folder: str
) -> None:
    figure = draw(own_folder, "--lens", "final,norm", "--pass", "pa/orig", "be/orig")
    looks = [(line.get_color(), line.get_linestyle()) for line in curves(figure.axes[0])]
    a, b = paper.COLOURS[:2]
    assert looks == [(a, "-"), (a, "--"), (b, "-"), (b, "--")]
    assert names(figure)[:2] == ["final, pa/orig", "final, be/orig"]


def test_the_mean_of_the_passes(draw: Callable[..., Figure], own_run: Run, own_folder: str) -> None:
    """Arithmetic, of ranks geometric; the pass without an answer has no rank."""
    words = ("--lens", "norm", "--what", "entropy,answer_rank", "--pass", "mean of the passes")
    entropy, rank = draw(own_folder, *words).axes
    rows = list(own_run.passes().values())
    expected = np.mean([[row.entropy for row in one] for one in rows], axis=0)
    np.testing.assert_allclose(curves(entropy)[0].get_ydata(), expected, rtol=1e-12)
    ranks = [[row.answer_rank or 0 for row in one] for one in rows if one[0].answer_rank]
    assert 1 < len(ranks) <= len(rows)
    expected = np.exp(np.mean(np.log(ranks), axis=0))
    np.testing.assert_allclose(curves(rank)[0].get_ydata(), expected, rtol=1e-12)
    assert len(entropy.get_lines()) == 1


def test_runs_stand_side_by_side(draw: Callable[..., Figure]) -> None:
    figure = draw(FACT, PRISM, "--what", "entropy,control_margin")
    assert [axes.get_title() for axes in figure.axes] == ["Fact", "Fact-prism", "", ""]
    assert [len(curves(axes)) for axes in figure.axes[:2]] == [1, 2]
    assert names(figure)[:2] == ["norm", "prism"]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [
        *([], []),
        *(["no values"], ["no values"]),
    ]
    assert figure.get_figwidth() == 6.6


def test_names_are_drawn_as_they_are(
    draw: Callable[..., Figure], fact_run: Run, tmp_path: Path
) -> None:
    """Neither as mathematics, nor hidden by an underscore, nor with characters that are not seen."""
    names_ = iter(["_$x^2$", "a\nb", "%", "$\\frac$"] * 9)
    of_pass = {name: next(names_) for name in fact_run.passes()}
    rows = [replace(row, prompt_id=of_pass[row.pass_name]) for row in fact_run.pure()]
    tables = {**fact_run.tables, ("pure", "norm"): rows}
    replace(fact_run, tables=tables, document={}, name="_$\\frac$").save(tmp_path)
    figure = draw(str(tmp_path), "--what", "entropy", "--pass", "_$x^2$/orig", "a⏎b/no_filler")
    assert names(figure)[:2] == [" _$x^2$/orig", "a⏎b/no_filler"]
    assert figure.axes[0].get_title() == "_$\\frac$"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ("--what", "entropy,p_top"),
            "--what takes names of entropy, kl_to_final_bits, answer_rank, p_answer, p_top1, p_top5, "
            "cos_to_final, control_margin, rest_mass; got p_top",
        ),
        (("--what", ","), "rest_mass; got nothing"),
        (("--lens", "tuned,norm"), "--lens takes names of norm; got tuned"),
        (
            ("--pass", "pos/orig", "x"),
            "--pass takes names of ctl/orig, pos/no_filler, pos/orig, mean of the passes; got x",
        ),
        (("-o", "f.jpg"), "a figure ends in .svg, .png or .pdf, got 'f.jpg'; name it so with -o"),
        (("-o", "no/f.svg"), "cannot write no/f.svg: No such file or directory; name another file"),
        (("none",), "cannot read none: No such file or directory; give the directory of a run"),
    ],
)
def test_what_is_wrong_is_one_error_and_nothing_is_written(
    words: tuple[str, ...],
    error: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "figure.svg").write_text("earlier")
    assert command_line.main(["figure", FACT, *words]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("lenses-min: error: ")
    assert error in output.err
    assert output.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["figure.svg"]
    assert (tmp_path / "figure.svg").read_text() == "earlier"


def test_the_size_of_a_figure_is_in_thousands_of_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lenses_min.cli.figure.drawn", lambda args, kind: b"x" * 1_001_400)
    path = tmp_path / "figure.svg"
    assert command_line.main(["figure", FACT, "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path} (1001 kB)\n"


@pytest.mark.parametrize(("count", "columns"), [(1, 3), (2, 3), (3, 6)])
def test_the_legend_is_as_wide_as_the_page(
    count: int, columns: int, figures: list[Figure], tmp_path: Path
) -> None:
    out = str(tmp_path / "figure.svg")
    assert command_line.main(["figure", *[FACT] * count, "-o", out]) == 0
    assert figures[-1].legends[0]._ncols == columns  # type: ignore[attr-defined]  # matplotlib's stubs lack it


def test_lenses_and_passes_are_those_of_any_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of the runs has no Prism lens."""
    given: list[Any] = []

    def figure(*arguments: Any) -> bytes:
        given.append(arguments[2:])
        return b""

    monkeypatch.setattr(paper, "figure", figure)
    words = ["figure", FACT, PRISM, "-o", str(tmp_path / "figure.svg")]
    assert command_line.main([*words, "--pass", "ctl/orig"]) == 0
    assert command_line.main([*words, "--lens", "prism, norm"]) == 0
    assert given == [(["norm", "prism"], ["ctl/orig"], "svg"), (["prism", "norm"], [], "svg")]


def test_all_names_that_are_not_known_are_listed() -> None:
    with pytest.raises(LensError, match=r"^--lens takes names of norm, raw; got a, b$"):
        chosen("--lens", ["a", "norm", "b"], ["norm", "raw"])
